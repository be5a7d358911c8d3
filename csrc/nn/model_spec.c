/* A model's spec: checked as a whole, and resolved stage by stage. */
#include <stdio.h>

#include "nn/model.h"

/* Element i of a list that is one a stage, or one for all. */
static int64_t int_at(const pk_ints *list, int i) { return list->v[i < list->n ? i : 0]; }
static double float_at(const pk_floats *list, int i) { return list->v[i < list->n ? i : 0]; }
static const pk_ints *grid_at(const pk_model_options *o, int i) {
    return o->grid.n ? &o->grid.v[o->grid.n == 1 ? 0 : i] : NULL;
}

int64_t pk_model_channels(const pk_model_options *o, int i) { /* cut off as SLaK does: int(1.3 * 96) = 124 */
    return (int64_t)(float_at(&o->width, i) * o->dims.v[i] + 1e-9);
}

static void mixer_at(const pk_model_options *o, int i, pk_mixer *m) {
    const pk_ints *grid = grid_at(o, i);
    *m = (pk_mixer){.mixer = (int)int_at(&o->mixer, i), .radius = int_at(&o->radius, i), .base = int_at(&o->base, i),
                    .rule = (int)int_at(&o->rule, i), .position_mode = o->position,
                    .position_shape = o->position_shape, .small_kernel = int_at(&o->small_kernel, i),
                    .partial = float_at(&o->partial, i), .reparam = o->reparam};
    m->kernel = int_at(&o->kernels, i);
    if (!grid || !grid->n) return;
    m->grid = *grid;
    m->kernel = 0;
    for (int j = 0; j < grid->n; j++) m->kernel += grid->v[j];
}

void pk_model_stage(const pk_model_options *o, int i, pk_stage_options *s) {
    int64_t blocks = 0, first = 0;
    for (int j = 0; j < o->depths.n; j++) blocks += o->depths.v[j];
    for (int j = 0; j < i; j++) first += o->depths.v[j];
    double step = blocks > 1 ? o->drop_path / (double)(blocks - 1) : 0;
    *s = (pk_stage_options){.depth = o->depths.v[i], .kind = o->block, .dw_ratio = o->dw_ratio};
    pk_block_defaults(&s->block);
    s->block.channels = pk_model_channels(o, i);
    mixer_at(o, i, &s->block.mixer);
    s->block.mlp_ratio = float_at(&o->mlp_ratio, i);
    s->block.layer_scale = o->layer_scale;
    s->block.norm = o->norm;
    s->block.conv_mlp = o->conv_mlp;
    s->block.recompute = o->recompute;
    s->block.drop_path = step * (double)first;
    s->drop_path_end = step * (double)(first + s->depth - 1);
}

/* ---- sense ---- */

static pk_status check_length(const char *name, int n, int stages) {
    PK_RETURN_IF(n != 1 && n != stages, PK_EINVAL,
                 "Model: %s has %d values, but depths says %d stages: give one for all or one a stage", name, n, stages);
    return PK_OK;
}

/* Every stage has an explicit grid: the lists that make one are not looked at. */
static bool all_grids(const pk_model_options *o) {
    for (int i = 0; i < o->grid.n; i++)
        if (o->grid.v[i].n == 0) return false;
    return o->grid.n > 0;
}

static pk_status check_lengths(const pk_model_options *o) {
    const struct {
        const char *name;
        int n;
    } list[] = {{"grid", o->grid.n ? o->grid.n : 1}, {"width", o->width.n},
                {"mixer", o->mixer.n},               {"small_kernel", o->small_kernel.n},
                {"partial", o->partial.n},           {"mlp_ratio", o->mlp_ratio.n},
                {"kernels", o->kernels.n},           {"radius", o->radius.n},
                {"base", o->base.n},                 {"rule", o->rule.n}};
    int stages = o->depths.n, lists = (int)(sizeof list / sizeof *list);
    PK_RETURN_IF(stages < 1 || stages > PK_MAX_STAGES, PK_EINVAL, "Model: depths lists %d stages, wants 1 to %d", stages,
                 PK_MAX_STAGES);
    PK_RETURN_IF(o->dims.n != stages, PK_EINVAL, "Model: dims has %d values, but depths says %d stages", o->dims.n, stages);
    if (all_grids(o)) lists -= 4;
    for (int i = 0; i < lists; i++) PK_TRY(check_length(list[i].name, list[i].n, stages));
    return PK_OK;
}

/* RepLKNet's blocks bring their norms and have neither layer scale nor the other head. */
static pk_status check_replknet(const pk_model_options *o) {
    PK_RETURN_IF(o->norm != PK_NORM_BATCH, PK_EINVAL, "Model: norm is 'layer', but blocks 'replknet' have batch norms only");
    PK_RETURN_IF(o->layer_scale != 0, PK_EINVAL, "Model: layer_scale is %g, but blocks 'replknet' have none: give 0",
                 o->layer_scale);
    PK_RETURN_IF(o->head != PK_HEAD_LINEAR, PK_EINVAL, "Model: head is 'mlp', but with blocks 'replknet' it is 'linear'");
    PK_RETURN_IF(o->conv_mlp, PK_EINVAL, "Model: conv_mlp is true, but blocks 'replknet' have no Mlp: their ConvFFN is "
                                         "convolutional anyway");
    PK_RETURN_IF(o->recompute != PK_RECOMPUTE_AUTO, PK_EINVAL,
                 "Model: recompute is not 'auto', but blocks 'replknet' have no Mlp: what their ConvFFN needs is kept");
    PK_RETURN_IF(o->stem != 1 && o->stem != 2 && o->stem != 4, PK_EINVAL,
                 "Model: stem is %lld, but RepLKNet's convolutional stem has stride 1, 2 or 4", (long long)o->stem);
    return PK_OK;
}

static pk_status check_stage(const pk_model_options *o, int i) {
    pk_stage_options s;
    int64_t channels = pk_model_channels(o, i);
    PK_RETURN_IF(channels < 1, PK_EINVAL, "Model: width %g of dims[%d] = %d leaves no channels", float_at(&o->width, i),
                 i + 1, o->dims.v[i]);
    pk_model_stage(o, i, &s);
    if (o->block == PK_BLOCK_REPLKNET) channels = pk_replk_width(channels, o->dw_ratio);
    pk_status status = pk_mixer_check(&s.block.mixer, channels);
    return status == PK_OK ? PK_OK : pk_fail_prefix(status, "Model: stage %d: ", i + 1);
}

pk_status pk_model_check(const pk_model_options *o) {
    PK_TRY(check_lengths(o));
    PK_RETURN_IF(o->block != PK_BLOCK_REPLKNET && o->dw_ratio != 1, PK_EINVAL,
                 "Model: dw_ratio is %g, but it is for blocks 'replknet' only", o->dw_ratio);
    if (o->block == PK_BLOCK_REPLKNET) PK_TRY(check_replknet(o));
    for (int i = 0; i < o->depths.n; i++) PK_TRY(check_stage(o, i));
    return PK_OK;
}
