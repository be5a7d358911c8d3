/* Layer scale and the residual sum with stochastic depth (Huang et al. 2016) in one pass. */
#include <string.h>

#include "ops/drop.h"
#include "ops/onnx.h"
#include "ops/pixels.h"

enum { X, GAMMA, SHORTCUT };

static const pk_field fields[] = {PK_DROP_FIELDS};

static pk_status scale_infer(pk_call *c) {
    const pk_tensor *x = c->in[X];
    PK_RETURN_IF(x->ndim < 1, PK_EINVAL, "%s: x is a single number, {...,C} is wanted", c->op->name);
    if (c->in[GAMMA])
        PK_TRY(pk_want_shape(c, GAMMA, 1, &x->shape[x->ndim - 1], "one number for each of x's channels"));
    pk_out_like(c, 0, X);
    return PK_OK;
}

static pk_status residual_infer(pk_call *c) {
    PK_TRY(scale_infer(c));
    PK_RETURN_IF(c->in[X]->ndim < 2, PK_EINVAL, "scale_residual: x %s must be {N,...,C}", pk_shape_text(c->in[X]));
    return pk_want_shape(c, SHORTCUT, c->in[X]->ndim, c->in[X]->shape, "that of x");
}

/* Samples are the first dimension of scale_residual, each kept or dropped; layer_scale is one sample. */
typedef struct scale_job {
    pk_pixels x, shortcut;
    int64_t samples, rows, chunks; /* pixels a sample, chunks a sample */
    const pk_drop_params *drop;    /* null: layer_scale */
    const float *gamma, *dy;
    float *y, *dx;
} scale_job;

static void job_of(const pk_call *c, scale_job *j) {
    const pk_tensor *x = c->in[X];
    *j = (scale_job){.x = pk_pixels_of(x), .samples = 1, .gamma = c->in[GAMMA] ? pk_f32(c->in[GAMMA]) : NULL};
    if (c->op->params_size) {
        j->drop = c->params;
        j->samples = x->shape[0];
    }
    j->rows = j->samples ? j->x.count / j->samples : 0;
    j->chunks = pk_chunks(j->rows, 32768 / pk_max(1, j->x.channels));
}

/* Task i -> its sample's factor and its pixels. */
static float part_of(const scale_job *j, int64_t i, int64_t *r0, int64_t *r1) {
    int64_t sample = i / j->chunks, part = i % j->chunks;
    *r0 = sample * j->rows + pk_chunk_begin(j->rows, j->chunks, part);
    *r1 = sample * j->rows + pk_chunk_begin(j->rows, j->chunks, part + 1);
    return j->drop ? pk_drop_factor(j->drop, sample) : 1;
}

static void forward_part(void *context, int64_t i, int worker) {
    (void)worker;
    const scale_job *j = context;
    int64_t r0, r1, c = j->x.channels;
    float factor = part_of(j, i, &r0, &r1);
    const float *x = j->x.at + r0 * j->x.stride;
    if (j->shortcut.at)
        pk_k()->residual_rows(r1 - r0, c, x, j->x.stride, j->gamma, factor, j->shortcut.at + r0 * j->shortcut.stride,
                              j->shortcut.stride, j->y + r0 * c);
    else
        pk_k()->affine_rows(r1 - r0, c, x, j->x.stride, NULL, j->gamma, NULL, j->y + r0 * c);
}

static pk_status forward(pk_call *c) {
    scale_job j;
    job_of(c, &j);
    j.y = pk_f32(c->out[0]);
    if (c->in[SHORTCUT]) j.shortcut = pk_pixels_of(c->in[SHORTCUT]);
    pk_parallel(j.samples * j.chunks, forward_part, &j);
    return PK_OK;
}

static void dx_part(void *context, int64_t i, int worker) {
    (void)worker;
    const scale_job *j = context;
    int64_t r0, r1, c = j->x.channels;
    float factor = part_of(j, i, &r0, &r1), *dx = j->dx + r0 * c;
    if (j->gamma)
        pk_k()->affine_rows(r1 - r0, c, j->dy + r0 * c, c, NULL, j->gamma, NULL, dx);
    else
        memcpy(dx, j->dy + r0 * c, (size_t)((r1 - r0) * c) * sizeof *dx);
    if (factor != 1) pk_k()->scale((r1 - r0) * c, dx, factor);
}

