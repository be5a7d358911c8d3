/* Stage: an optional downsampling, then blocks that share one position map; Head: pooling, norm, classifier. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/stage.h"

typedef pk_stage_options options;

/* ---- Stage ---- */

static pk_status build(pk_module *m) {
    const options *o = m->options;
    const pk_mixer *mixer = &o->block.mixer;
    pk_module *part;
    PK_TRY(pk_mixer_add_position(m, mixer, pk_mixer_channels(mixer, o->block.channels)));
    if (o->in_channels) {
        PK_TRY(pk_module_make(m, "downsample", &pk_class_Sequential, NULL, &part));
        PK_TRY(pk_add_norm(part, NULL, (pk_norm_kind)o->block.norm, o->in_channels));
        PK_TRY(pk_add_patch_conv(part, NULL, o->in_channels, o->block.channels, 2, true));
    }
    PK_TRY(pk_module_make(m, "blocks", &pk_class_Sequential, NULL, &part));
    for (int64_t i = 0; i < o->depth; i++) {
        pk_block_options b = o->block;
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)i);
        b.own_position = false;
        b.given_position = pk_module_tensor(m, "position");
        b.drop_path = o->block.drop_path + (o->drop_path_end - o->block.drop_path) *
                                               (o->depth > 1 ? (double)i / (double)(o->depth - 1) : 0);
        PK_TRY(pk_block_make(part, name, &b));
    }
    return PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    return pk_class_Sequential.forward(m, x, y);
}

static const pk_field fields[] = {
    {"channels", PK_INT, offsetof(options, block.channels), 0, 1, F_CHANNELS, NULL, true, "channels of the blocks"},
    F_INT(options, in_channels, 0, 0, F_CHANNELS, "channels of the input; 0: no downsampling"),
    F_INT(options, depth, 3, 1, 4096, "number of blocks"),
    F_MIXER(options, block.mixer),
    {"mlp_ratio", PK_FLOAT, offsetof(options, block.mlp_ratio), 4, 1e-6, 64, NULL, false, "hidden size over channels"},
    {"drop_path", PK_FLOAT, offsetof(options, block.drop_path), 0, 0, 0.999999, NULL, false, "of the first block"},
    F_FLOAT(options, drop_path_end, 0, 0, 0.999999, "of the last block"),
    {"layer_scale", PK_FLOAT, offsetof(options, block.layer_scale), 1e-6, 0, 1e6, NULL, false, "initial gamma, 0 none"},
    {"norm", PK_ENUM, offsetof(options, block.norm), PK_NORM_LAYER, 0, 0, "layer|batch", false, "norm of the blocks"},
};

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld blocks of %lld channels", (long long)o->depth, (long long)o->block.channels);
}

const pk_class pk_class_Stage = {
    .name = "Stage",
    .doc = "Norm and 2x2 stride 2 convolution (when in_channels is given), then `depth` blocks; one position map for all "
           "of them (PeLK, section 4.2).",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
};

/* ---- Head ---- */

typedef struct head_options {
    int64_t channels, num_classes;
    double init_scale;
} head_options;

static pk_status head_build(pk_module *m) {
    const head_options *o = m->options;
    pk_module *made;
    PK_TRY(pk_add_norm(m, "norm", PK_NORM_LAYER, o->channels));
    PK_TRY(pk_add_linear(m, "fc", o->channels, o->num_classes, &made));
    float *w = pk_f32(pk_module_tensor(made, "weight"));
    for (int64_t i = 0; i < o->channels * o->num_classes; i++) w[i] *= (float)o->init_scale;
    return PK_OK;
}

static pk_status head_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *pooled;
    PK_TRY(pk_run1(&pk_op_global_avg_pool, x, &pooled));
    pk_status status = pk_class_Sequential.forward(m, pooled, y);
    pk_tensor_release(pooled);
    return status;
}

static const pk_field head_fields[] = {
    F_NEED(head_options, channels, 1, F_CHANNELS, "channels of the feature map"),
    F_NEED(head_options, num_classes, 1, F_CHANNELS, "outputs"),
    F_FLOAT(head_options, init_scale, 1, 0, 1e6, "factor on the classifier's initial weights"),
};

const pk_class pk_class_Head = {
    .name = "Head",
    .doc = "Mean over the pixels, layer norm, linear classifier: {N,H,W,C} to {N,num_classes}.",
    .options_size = sizeof(head_options),
    .fields = head_fields,
    .nfields = F_COUNT(head_fields),
    .build = head_build,
    .forward = head_forward,
};

pk_status pk_head_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale) {
    const head_options o = {channels, num_classes, init_scale};
    return pk_module_make(m, name, &pk_class_Head, &o, NULL);
}
