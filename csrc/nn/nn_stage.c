/* Stage: an optional downsampling, then blocks that share one position map. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/stage.h"

typedef pk_stage_options options;

static pk_status add_downsampling(pk_module *m) {
    const options *o = m->options;
    pk_module *part;
    if (!o->in_channels) return PK_OK;
    if (o->kind == PK_BLOCK_REPLKNET)
        return pk_replk_transition_add(m, "downsample", o->in_channels, o->block.channels);
    PK_TRY(pk_module_make(m, "downsample", &pk_class_Sequential, NULL, &part));
    PK_TRY(pk_add_norm(part, NULL, (pk_norm_kind)o->block.norm, o->in_channels));
    return pk_add_patch_conv(part, NULL, o->in_channels, o->block.channels, 2, true);
}

static double drop_path_at(const options *o, int64_t i) {
    double step = o->depth > 1 ? (o->drop_path_end - o->block.drop_path) / (double)(o->depth - 1) : 0;
    return o->block.drop_path + step * (double)i;
}

static pk_status add_convnext(pk_module *blocks, const options *o, int64_t i, pk_tensor *position) {
    pk_block_options b = o->block;
    char name[24];
    snprintf(name, sizeof name, "%lld", (long long)i);
    b.own_position = false;
    b.given_position = position;
    b.drop_path = drop_path_at(o, i);
    return pk_block_make(blocks, name, &b);
}

/* A layer of RepLKNet is two blocks, which have the same rate. */
static pk_status add_replknet(pk_module *blocks, const options *o, int64_t i, pk_tensor *position) {
    const pk_replk_options b = {.channels = o->block.channels, .mixer = o->block.mixer, .ratio = o->dw_ratio,
                                .drop_path = drop_path_at(o, i), .given_position = position};
    char name[24];
    snprintf(name, sizeof name, "%lld", (long long)(2 * i));
    PK_TRY(pk_replk_make(blocks, name, &b));
    snprintf(name, sizeof name, "%lld", (long long)(2 * i + 1));
    return pk_conv_ffn_make(blocks, name, b.channels, o->block.mlp_ratio, b.drop_path);
}

/* Channels that the stage's mixers are given. */
static int64_t mixer_width(const options *o) {
    return o->kind == PK_BLOCK_REPLKNET ? pk_replk_width(o->block.channels, o->dw_ratio) : o->block.channels;
}

static pk_status build(pk_module *m) {
    const options *o = m->options;
    pk_module *blocks;
    PK_TRY(pk_mixer_check(&o->block.mixer, mixer_width(o)));
    PK_TRY(pk_mixer_add_position(m, &o->block.mixer, pk_mixer_channels(&o->block.mixer, mixer_width(o))));
    PK_TRY(add_downsampling(m));
    PK_TRY(pk_module_make(m, "blocks", &pk_class_Sequential, NULL, &blocks));
    pk_tensor *position = pk_module_tensor(m, "position");
    for (int64_t i = 0; i < o->depth; i++)
        PK_TRY((o->kind == PK_BLOCK_REPLKNET ? add_replknet : add_convnext)(blocks, o, i, position));
    return PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    return pk_class_Sequential.forward(m, x, y);
}

static const pk_field fields[] = {
    {"channels", PK_INT, offsetof(options, block.channels), 0, 1, F_CHANNELS, NULL, true, "channels of the blocks"},
    F_INT(options, in_channels, 0, 0, F_CHANNELS, "channels of the input; 0: no downsampling"),
    F_INT(options, depth, 3, 1, 4096, "number of blocks"),
    {"block", PK_ENUM, offsetof(options, kind), 0, 0, 0, PK_BLOCK_KINDS, false,
     "ConvNeXt's block, or RepLKNet's two (RepLKBlock, ConvFFN)"},
    F_MIXER(options, block.mixer),
    {"mlp_ratio", PK_FLOAT, offsetof(options, block.mlp_ratio), 4, 1e-6, 64, NULL, false, "hidden size over channels"},
    F_FLOAT(options, dw_ratio, 1, 1e-6, 64, "replknet: width of the large kernel over channels"),
    {"drop_path", PK_FLOAT, offsetof(options, block.drop_path), 0, 0, 0.999999, NULL, false, "of the first block"},
    F_FLOAT(options, drop_path_end, 0, 0, 0.999999, "of the last block"),
    {"layer_scale", PK_FLOAT, offsetof(options, block.layer_scale), 1e-6, 0, 1e6, NULL, false,
     "convnext: initial gamma, 0 none"},
    {"norm", PK_ENUM, offsetof(options, block.norm), PK_NORM_LAYER, 0, 0, "layer|batch", false,
     "convnext: norm of the blocks"},
    {"recompute", PK_ENUM, offsetof(options, block.recompute), PK_RECOMPUTE_AUTO, 0, 0, PK_RECOMPUTES, false,
     "convnext: of the MLPs, as in Block"},
    {"conv_mlp", PK_BOOL, offsetof(options, block.conv_mlp), 0, 0, 0, NULL, false, "convnext: MLPs in 1x1 convolutions"},
};

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld blocks of %lld channels", (long long)o->depth, (long long)o->block.channels);
}

const pk_class pk_class_Stage = {
    .name = "Stage",
    .doc = "Downsampling to half the size (when in_channels is given), then `depth` blocks; one position map for all "
           "of them (PeLK, section 4.2).",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
};
