/* Model: a classifier from a spec: stem, stages of blocks, head. The presets are data (lua/pelk/models): PeLK, SLaK,
 * ConvNeXt and InceptionNeXt differ in numbers and choices only; RepLKNet has another stem, and transitions between its
 * stages that stand beside them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/args.h"
#include "nn/merge.h"
#include "nn/model.h"

typedef pk_model_options options;

/* ---- making ---- */

static pk_status add_stem(pk_module *m) {
    const options *o = m->options;
    pk_module *stem;
    int64_t channels = pk_model_channels(o, 0);
    if (o->block == PK_BLOCK_REPLKNET) return pk_replk_stem_add(m, "stem", o->in_channels, channels, o->stem);
    PK_TRY(pk_module_make(m, "stem", &pk_class_Sequential, NULL, &stem));
    PK_TRY(pk_add_patch_conv(stem, NULL, o->in_channels, channels, o->stem, true));
    return pk_add_norm(stem, NULL, (pk_norm_kind)o->norm, channels);
}

static pk_status add_stages(pk_module *m) {
    const options *o = m->options;
    pk_module *stages;
    PK_TRY(pk_module_make(m, "stages", &pk_class_Sequential, NULL, &stages));
    for (int i = 0; i < o->depths.n; i++) {
        pk_stage_options s;
        char name[16];
        pk_model_stage(o, i, &s);
        if (i > 0 && o->block != PK_BLOCK_REPLKNET) s.in_channels = pk_model_channels(o, i - 1);
        snprintf(name, sizeof name, "%d", i);
        pk_status status = pk_module_make(stages, name, &pk_class_Stage, &s, NULL);
        if (status != PK_OK) return pk_fail_prefix(status, "stages.");
    }
    return PK_OK;
}

static pk_status add_transitions(pk_module *m) {
    const options *o = m->options;
    pk_module *transitions;
    PK_TRY(pk_module_make(m, "transitions", &pk_class_Sequential, NULL, &transitions));
    for (int i = 1; i < o->depths.n; i++)
        PK_TRY(pk_replk_transition_add(transitions, NULL, pk_model_channels(o, i - 1), pk_model_channels(o, i)));
    return PK_OK;
}

static pk_status add_head(pk_module *m) {
    const options *o = m->options;
    int64_t channels = pk_model_channels(o, o->depths.n - 1);
    if (o->block == PK_BLOCK_REPLKNET) {
        PK_TRY(pk_add_norm(m, "norm", PK_NORM_BATCH, channels));
        return pk_classifier_add(m, "head", channels, o->num_classes, o->head_init_scale);
    }
    return (o->head == PK_HEAD_MLP ? pk_mlp_head_add : pk_head_add)(m, "head", channels, o->num_classes,
                                                                    o->head_init_scale);
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
    PK_TRY(pk_model_check(o));
    PK_TRY(add_stem(m));
    PK_TRY(add_stages(m));
    if (o->block == PK_BLOCK_REPLKNET) PK_TRY(add_transitions(m));
    PK_TRY(add_head(m));
    return o->init == PK_WEIGHTS_FAN_IN ? pk_module_each_slot(m, scale_by_fan_in, NULL) : PK_OK;
}

/* ---- running ---- */

enum { STEM, STAGES, TRANSITIONS, NORM, HEAD }; /* children of a RepLKNet */

/* Run child i on *x, which it replaces. */
static pk_status advance(pk_module *m, int i, pk_tensor **x) {
    pk_tensor *next;
    PK_TRY(pk_module_forward_child(m, i, *x, &next));
    pk_tensor_release(*x);
    *x = next;
    return PK_OK;
}

/* Run child i of the list that is child `list` of m, which holds parts and does not run itself. */
static pk_status advance_in(pk_module *m, int list, int i, pk_tensor **x) {
    pk_status status = advance(m->child[list].module, i, x);
    return status == PK_OK ? PK_OK : pk_fail_prefix(status, "%s.", m->child[list].name);
}

static pk_status pool(pk_tensor **x) {
    pk_tensor *next;
    PK_TRY(pk_run1(&pk_op_global_avg_pool, *x, &next));
    pk_tensor_release(*x);
    *x = next;
    return PK_OK;
}

static pk_status forward_replknet(pk_module *m, pk_tensor *x, pk_tensor **y) {
    int stages = m->child[STAGES].module->nchildren;
    pk_tensor *h = pk_tensor_retain(x);
    pk_status status;
    PK_TRY_DONE(advance(m, STEM, &h));
    for (int i = 0; i < stages; i++) {
        PK_TRY_DONE(advance_in(m, STAGES, i, &h));
        if (i + 1 < stages) PK_TRY_DONE(advance_in(m, TRANSITIONS, i, &h));
    }
    PK_TRY_DONE(advance(m, NORM, &h));
    PK_TRY_DONE(pool(&h));
    PK_TRY_DONE(advance(m, HEAD, &h));
    *y = pk_tensor_retain(h);
done:
    pk_tensor_release(h);
    return status;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    const options *o = m->options;
    PK_RETURN_IF(x->ndim != 4 || x->shape[3] != o->in_channels, PK_EINVAL, "Model: expected images {N,H,W,%lld}, got %s",
                 (long long)o->in_channels, pk_shape_text(x));
    return o->block == PK_BLOCK_REPLKNET ? forward_replknet(m, x, y) : pk_class_Sequential.forward(m, x, y);
}

