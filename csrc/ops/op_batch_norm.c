/* Batch norm: each channel over all pixels of the batch. The op writes no running statistics: in training it gives the
 * batch's, and the module moves its own. */
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "ops/onnx.h"
#include "ops/pixels.h"

typedef struct batch_norm_params {
    bool training;
    double eps;
} batch_norm_params;

static const pk_field fields[] = {
    {"training", PK_BOOL, offsetof(batch_norm_params, training), .def = 1, .doc = "use the batch's statistics"},
    {"eps", PK_FLOAT, offsetof(batch_norm_params, eps), .def = 1e-5, .min = 0, .max = 1,
     .doc = "added to the variance"},
};

enum { X, WEIGHT, BIAS, MEAN, VAR };

static pk_status infer(pk_call *c) {
    const pk_tensor *x = c->in[X];
    const batch_norm_params *p = c->params;
    PK_RETURN_IF(x->ndim < 1, PK_EINVAL, "batch_norm: x is a single number, {...,C} is wanted");
    const int64_t *channels = &x->shape[x->ndim - 1];
    for (int i = WEIGHT; i <= VAR; i++)
        if (c->in[i]) PK_TRY(pk_want_shape(c, i, 1, channels, "one number for each of x's channels"));
    PK_RETURN_IF(p->training && pk_span(x, 0, x->ndim - 1) < 1, PK_EINVAL,
                 "batch_norm: x %s has no pixels to take statistics of", pk_shape_text(x));
    PK_RETURN_IF(!p->training && (!c->in[MEAN] || !c->in[VAR]), PK_EINVAL,
                 "batch_norm: running_mean and running_var are wanted when training is false");
    pk_out_like(c, 0, X);
    for (int i = 1; p->training && i < 3; i++) pk_out(c, i, PK_FLOAT32, 1, channels);
    return PK_OK;
}

/* ---- statistics: blocks of pixels, merged in double in order ---- */

typedef struct moments {
    pk_pixels x;
    int64_t chunks, block;
    double *mean, *m2;            /* [chunks][channels] */
    float *block_mean, *block_m2; /* [chunks][channels], scratch */
} moments;

/* Chan, Golub, LeVeque: n things of mean and m2 (sum of squared distances) join count others. */
static void merge(double *mean, double *m2, double count, double other_mean, double other_m2, double n) {
    double distance = other_mean - *mean, share = n / (count + n);
    *mean += distance * share;
    *m2 += other_m2 + distance * distance * count * share;
}

static void moments_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const moments *j = context;
    int64_t c = j->x.channels, begin = pk_chunk_begin(j->x.count, j->chunks, i);
    int64_t end = pk_chunk_begin(j->x.count, j->chunks, i + 1);
    double *mean = j->mean + i * c, *m2 = j->m2 + i * c;
    float *bm = j->block_mean + i * c, *b2 = j->block_m2 + i * c;
    memset(mean, 0, (size_t)c * sizeof *mean);
    memset(m2, 0, (size_t)c * sizeof *m2);
    for (int64_t r = begin; r < end; r += j->block) {
        int64_t rows = pk_min(j->block, end - r);
        pk_k()->channel_moments(rows, c, j->x.at + r * j->x.stride, j->x.stride, bm, b2);
        for (int64_t k = 0; k < c; k++) merge(&mean[k], &m2[k], (double)(r - begin), bm[k], b2[k], (double)rows);
    }
}

static pk_status batch_moments(const pk_tensor *x, float *mean, float *var) {
    moments j = {.x = pk_pixels_of(x)};
    int64_t c = j.x.channels;
    j.chunks = pk_pixel_chunks(&j.x);
    j.block = pk_max(1, pk_min(256, 8192 / pk_max(1, c)));
    int64_t bytes = j.chunks * c * (int64_t)(2 * sizeof(double) + 2 * sizeof(float));
    j.mean = pk_alloc(bytes);
    if (!j.mean) return pk_no_memory(bytes);
    j.m2 = j.mean + j.chunks * c;
    j.block_mean = (float *)(void *)(j.m2 + j.chunks * c);
    j.block_m2 = j.block_mean + j.chunks * c;
    pk_parallel(j.chunks, moments_chunk, &j);
    for (int64_t i = 1; i < j.chunks; i++) {
        int64_t begin = pk_chunk_begin(j.x.count, j.chunks, i), end = pk_chunk_begin(j.x.count, j.chunks, i + 1);
        for (int64_t k = 0; k < c; k++)
            merge(&j.mean[k], &j.m2[k], (double)begin, j.mean[i * c + k], j.m2[i * c + k], (double)(end - begin));
    }
    for (int64_t k = 0; k < c; k++) {
        mean[k] = (float)j.mean[k];
        var[k] = (float)(j.m2[k] / (double)j.x.count);
    }
    pk_free(j.mean);
    return PK_OK;
}

/* ---- forward ---- */

