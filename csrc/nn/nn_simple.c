/* Layers without parameters: activations, dropout, pooling, flatten, identity. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/fields.h"

typedef struct no_options {
    char none;
} no_options;

#define PLAIN(op)                                                           \
    static pk_status op##_forward(pk_module *m, pk_tensor *x, pk_tensor **y) { \
        (void)m;                                                            \
        return pk_run1(&pk_op_##op, x, y);                                  \
    }
PLAIN(gelu)
PLAIN(relu)
PLAIN(silu)
PLAIN(sigmoid)
PLAIN(global_avg_pool)

static pk_status identity_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    (void)m;
    *y = pk_tensor_retain(x);
    return PK_OK;
}

#define PLAIN_BODY(label, op, text) \
    .name = label, .doc = text, .options_size = sizeof(no_options), .forward = op##_forward,

const pk_class pk_class_GELU = {
    PLAIN_BODY("GELU", gelu, "x * Phi(x), Phi the normal distribution function (exact, by erf).")
};
const pk_class pk_class_ReLU = {
    PLAIN_BODY("ReLU", relu, "max(x, 0).")
};
const pk_class pk_class_SiLU = {
    PLAIN_BODY("SiLU", silu, "x * sigmoid(x).")
};
const pk_class pk_class_Sigmoid = {
    PLAIN_BODY("Sigmoid", sigmoid, "1 / (1 + exp(-x)).")
};
const pk_class pk_class_GlobalAvgPool = {
    PLAIN_BODY("GlobalAvgPool", global_avg_pool, "Mean over the pixels: {N,H,W,C} to {N,C}.")
};
const pk_class pk_class_Identity = {
    PLAIN_BODY("Identity", identity, "The input.")
};

/* ---- softmax ---- */

typedef struct softmax_options {
    int64_t dim;
} softmax_options;

static pk_status softmax_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    return pk_run_layer(&pk_op_softmax, m, &x, 1, y);
}

static const pk_field softmax_fields[] = {F_DIM(softmax_options, dim, -1, "dimension that sums to 1")};

const pk_class pk_class_Softmax = {
    .name = "Softmax",
    .doc = "exp(x) over its sum along dim (the last by default).",
    .options_size = sizeof(softmax_options),
    .fields = softmax_fields,
    .nfields = F_COUNT(softmax_fields),
    .forward = softmax_forward,
};

/* ---- dropout and drop path ---- */

typedef struct drop_options {
    double p;
} drop_options;

static pk_status drop(const pk_op *op, pk_module *m, pk_tensor *x, pk_tensor **y) {
    if (!m->training || ((const drop_options *)m->options)->p == 0) return identity_forward(m, x, y);
    return pk_run_layer(op, m, &x, 1, y);
}
static pk_status dropout_forward(pk_module *m, pk_tensor *x, pk_tensor **y) { return drop(&pk_op_dropout, m, x, y); }
static pk_status drop_path_forward(pk_module *m, pk_tensor *x, pk_tensor **y) { return drop(&pk_op_drop_path, m, x, y); }

static void drop_describe(const pk_module *m, char *text, size_t size) {
    snprintf(text, size, "p %g", ((const drop_options *)m->options)->p);
}

static const pk_field dropout_fields[] = {F_FLOAT(drop_options, p, 0.5, 0, 0.999999, "chance to drop an element")};
static const pk_field drop_path_fields[] = {F_FLOAT(drop_options, p, 0.1, 0, 0.999999, "chance to drop a sample")};

const pk_class pk_class_Dropout = {
    .name = "Dropout",
    .doc = "In training, zero elements with chance p and scale the rest by 1/(1-p).",
    .options_size = sizeof(drop_options),
    .fields = dropout_fields,
    .nfields = F_COUNT(dropout_fields),
    .forward = dropout_forward,
    .describe = drop_describe,
};
const pk_class pk_class_DropPath = {
    .name = "DropPath",
    .doc = "In training, zero whole samples with chance p and scale the rest by 1/(1-p) (stochastic depth).",
    .options_size = sizeof(drop_options),
    .fields = drop_path_fields,
    .nfields = F_COUNT(drop_path_fields),
    .forward = drop_path_forward,
    .describe = drop_describe,
};

/* ---- pooling ---- */

typedef struct pool_options {
    int64_t kernel[2], stride[2], padding[2];
} pool_options;

static pk_status pool(const pk_op *op, pk_module *m, pk_tensor *x, pk_tensor **y) {
    return pk_run_layer(op, m, &x, 1, y);
}
static pk_status avg_pool_forward(pk_module *m, pk_tensor *x, pk_tensor **y) { return pool(&pk_op_avg_pool, m, x, y); }
static pk_status max_pool_forward(pk_module *m, pk_tensor *x, pk_tensor **y) { return pool(&pk_op_max_pool, m, x, y); }

static void pool_describe(const pk_module *m, char *text, size_t size) {
    const pool_options *o = m->options;
    snprintf(text, size, "kernel %lldx%lld, stride %lld", (long long)o->kernel[0], (long long)o->kernel[1],
             (long long)o->stride[0]);
}

static const pk_field pool_fields[] = {
    F_PAIR(pool_options, kernel, 2, 1, 4096, "window size, n or {h,w}"),
    F_PAIR(pool_options, stride, 2, 1, 4096, "step, n or {h,w}"),
    F_PADDING(pool_options, padding, 0, "pixels around the image: n or {h,w}"),
};

const pk_class pk_class_AvgPool = {
    .name = "AvgPool",
    .doc = "Mean of each window of {N,H,W,C}.",
    .options_size = sizeof(pool_options),
    .fields = pool_fields,
    .nfields = F_COUNT(pool_fields),
    .forward = avg_pool_forward,
    .describe = pool_describe,
};
const pk_class pk_class_MaxPool = {
    .name = "MaxPool",
    .doc = "Largest element of each window of {N,H,W,C}.",
    .options_size = sizeof(pool_options),
    .fields = pool_fields,
    .nfields = F_COUNT(pool_fields),
    .forward = max_pool_forward,
    .describe = pool_describe,
};
