/* Model: a classifier from a spec: stem, stages of blocks, head. The presets are data (lua/pelk/models): PeLK, SLaK's
 * dense form, ConvNeXt and InceptionNeXt differ in numbers only. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/args.h"
#include "nn/stage.h"

typedef struct options {
    int64_t num_classes, in_channels;
    pk_ints depths, dims;
    double width;
    pk_ints mixer, kernels, radius, base;
    int rule;
    pk_grids grid;
    int position, position_shape;
    pk_ints small_kernel;
    pk_floats partial, mlp_ratio;
    double drop_path, layer_scale, head_init_scale;
    int64_t stem;
    bool reparam;
    int norm, init;
} options;

enum { INIT_TRUNC_NORMAL, INIT_FAN_IN };

/* Element i of a list that is one a stage, or one for all. */
static int64_t int_at(const pk_ints *list, int i) { return list->v[i < list->n ? i : 0]; }
static double float_at(const pk_floats *list, int i) { /* 0.375f and the like are what was written, not its float */
    double x = list->v[i < list->n ? i : 0];
    return (double)(int64_t)(x * 1e6 + 0.5) * 1e-6;
}

static pk_status check_length(const char *name, int n, int stages) {
    PK_RETURN_IF(n != 1 && n != stages, PK_EINVAL,
                 "Model: %s has %d values, but depths says %d stages: give one for all or one a stage", name, n, stages);
    return PK_OK;
}

static pk_status check(const options *o) {
    int stages = o->depths.n;
    PK_RETURN_IF(stages < 1 || stages > PK_MAX_STAGES, PK_EINVAL, "Model: depths lists %d stages, wants 1 to %d", stages,
                 PK_MAX_STAGES);
    PK_RETURN_IF(o->dims.n != stages, PK_EINVAL, "Model: dims has %d values, but depths says %d stages", o->dims.n, stages);
    if (o->grid.n) {
        PK_TRY(check_length("grid", o->grid.n, stages));
    } else {
        PK_TRY(check_length("kernels", o->kernels.n, stages));
        PK_TRY(check_length("radius", o->radius.n, stages));
        PK_TRY(check_length("base", o->base.n, stages));
    }
    PK_TRY(check_length("mixer", o->mixer.n, stages));
    PK_TRY(check_length("small_kernel", o->small_kernel.n, stages));
    PK_TRY(check_length("partial", o->partial.n, stages));
    return check_length("mlp_ratio", o->mlp_ratio.n, stages);
}

/* Width-scaled dims, the fraction cut off as SLaK does: int(1.3 * 96) = 124. */
static int64_t dim_at(const options *o, int i) {
    int64_t c = (int64_t)(o->width * o->dims.v[i] + 1e-9);
    return c < 1 ? 1 : c;
}

static void mixer_at(const options *o, int i, pk_mixer *m) {
    m->mixer = (int)int_at(&o->mixer, i);
    m->kernel = int_at(&o->kernels, i);
    m->radius = int_at(&o->radius, i);
    m->base = int_at(&o->base, i);
    m->rule = o->rule;
    m->grid.n = 0;
    if (o->grid.n) {
        m->grid = o->grid.v[o->grid.n == 1 ? 0 : i];
        m->kernel = 0;
        for (int j = 0; j < m->grid.n; j++) m->kernel += m->grid.v[j];
    }
    m->position_mode = o->position;
    m->position_shape = o->position_shape;
    m->small_kernel = int_at(&o->small_kernel, i);
    m->partial = float_at(&o->partial, i);
    m->reparam = o->reparam;
}

static pk_status add_stage(pk_module *stages, const options *o, int i, int64_t first_block, int64_t blocks) {
    pk_stage_options s = {.in_channels = i ? dim_at(o, i - 1) : 0, .depth = o->depths.v[i]};
    double step = blocks > 1 ? o->drop_path / (double)(blocks - 1) : 0; /* linspace(0, rate, blocks) */
    char name[16];
    pk_block_defaults(&s.block);
    s.block.channels = dim_at(o, i);
    mixer_at(o, i, &s.block.mixer);
    s.block.mlp_ratio = float_at(&o->mlp_ratio, i);
    s.block.layer_scale = o->layer_scale;
    s.block.norm = o->norm;
    s.block.drop_path = step * (double)first_block;
    s.drop_path_end = step * (double)(first_block + s.depth - 1);
    snprintf(name, sizeof name, "%d", i);
    return pk_module_make(stages, name, &pk_class_Stage, &s, NULL);
}

/* Weights come with deviation 0.02, which suits wide layers. By fan-in it is 1 / sqrt(inputs of an output): narrow layers
 * then pass on signals of their input's size from the first step. */
