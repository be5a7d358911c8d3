/* RepLKBlock and ConvFFN: the two blocks that alternate in a stage of RepLKNet (arXiv 2203.06717, section 4). */
#include <stdio.h>

#include "nn/args.h"
#include "nn/merge.h"
#include "nn/mixer.h"
#include "nn/parts.h"

typedef struct options {
    int64_t channels;
    double ratio; /* inner width over channels */
    int64_t kernel, small_kernel;
    double drop_path;
} options;

/* A 1x1 convolution without bias and its batch norm: {conv, bn}. */
static pk_status add_pointwise(pk_module *m, const char *name, int64_t in, int64_t out) {
    pk_module *pair;
    PK_TRY(pk_module_make(m, name, &pk_class_Sequential, NULL, &pair));
    PK_TRY(pk_add_patch_conv(pair, "conv", in, out, 1, false));
    return pk_add_norm(pair, "bn", PK_NORM_BATCH, out);
}

static int64_t inner(const options *o) {
    int64_t n = (int64_t)(o->ratio * (double)o->channels + 1e-9);
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
static pk_status residual_chain(pk_module *m, const pk_op *const *activation, pk_tensor *x, pk_tensor **y) {
    const options *o = m->options;
    pk_tensor *h = pk_tensor_retain(x);
    pk_status status = PK_OK;
    for (int i = 0; i < m->nchildren && status == PK_OK; i++) status = advance(m, i, activation[i], &h);
    if (status == PK_OK) {
        pk_tensor *in[] = {h, NULL, x};
        pk_args args;
        pk_args_begin(&args, &pk_op_scale_residual);
        pk_args_set(&args, "p", m->training ? o->drop_path : 0);
        status = pk_args_run(&args, in, 3, y);
    }
    pk_tensor_release(h);
    return status;
}

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld, inner %lld", (long long)o->channels, (long long)inner(o));
}

/* The norm in front of pw1, a 1x1 convolution without padding, goes into it. */
static pk_status merge_front(pk_module *m, pk_merge *r) {
    bool done;
    return pk_merge_asked(r)->batch_norms ? pk_merge_norm(m, 0, 1, r, &done) : PK_OK;
}

/* ---- RepLKBlock ---- */

static pk_status replk_build(pk_module *m) {
    const options *o = m->options;
    const pk_mixer mixer = {.mixer = PK_MIXER_DENSE, .kernel = o->kernel, .small_kernel = o->small_kernel,
                            .radius = 2, .base = 2, .partial = 1, .reparam = true}; /* the grid's numbers are not used */
    PK_TRY(pk_add_norm(m, "prelkb_bn", PK_NORM_BATCH, o->channels));
    PK_TRY(add_pointwise(m, "pw1", o->channels, inner(o)));
    PK_TRY(pk_partial_make(m, "large_kernel", &mixer, inner(o), NULL));
    return add_pointwise(m, "pw2", inner(o), o->channels);
}

static pk_status replk_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    static const pk_op *const activation[] = {NULL, &pk_op_relu, &pk_op_relu, NULL};
    return residual_chain(m, activation, x, y);
}

static const pk_field replk_fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_INT(options, kernel, 31, 1, 4095, "side of the large depthwise kernel, odd"),
    F_INT(options, small_kernel, 5, 0, 4095, "side of the parallel kernel, 0 none"),
    F_FLOAT(options, ratio, 1, 1e-6, 64, "inner width over channels"),
    F_FLOAT(options, drop_path, 0, 0, 0.999999, "chance to drop the branch for a sample"),
};

const pk_class pk_class_RepLKBlock = {
    .name = "RepLKBlock",
    .doc = "x + pw2(relu(large_kernel(relu(pw1(bn(x)))))), every convolution with its batch norm.",
    .options_size = sizeof(options),
    .fields = replk_fields,
    .nfields = F_COUNT(replk_fields),
    .build = replk_build,
    .forward = replk_forward,
    .describe = describe,
    .merge = merge_front,
};

/* ---- ConvFFN ---- */

static pk_status ffn_build(pk_module *m) {
    const options *o = m->options;
    PK_TRY(pk_add_norm(m, "preffn_bn", PK_NORM_BATCH, o->channels));
    PK_TRY(add_pointwise(m, "pw1", o->channels, inner(o)));
    return add_pointwise(m, "pw2", inner(o), o->channels);
}

static pk_status ffn_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    static const pk_op *const activation[] = {NULL, &pk_op_gelu, NULL};
    return residual_chain(m, activation, x, y);
}

static const pk_field ffn_fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_FLOAT(options, ratio, 4, 1e-6, 64, "inner width over channels"),
    F_FLOAT(options, drop_path, 0, 0, 0.999999, "chance to drop the branch for a sample"),
};

const pk_class pk_class_ConvFFN = {
    .name = "ConvFFN",
    .doc = "x + pw2(gelu(pw1(bn(x)))), both 1x1 convolutions with their batch norms.",
    .options_size = sizeof(options),
    .fields = ffn_fields,
    .nfields = F_COUNT(ffn_fields),
    .build = ffn_build,
    .forward = ffn_forward,
    .describe = describe,
    .merge = merge_front,
};