/* The gradient of gamma: per sample the sums of dy * x, times the sample's factor. */
static void add_gamma(void *context, int64_t r0, int64_t r1, int worker, float *partial) {
    (void)worker;
    const scale_job *j = context;
    int64_t c = j->x.channels;
    float factor = j->drop ? pk_drop_factor(j->drop, r0 / j->rows) : 1;
    if (factor == 0) return;
    pk_k()->channel_dot(r1 - r0, c, j->x.at + r0 * j->x.stride, j->x.stride, NULL, j->dy + r0 * c, c, partial);
    pk_k()->scale(c, partial, factor);
}

static pk_status gamma_grad(pk_call *c, scale_job *j) {
    pk_tensor *sums;
    PK_TRY(pk_grad_like(c, GAMMA));
    PK_TRY(pk_tensor_new(PK_FLOAT32, 2, (int64_t[]){j->samples, j->x.channels}, &sums));
    pk_sum sum = {j->samples, j->rows, j->chunks, PK_SUM_BLOCK, j->x.channels, add_gamma, j};
    pk_status status = pk_sum_run(&sum, pk_f32(sums));
    if (status == PK_OK) status = pk_bias_grad(pk_f32(sums), j->samples, j->x.channels, pk_f32(c->din[GAMMA]));
    pk_tensor_release(sums);
    return status;
}

static pk_status backward(pk_call *c) {
    scale_job j;
    job_of(c, &j);
    j.dy = pk_f32(c->dout[0]);
    if (c->needs[SHORTCUT]) c->din[SHORTCUT] = pk_tensor_retain(c->dout[0]);
    if (c->needs[GAMMA]) PK_TRY(gamma_grad(c, &j));
    if (!c->needs[X]) return PK_OK;
    PK_TRY(pk_grad_like(c, X));
    j.dx = pk_f32(c->din[X]);
    pk_parallel(j.samples * j.chunks, dx_part, &j);
    return PK_OK;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const pk_tensor *x = c->in[X];
    int64_t n = pk_numel(x), channels = x->shape[x->ndim - 1], sample = n / x->shape[0];
    for (int64_t i = 0; i < n; i++) {
        double factor = c->op->params_size ? pk_drop_factor(c->params, i / sample) : 1;
        out[0][i] =
            (c->in[SHORTCUT] ? in[SHORTCUT][i] : 0) + factor * (in[GAMMA] ? in[GAMMA][i % channels] : 1) * in[X][i];
    }
}

static void layer_scale_onnx(pk_onnx *g, const pk_call *c) { (void)c, pk_onnx_map2(g, "Mul"); }

const pk_op pk_op_layer_scale = {
    .name = "layer_scale",
    .doc = "y = x * gamma, one number for each channel (the last dimension).",
    .args = {{"x", PK_ROWS, PK_REAL, "{...,C}"}, {"gamma", 0, PK_REAL, "{C}"}},
    .needs_in = 3,
    .infer = scale_infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = layer_scale_onnx,
    .cases = (const char *const[]){"x:1 gamma:1", "x:17 gamma:17", "x:2x5x7x19 gamma:19", "x:3000x21 gamma:21", NULL},
};

/* shortcut + gamma * x */
static void residual_onnx(pk_onnx *g, const pk_call *c) {
    const pk_drop_params *p = c->params;
    pk_order order = pk_onnx_common_order(g);
    int x = pk_onnx_in(g, X, order);
    if (p->training && p->p > 0) pk_onnx_refuse(g, "drops at random in training");
    if (c->in[GAMMA]) x = pk_onnx_node2(g, "Mul", x, pk_onnx_in(g, GAMMA, order));
    pk_onnx_out(g, 0, pk_onnx_node2(g, "Add", pk_onnx_in(g, SHORTCUT, order), x), order);
}

const pk_op pk_op_scale_residual = {
    .name = "scale_residual",
    .doc = "y = shortcut + keep * gamma * x. In training keep is 0 for a sample with probability p, else 1 / (1 - p);\n"
           "otherwise 1. Without gamma its factor is 1.",
    .params_size = sizeof(pk_drop_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"x", PK_ROWS, PK_REAL, "{N,...,C}"},
             {"gamma", PK_OPTIONAL, PK_REAL, "{C}"},
             {"shortcut", PK_ROWS, PK_REAL, "{N,...,C}"}},
    .needs_in = 3,
    .infer = residual_infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = residual_onnx,
    .cases = (const char *const[]){"x:1x1 gamma:1 shortcut:1x1", "x:7x3x5x17 gamma:17 shortcut:7x3x5x17 | p=0.5 seed=3",
                                   "x:4x5 shortcut:4x5 | p=0.25 seed=9", "x:2x60x41x9 gamma:9 shortcut:2x60x41x9",
                                   "x:3x2x2x5 gamma:5 shortcut:3x2x2x5 | p=0.9 training=false", NULL},
};