typedef struct norm_job {
    pk_pixels x;
    int64_t chunks;
    const float *mean, *scale, *bias, *k, *d, *dy;
    float *y, *dx;
} norm_job;

static void forward_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const norm_job *j = context;
    int64_t r0 = pk_chunk_begin(j->x.count, j->chunks, i), r1 = pk_chunk_begin(j->x.count, j->chunks, i + 1);
    pk_k()->affine_rows(r1 - r0, j->x.channels, j->x.at + r0 * j->x.stride, j->x.stride, j->mean, j->scale, j->bias,
                        j->y + r0 * j->x.channels);
}

/* saved: the mean and 1 / sqrt(var + eps) that were used. */
static pk_status forward(pk_call *c) {
    const batch_norm_params *p = c->params;
    norm_job j = {.x = pk_pixels_of(c->in[X]), .y = pk_f32(c->out[0])};
    int64_t n = j.x.channels;
    for (int i = 0; i < 3; i++) PK_TRY(pk_save_floats(c, i, n)); /* the third: scale, not kept */
    float *mean = pk_f32(c->saved[0]), *rstd = pk_f32(c->saved[1]), *scale = pk_f32(c->saved[2]);
    const float *var = p->training ? pk_f32(c->out[2]) : pk_f32(c->in[VAR]);
    if (p->training) PK_TRY(batch_moments(c->in[X], pk_f32(c->out[1]), pk_f32(c->out[2])));
    memcpy(mean, p->training ? pk_f32(c->out[1]) : pk_f32(c->in[MEAN]), (size_t)n * sizeof *mean);
    for (int64_t k = 0; k < n; k++) {
        rstd[k] = (float)(1 / sqrt((double)var[k] + p->eps));
        scale[k] = rstd[k] * (c->in[WEIGHT] ? pk_f32(c->in[WEIGHT])[k] : 1);
    }
    j.chunks = pk_pixel_chunks(&j.x);
    j.mean = mean;
    j.scale = scale;
    j.bias = c->in[BIAS] ? pk_f32(c->in[BIAS]) : NULL;
    pk_parallel(j.chunks, forward_chunk, &j);
    pk_tensor_release(c->saved[2]);
    c->saved[2] = NULL;
    return PK_OK;
}

/* ---- backward ---- */

/* Sums of dy and of dy * (x - mean). */
static void add_rows(void *context, int64_t r0, int64_t r1, int worker, float *partial) {
    (void)worker;
    const norm_job *j = context;
    int64_t n = j->x.channels;
    pk_k()->channel_sum(r1 - r0, n, j->dy + r0 * n, n, partial);
    pk_k()->channel_dot(r1 - r0, n, j->x.at + r0 * j->x.stride, j->x.stride, j->mean, j->dy + r0 * n, n, partial + n);
}

static void dx_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const norm_job *j = context;
    int64_t n = j->x.channels, r0 = pk_chunk_begin(j->x.count, j->chunks, i);
    int64_t r1 = pk_chunk_begin(j->x.count, j->chunks, i + 1);
    if (j->k)
        pk_k()->affine_grad(r1 - r0, n, j->x.at + r0 * j->x.stride, j->x.stride, j->mean, j->k, j->dy + r0 * n,
                            j->scale, j->d, j->dx + r0 * n);
    else
        pk_k()->affine_rows(r1 - r0, n, j->dy + r0 * n, n, NULL, j->scale, NULL, j->dx + r0 * n);
}

/* In training dx = scale * (dy - mean(dy) - (x - mean) * rstd^2 * mean(dy * (x - mean))); in eval scale * dy. */
static pk_status backward(pk_call *c) {
    const batch_norm_params *p = c->params;
    norm_job j = {.x = pk_pixels_of(c->in[X]), .mean = pk_f32(c->saved[0]), .dy = pk_f32(c->dout[0])};
    int64_t n = j.x.channels, bytes = 5 * n * (int64_t)sizeof(float);
    const float *rstd = pk_f32(c->saved[1]), *w = c->in[WEIGHT] ? pk_f32(c->in[WEIGHT]) : NULL;
    for (int i = 0; i <= BIAS && i < c->nin; i++)
        if (c->needs[i]) PK_TRY(pk_grad_like(c, i));
    float *sums = pk_alloc(bytes);
    if (!sums) return pk_no_memory(bytes);
    float *scale = sums + 2 * n, *k = sums + 3 * n, *d = sums + 4 * n;
    j.chunks = pk_pixel_chunks(&j.x);
    pk_sum sum = {1, j.x.count, j.chunks, PK_SUM_BLOCK, 2 * n, add_rows, &j};
    pk_status status = pk_sum_run(&sum, sums);
    for (int64_t i = 0; i < n && status == PK_OK; i++) {
        double count = (double)j.x.count, s = (double)rstd[i] * (w ? w[i] : 1);
        scale[i] = (float)s;
        k[i] = (float)(-s * rstd[i] * rstd[i] * sums[n + i] / count);
        d[i] = (float)(-s * sums[i] / count);
        if (c->din[WEIGHT]) pk_f32(c->din[WEIGHT])[i] = sums[n + i] * rstd[i];
        if (c->din[BIAS]) pk_f32(c->din[BIAS])[i] = sums[i];
    }
    j.scale = scale;
    j.k = p->training ? k : NULL;
    j.d = d;
    j.dx = c->din[X] ? pk_f32(c->din[X]) : NULL;
    if (j.dx && status == PK_OK) pk_parallel(j.chunks, dx_chunk, &j);
    pk_free(sums);
    return status;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const pk_tensor *t = c->in[X];
    const batch_norm_params *p = c->params;
    int64_t n = t->shape[t->ndim - 1], rows = pk_span(t, 0, t->ndim - 1);
    for (int64_t k = 0; k < n; k++) {
        double mean = 0, var = 0;
        for (int64_t r = 0; r < rows; r++) mean += in[X][r * n + k] / (double)rows;
        for (int64_t r = 0; r < rows; r++) var += pow(in[X][r * n + k] - mean, 2) / (double)rows;
        if (p->training) {
            out[1][k] = mean;
            out[2][k] = var;
        } else {
            mean = in[MEAN][k];
            var = in[VAR][k];
        }
        for (int64_t r = 0; r < rows; r++)
            out[0][r * n + k] = (in[X][r * n + k] - mean) / sqrt(var + p->eps) * (in[WEIGHT] ? in[WEIGHT][k] : 1) +
                                (in[BIAS] ? in[BIAS][k] : 0);
    }
}

