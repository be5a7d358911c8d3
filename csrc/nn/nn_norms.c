/* LayerNorm, BatchNorm (with its running statistics) and GRN. */
#include <math.h>
#include <stdio.h>

#include "autograd/autograd.h"
#include "nn/args.h"
#include "nn/fields.h"
#include "nn/merge.h"

typedef struct options {
    int64_t channels;
    double eps, momentum;
    bool affine;
} options;

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld, eps %g", (long long)o->channels, o->eps);
}

static pk_status add_affine(pk_module *m, const char *weight, const char *bias, pk_init init) {
    const options *o = m->options;
    PK_TRY(pk_module_parameter(m, weight, 1, &o->channels, init, 1));
    return pk_module_parameter(m, bias, 1, &o->channels, PK_INIT_ZEROS, 0);
}

static pk_status affine_build(pk_module *m) {
    return ((const options *)m->options)->affine ? add_affine(m, "weight", "bias", PK_INIT_ONES) : PK_OK;
}

static pk_status layer_norm_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *in[] = {x, pk_module_tensor(m, "weight"), pk_module_tensor(m, "bias")};
    return pk_run_layer(&pk_op_layer_norm, m, in, 3, y);
}

static const pk_field layer_norm_fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "size of the last dimension"),
    F_FLOAT(options, eps, 1e-6, 0, 1, "added to the variance"),
    F_BOOL(options, affine, 1, "learned weight and bias"),
};

const pk_class pk_class_LayerNorm = {
    .name = "LayerNorm",
    .doc = "Normalise the last dimension to mean 0, variance 1, then scale and shift. eps 1e-6 (ConvNeXt).",
    .options_size = sizeof(options),
    .fields = layer_norm_fields,
    .nfields = F_COUNT(layer_norm_fields),
    .build = affine_build,
    .forward = layer_norm_forward,
    .describe = describe,
};

/* ---- batch norm ---- */

static pk_status batch_norm_build(pk_module *m) {
    const options *o = m->options;
    PK_TRY(affine_build(m));
    PK_TRY(pk_module_buffer(m, "running_mean", 1, &o->channels, 0));
    return pk_module_buffer(m, "running_var", 1, &o->channels, 1);
}

/* running = (1 - momentum) * running + momentum * batch, with the unbiased variance (as PyTorch). */
static void update_running(pk_module *m, const pk_tensor *mean, const pk_tensor *var, int64_t pixels) {
    const options *o = m->options;
    pk_tensor *run_mean = pk_module_tensor(m, "running_mean"), *run_var = pk_module_tensor(m, "running_var");
    float *rm = pk_f32(run_mean), *rv = pk_f32(run_var);
    const float *bm = pk_f32(mean), *bv = pk_f32(var);
    double unbiased = pixels > 1 ? (double)pixels / (double)(pixels - 1) : 1;
    for (int64_t c = 0; c < o->channels; c++) {
        rm[c] = (float)((1 - o->momentum) * rm[c] + o->momentum * bm[c]);
        rv[c] = (float)((1 - o->momentum) * rv[c] + o->momentum * unbiased * bv[c]);
    }
    pk_tensor_written(run_mean);
    pk_tensor_written(run_var);
}

static pk_status batch_norm_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *out[PK_MAX_OUT];
    pk_tensor *in[] = {x, pk_module_tensor(m, "weight"), pk_module_tensor(m, "bias"),
                       pk_module_tensor(m, "running_mean"), pk_module_tensor(m, "running_var")};
    int nout;
    pk_args args;
    pk_args_begin(&args, &pk_op_batch_norm);
    pk_args_copy(&args, m);
    pk_args_set(&args, "training", m->training);
    PK_RETURN_IF(!args.op, PK_EINVAL, "batch_norm lacks a parameter that its layer sets");
    PK_TRY(pk_apply(args.op, args.params, in, 5, out, &nout));
    if (m->training && nout == 3 && out[1]->ndim == 1 && !pk_counting()) {
        int64_t channels = pk_numel(out[1]);
        update_running(m, out[1], out[2], channels ? pk_numel(x) / channels : 0);
    }
    *y = out[0];
    for (int i = 1; i < nout; i++) pk_tensor_release(out[i]);
    return PK_OK;
}

pk_status pk_batch_norm_affine(const pk_module *norm, pk_affine *a) {
    const options *o = norm->options;
    const pk_tensor *weight = pk_module_tensor(norm, "weight"), *bias = pk_module_tensor(norm, "bias");
    const float *mean = pk_f32(pk_module_tensor(norm, "running_mean")), *var = pk_f32(pk_module_tensor(norm, "running_var"));
    PK_TRY(pk_affine_new(o->channels, a));
    for (int64_t c = 0; c < o->channels; c++) { /* RepLKNet's fuse_bn */
        a->scale[c] = (weight ? pk_f32(weight)[c] : 1) / sqrt(var[c] + o->eps);
        a->shift[c] = (bias ? pk_f32(bias)[c] : 0) - mean[c] * a->scale[c];
    }
    return PK_OK;
}

static const pk_field batch_norm_fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "size of the last dimension"),
    F_FLOAT(options, eps, 1e-5, 0, 1, "added to the variance"),
    F_FLOAT(options, momentum, 0.1, 0, 1, "share of the new batch in the running statistics"),
    F_BOOL(options, affine, 1, "learned weight and bias"),
};

const pk_class pk_class_BatchNorm = {
    .name = "BatchNorm",
    .doc = "Normalise every channel over the batch (training) or by running statistics (eval). eps 1e-5, momentum 0.1.",
    .options_size = sizeof(options),
    .fields = batch_norm_fields,
    .nfields = F_COUNT(batch_norm_fields),
    .build = batch_norm_build,
    .forward = batch_norm_forward,
    .describe = describe,
};

/* ---- GRN ---- */

static pk_status grn_build(pk_module *m) { return add_affine(m, "weight", "bias", PK_INIT_ZEROS); }

static pk_status grn_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *in[] = {x, pk_module_tensor(m, "weight"), pk_module_tensor(m, "bias")};
    return pk_run_layer(&pk_op_grn, m, in, 3, y);
}

static const pk_field grn_fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_FLOAT(options, eps, 1e-6, 0, 1, "added to the mean of the norms"),
};

const pk_class pk_class_GRN = {
    .name = "GRN",
    .doc = "Global response normalisation of {N,H,W,C} (ConvNeXt V2, arXiv 2301.00808, section 3.3); starts as identity.",
    .options_size = sizeof(options),
    .fields = grn_fields,
    .nfields = F_COUNT(grn_fields),
    .build = grn_build,
    .forward = grn_forward,
    .describe = describe,
};