/* RepLKNet's last norm goes through the mean over the pixels into the classifier. */
static pk_status merge(pk_module *m, pk_merge *r) {
    bool done;
    if (((const options *)m->options)->block != PK_BLOCK_REPLKNET || !pk_merge_asked(r)->batch_norms) return PK_OK;
    return pk_merge_norm(m, NORM, HEAD, r, &done);
}

static const pk_field fields[] = {
    F_INT(options, num_classes, 1000, 1, F_CHANNELS, "outputs"),
    F_INT(options, in_channels, 3, 1, F_CHANNELS, "channels of the images"),
    F_INTS(options, depths, NAN, 1, 4096, "blocks of each stage (layers: two blocks each, with block 'replknet')"),
    F_INTS(options, dims, NAN, 1, F_CHANNELS, "channels of each stage, before width"),
    F_FLOATS(options, width, 1, 1e-3, 1e3, "factor on dims, the fraction cut off (SLaK: 1.3), one or one a stage"),
    F_ENUM(options, block, PK_BLOCK_CONVNEXT, PK_BLOCK_KINDS, "blocks, with the stem and downsampling that go with them"),
    F_ENUMS(options, mixer, PK_MIXER_PERIPHERAL, PK_MIXER_KINDS, "what mixes pixels, one or one a stage"),
    F_INTS(options, kernels, 51, 1, 4095, "side of the large kernel, odd, one or one a stage"),
    F_INTS(options, radius, 2, 0, 2048, "of the fine centre, one or one a stage"),
    F_INTS(options, base, 2, 1, 64, "growth of the rings, one or one a stage"),
    F_ENUMS(options, rule, 0, "truncate|merge", "what becomes of the last ring, one or one a stage"),
    F_GRIDS(options, grid, "explicit sharing grid, one or one a stage ({}: none there); replaces kernels, radius, base, rule"),
    F_ENUM(options, position, PK_POSITION_VALID, "valid|all|off", "which taps see the position embedding"),
    F_ENUM(options, position_shape, PK_POSITION_MAP, "map|channel", "one map a stage, or one a channel"),
    F_INTS(options, small_kernel, 5, 0, 4095, "side of the parallel small kernel, 0 none, one or one a stage"),
    F_FLOATS(options, partial, 0.375, 1e-6, 1, "share of the channels that is convolved, one or one a stage"),
    F_FLOATS(options, mlp_ratio, 4, 1e-6, 64, "hidden size of the MLPs over channels, one or one a stage"),
    F_FLOAT(options, dw_ratio, 1, 1e-6, 64, "replknet: width of the large kernel over channels"),
    F_FLOAT(options, drop_path, 0, 0, 0.999999, "of the last block; linear from 0 at the first"),
    F_FLOAT(options, layer_scale, 1e-6, 0, 1e6, "initial gamma of the blocks, 0 none"),
    F_FLOAT(options, head_init_scale, 1, 0, 1e6, "factor on the classifier's initial weights"),
    F_INT(options, stem, 4, 1, 64, "patch size of the stem; replknet: its stride, 1, 2 or 4"),
    F_BOOL(options, reparam, 1, "convolution branches with batch norms (PeLK); else one convolution with bias (ConvNeXt)"),
    F_BOOL(options, conv_mlp, 0, "MLPs in 1x1 convolutions, which files keep as such (InceptionNeXt)"),
    F_ENUM(options, recompute, PK_RECOMPUTE_AUTO, PK_RECOMPUTES, "hidden values of the MLPs in backward, as in Block"),
    F_ENUM(options, norm, PK_NORM_LAYER, "layer|batch", "norm of stem, downsampling and blocks"),
    F_ENUM(options, head, PK_HEAD_LINEAR, "linear|mlp", "norm and classifier, or with a hidden layer (InceptionNeXt)"),
    F_ENUM(options, init, PK_WEIGHTS_TRUNC_NORMAL, "trunc_normal|fan_in", "weights: deviation 0.02, or 1 / sqrt(fan-in)"),
};

const pk_class pk_class_Model = {
    .name = "Model",
    .doc = "Images {N,H,W,in_channels} to logits {N,num_classes}: stem, stages, head (PeLK, section 4.4).",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .merge = merge,
};