/* Channels stand second there: in two dimensions, and in four in channels-first order. */
static void node_onnx(pk_onnx *g, const pk_call *c, pk_order order) {
    int64_t channels = c->in[X]->shape[c->in[X]->ndim - 1];
    int weight = c->in[WEIGHT] ? pk_onnx_vector(g, WEIGHT) : pk_onnx_filled(g, channels, 1);
    int bias = c->in[BIAS] ? pk_onnx_vector(g, BIAS) : pk_onnx_filled(g, channels, 0);
    int in[] = {pk_onnx_in(g, X, order), weight, bias, pk_onnx_vector(g, MEAN), pk_onnx_vector(g, VAR)};
    int y = pk_onnx_node(g, "BatchNormalization", 5, in);
    pk_onnx_set_float(g, "epsilon", ((const batch_norm_params *)c->params)->eps);
    pk_onnx_out(g, 0, y, order);
}

/* (x - mean) / sqrt(var + eps) * weight + bias, channels last */
static void onnx(pk_onnx *g, const pk_call *c) {
    const batch_norm_params *p = c->params;
    pk_order order = pk_onnx_common_order(g);
    if (p->training) pk_onnx_refuse(g, "takes statistics of the batch in training");
    if (order == PK_CHANNELS_FIRST || c->in[X]->ndim == 2) {
        node_onnx(g, c, order);
        return;
    }
    int x = pk_onnx_in(g, X, order), mean = pk_onnx_vector(g, MEAN), var = pk_onnx_vector(g, VAR);
    int deviation = pk_onnx_node1(g, "Sqrt", pk_onnx_node2(g, "Add", var, pk_onnx_scalar(g, p->eps)));
    int y = pk_onnx_node2(g, "Div", pk_onnx_node2(g, "Sub", x, mean), deviation);
    if (c->in[WEIGHT]) y = pk_onnx_node2(g, "Mul", y, pk_onnx_vector(g, WEIGHT));
    if (c->in[BIAS]) y = pk_onnx_node2(g, "Add", y, pk_onnx_vector(g, BIAS));
    pk_onnx_out(g, 0, y, order);
}

const pk_op pk_op_batch_norm = {
    .name = "batch_norm",
    .doc =
        "y = (x - mean) / sqrt(var + eps) * weight + bias for each channel (the last dimension). In training mean and\n"
        "biased var are the batch's and come out as outputs 2 and 3; otherwise running_mean and running_var.",
    .params_size = sizeof(batch_norm_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"x", PK_ROWS, PK_REAL, "{...,C}"},
             {"weight", PK_OPTIONAL, PK_REAL, "{C}"},
             {"bias", PK_OPTIONAL, PK_REAL, "{C}"},
             {"running_mean", PK_OPTIONAL | PK_NO_GRAD, PK_REAL, "{C}"},
             {"running_var", PK_OPTIONAL | PK_NO_GRAD, PK_POSITIVE, "{C}"}},
    .needs_in = 3,
    .outputs_no_grad = 6,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .cases = (const char *const[]){"x:2x1 weight:1 bias:1 | eps=0.1", "x:3x5x7x17 weight:17 bias:17",
                                   "x:4x6x3 running_mean:3 running_var:3 | training=false",
                                   "x:2x5x5x9 weight:9 bias:9 running_mean:9 running_var:9 | training=false eps=1e-3",
                                   "x:37x19", "x:9001x12 weight:12 bias:12 running_mean:12 running_var:12", NULL},
};