static pk_status scale_by_fan_in(void *context, const char *path, pk_module *m, pk_slot *slot) {
    const pk_tensor *t = slot->tensor;
    (void)context, (void)path, (void)m;
    if (slot->buffer || t->ndim < 2 || strcmp(slot->name, "weight") != 0) return PK_OK;
    int64_t n = pk_numel(t), outputs = t->ndim == 3 ? t->shape[2] : t->shape[0]; /* depthwise: {kh,kw,C} */
    float factor = (float)(1 / (0.02 * sqrt((double)n / (double)outputs)));
    for (int64_t i = 0; i < n; i++) pk_f32(t)[i] *= factor;
    return PK_OK;
}

static pk_status build(pk_module *m) {
    const options *o = m->options;
    pk_module *part;
    int64_t blocks = 0, first = 0;
    PK_TRY(check(o));
    for (int i = 0; i < o->depths.n; i++) blocks += o->depths.v[i];
    PK_TRY(pk_module_make(m, "stem", &pk_class_Sequential, NULL, &part));
    PK_TRY(pk_add_patch_conv(part, NULL, o->in_channels, dim_at(o, 0), o->stem, true));
    PK_TRY(pk_add_norm(part, NULL, (pk_norm_kind)o->norm, dim_at(o, 0)));
    PK_TRY(pk_module_make(m, "stages", &pk_class_Sequential, NULL, &part));
    for (int i = 0; i < o->depths.n; i++) {
        pk_status status = add_stage(part, o, i, first, blocks);
        if (status != PK_OK) return pk_fail_prefix(status, "stages.");
        first += o->depths.v[i];
    }
    PK_TRY(pk_head_add(m, "head", dim_at(o, o->depths.n - 1), o->num_classes, o->head_init_scale));
    return o->init == INIT_FAN_IN ? pk_module_each_slot(m, scale_by_fan_in, NULL) : PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    const options *o = m->options;
    PK_RETURN_IF(x->ndim != 4 || x->shape[3] != o->in_channels, PK_EINVAL, "Model: expected images {N,H,W,%lld}, got %s",
                 (long long)o->in_channels, pk_shape_text(x));
    return pk_class_Sequential.forward(m, x, y);
}

static const pk_field fields[] = {
    F_INT(options, num_classes, 1000, 1, F_CHANNELS, "outputs"),
    F_INT(options, in_channels, 3, 1, F_CHANNELS, "channels of the images"),
    F_INTS(options, depths, NAN, 1, 4096, "blocks of each stage"),
    F_INTS(options, dims, NAN, 1, F_CHANNELS, "channels of each stage, before width"),
    F_FLOAT(options, width, 1, 1e-3, 1e3, "factor on dims, the fraction cut off (SLaK: 1.3)"),
    F_ENUMS(options, mixer, PK_MIXER_PERIPHERAL, PK_MIXER_KINDS, "what mixes pixels, one or one a stage"),
    F_INTS(options, kernels, 51, 1, 4095, "side of the large kernel, odd, one or one a stage"),
    F_INTS(options, radius, 2, 0, 2048, "of the fine centre, one or one a stage"),
    F_INTS(options, base, 2, 1, 64, "growth of the rings, one or one a stage"),
    F_ENUM(options, rule, 0, "truncate|merge", "what becomes of the last ring"),
    F_GRIDS(options, grid, "explicit sharing grid, one or one a stage; replaces kernels, radius, base, rule"),
    F_ENUM(options, position, PK_POSITION_VALID, "valid|all|off", "which taps see the position embedding"),
    F_ENUM(options, position_shape, PK_POSITION_MAP, "map|channel", "one map a stage, or one a channel"),
    F_INTS(options, small_kernel, 5, 0, 4095, "side of the parallel small kernel, 0 none, one or one a stage"),
    F_FLOATS(options, partial, 0.375, 1e-6, 1, "share of the channels that is convolved, one or one a stage"),
    F_FLOATS(options, mlp_ratio, 4, 1e-6, 64, "hidden size of the MLPs over channels, one or one a stage"),
    F_FLOAT(options, drop_path, 0, 0, 0.999999, "of the last block; linear from 0 at the first"),
    F_FLOAT(options, layer_scale, 1e-6, 0, 1e6, "initial gamma of the blocks, 0 none"),
    F_FLOAT(options, head_init_scale, 1, 0, 1e6, "factor on the classifier's initial weights"),
    F_INT(options, stem, 4, 1, 64, "patch size of the stem"),
    F_BOOL(options, reparam, 1, "convolution branches with batch norms (PeLK); else one convolution with bias (ConvNeXt)"),
    F_ENUM(options, norm, PK_NORM_LAYER, "layer|batch", "norm of stem, downsampling and blocks"),
    F_ENUM(options, init, INIT_TRUNC_NORMAL, "trunc_normal|fan_in", "weights: deviation 0.02, or 1 / sqrt(fan-in)"),
};

const pk_class pk_class_Model = {
    .name = "Model",
    .doc = "Images {N,H,W,in_channels} to logits {N,num_classes}: stem, stages, head (PeLK, section 4.4).",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
};
