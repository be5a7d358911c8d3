/* RepLKBlock and ConvFFN: the two blocks that alternate in a stage of RepLKNet (arXiv 2203.06717, section 4). */
#include <stdio.h>

#include "nn/args.h"
#include "nn/block.h"
#include "nn/merge.h"
#include "nn/mlp_run.h"

typedef pk_replk_options options;

typedef struct ffn_options {
    int64_t channels;
    double ratio, drop_path;
} ffn_options;

int64_t pk_replk_width(int64_t channels, double ratio) {
    int64_t n = (int64_t)(ratio * (double)channels + 1e-9);
    return n < 1 ? 1 : n;
}

/* Run child i on *x, which it replaces; then the activation, if any. */
static pk_status advance(pk_module *m, int i, const pk_op *activation, pk_tensor **x) {
    pk_tensor *next, *active;
    PK_TRY(pk_module_forward_child(m, i, *x, &next));
    if (activation) {
        pk_status status = pk_run1(activation, next, &active);
        pk_tensor_release(next);
        PK_TRY(status);
        next = active;
    }
    pk_tensor_release(*x);
    *x = next;
    return PK_OK;
}

/* x + drop_path(child n-1 (... child 0 (x))), with an activation after each child. */
static pk_status residual_chain(pk_module *m, const pk_op *const *activation, double drop_path, pk_tensor *x,
                                pk_tensor **y) {
    pk_tensor *h = pk_tensor_retain(x);
    pk_status status = PK_OK;
    for (int i = 0; i < m->nchildren && status == PK_OK; i++) status = advance(m, i, activation[i], &h);
    if (status == PK_OK) {
        pk_tensor *in[] = {h, NULL, x};
        pk_args args;
        pk_args_begin(&args, &pk_op_scale_residual);
        pk_args_set(&args, "p", m->training ? drop_path : 0);
        status = pk_args_run(&args, in, 3, y);
    }
    pk_tensor_release(h);
    return status;
}

static void describe_block(int64_t channels, double ratio, double drop_path, char *text, size_t size) {
    snprintf(text, size, "%lld, inner %lld, drop path %.3g", (long long)channels, (long long)pk_replk_width(channels, ratio),
             drop_path);
}

/* The norm in front of pw1, a 1x1 convolution without padding, goes into it. */
static pk_status merge_front(pk_module *m, pk_merge *r) {
    bool done;
    return pk_merge_asked(r)->batch_norms ? pk_merge_norm(m, 0, 1, r, &done) : PK_OK;
}

/* ---- RepLKBlock ---- */

static pk_status replk_build(pk_module *m) {
    const options *o = m->options;
    int64_t width = pk_replk_width(o->channels, o->ratio);
    pk_mixer mixer = o->mixer;
    mixer.names = PK_NAMES_REPLK;
    PK_TRY(pk_mixer_check(&mixer, width));
    if (o->own_position) PK_TRY(pk_mixer_add_position(m, &mixer, pk_mixer_channels(&mixer, width)));
    PK_TRY(pk_add_norm(m, "prelkb_bn", PK_NORM_BATCH, o->channels));
    PK_TRY(pk_add_pointwise_bn(m, "pw1", o->channels, width, false));
    PK_TRY(pk_mixer_make(m, "large_kernel", &mixer, width,
                         o->own_position ? pk_module_tensor(m, "position") : o->given_position));
    return pk_add_pointwise_bn(m, "pw2", width, o->channels, false);
}

static pk_status replk_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    static const pk_op *const activation[] = {NULL, &pk_op_relu, &pk_op_relu, NULL};
    return residual_chain(m, activation, ((const options *)m->options)->drop_path, x, y);
}

static void replk_describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    describe_block(o->channels, o->ratio, o->drop_path, text, size);
}

static const pk_field replk_fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_MIXER_AS(options, mixer, PK_MIXER_DENSE, 31, 1),
    F_FLOAT(options, ratio, 1, 1e-6, 64, "inner width over channels"),
    F_FLOAT(options, drop_path, 0, 0, 0.999999, "chance to drop the branch for a sample"),
    F_BOOL(options, own_position, 1, "make a position map (peripheral mixers, unless position_mode is off)"),
};

const pk_class pk_class_RepLKBlock = {
    .name = "RepLKBlock",
    .doc = "x + pw2(relu(large_kernel(relu(pw1(bn(x)))))), every convolution with its batch norm.",
    .options_size = sizeof(options),
    .fields = replk_fields,
    .nfields = F_COUNT(replk_fields),
    .build = replk_build,
    .forward = replk_forward,
    .describe = replk_describe,
    .merge = merge_front,
};

pk_status pk_replk_make(pk_module *m, const char *name, const pk_replk_options *o) {
    pk_module *made;
    PK_TRY(pk_module_make(m, name, &pk_class_RepLKBlock, o, &made));
    ((options *)made->options)->given_position = NULL; /* the mixer has its own reference */
    return PK_OK;
}

/* ---- ConvFFN ---- */

static pk_status ffn_build(pk_module *m) {
    const ffn_options *o = m->options;
    int64_t width = pk_replk_width(o->channels, o->ratio);
    PK_TRY(pk_add_norm(m, "preffn_bn", PK_NORM_BATCH, o->channels));
    PK_TRY(pk_add_pointwise_bn(m, "pw1", o->channels, width, false));
    return pk_add_pointwise_bn(m, "pw2", width, o->channels, false);
}

/* Once its batch norms are merged it is an MLP like others. */
static pk_status ffn_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    static const pk_op *const activation[] = {NULL, &pk_op_gelu, NULL};
    const ffn_options *o = m->options;
    const pk_mlp_parts parts = {.norm = m->child[0].module, .fc1 = m->child[1].module, .fc2 = m->child[2].module,
                                .shortcut = x, .drop_path = m->training ? o->drop_path : 0};
    return pk_mlp_takes_norm(&parts) ? pk_mlp_run(&parts, x, y) : residual_chain(m, activation, o->drop_path, x, y);
}

static void ffn_describe(const pk_module *m, char *text, size_t size) {
    const ffn_options *o = m->options;
    describe_block(o->channels, o->ratio, o->drop_path, text, size);
}

static const pk_field ffn_fields[] = {
    F_NEED(ffn_options, channels, 1, F_CHANNELS, "channels"),
    F_FLOAT(ffn_options, ratio, 4, 1e-6, 64, "inner width over channels"),
    F_FLOAT(ffn_options, drop_path, 0, 0, 0.999999, "chance to drop the branch for a sample"),
};

const pk_class pk_class_ConvFFN = {
    .name = "ConvFFN",
    .doc = "x + pw2(gelu(pw1(bn(x)))), both 1x1 convolutions with their batch norms.",
    .options_size = sizeof(ffn_options),
    .fields = ffn_fields,
    .nfields = F_COUNT(ffn_fields),
    .build = ffn_build,
    .forward = ffn_forward,
    .describe = ffn_describe,
    .merge = merge_front,
};

pk_status pk_conv_ffn_make(pk_module *m, const char *name, int64_t channels, double ratio, double drop_path) {
    const ffn_options o = {channels, ratio, drop_path};
    return pk_module_make(m, name, &pk_class_ConvFFN, &o, NULL);
}
