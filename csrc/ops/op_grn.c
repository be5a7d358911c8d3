/* Global response normalisation of ConvNeXt V2 (Woo et al. 2023): channels compete by their norm over the image. */
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "ops/onnx.h"
#include "ops/pixels.h"

typedef struct grn_params {
    double eps;
} grn_params;

static const pk_field fields[] = {
    {"eps", PK_FLOAT, offsetof(grn_params, eps), .def = 1e-6, .min = 0, .max = 1, .doc = "added to the mean norm"},
};

static pk_status infer(pk_call *c) {
    PK_TRY(pk_want_ndim(c, 0, 4));
    for (int i = 1; i < 3; i++)
        PK_TRY(pk_want_shape(c, i, 1, &c->in[0]->shape[3], "one number for each of x's channels"));
    pk_out_like(c, 0, 0);
    return PK_OK;
}

typedef struct grn_job {
    pk_pixels x;
    int64_t images, rows, chunks; /* pixels an image, chunks an image */
    const float *dy, *bias;
    float *scale, *k, *out;       /* coefficients [images][channels] */
} grn_job;

static void job_of(const pk_call *c, grn_job *j) {
    const pk_tensor *x = c->in[0];
    *j = (grn_job){.x = pk_pixels_of(x), .images = x->shape[0], .rows = x->shape[1] * x->shape[2]};
    j->chunks = pk_chunks(j->rows, 32768 / pk_max(1, j->x.channels));
}

static void add_squares(void *context, int64_t r0, int64_t r1, int worker, float *partial) {
    (void)worker;
    const grn_job *j = context;
    const float *x = j->x.at + r0 * j->x.stride;
    pk_k()->channel_dot(r1 - r0, j->x.channels, x, j->x.stride, NULL, x, j->x.stride, partial);
}

/* For one image: dx = dy * scale + x * k, or y = x * scale + bias. */
static void apply_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const grn_job *j = context;
    int64_t c = j->x.channels, image = i / j->chunks, part = i % j->chunks;
    int64_t r0 = image * j->rows + pk_chunk_begin(j->rows, j->chunks, part);
    int64_t r1 = image * j->rows + pk_chunk_begin(j->rows, j->chunks, part + 1);
    const float *x = j->x.at + r0 * j->x.stride;
    if (j->dy)
        pk_k()->affine_grad(r1 - r0, c, x, j->x.stride, NULL, j->k + image * c, j->dy + r0 * c, j->scale + image * c,
                            NULL, j->out + r0 * c);
    else
        pk_k()->affine_rows(r1 - r0, c, x, j->x.stride, NULL, j->scale + image * c, j->bias, j->out + r0 * c);
}

static double mean_of(const float *norm, int64_t c) {
    double s = 0;
    for (int64_t k = 0; k < c; k++) s += norm[k];
    return s / (double)c;
}

/* saved[0]: the norms {images, channels}. */
static pk_status forward(pk_call *c) {
    grn_job j;
    job_of(c, &j);
    int64_t n = j.x.channels;
    double eps = ((const grn_params *)c->params)->eps;
    PK_TRY(pk_save_floats(c, 0, j.images * n));
    PK_TRY(pk_save_floats(c, 1, j.images * n));
    float *norm = pk_f32(c->saved[0]);
    pk_sum sum = {j.images, j.rows, j.chunks, PK_SUM_BLOCK, n, add_squares, &j};
    PK_TRY(pk_sum_run(&sum, norm));
    j.scale = pk_f32(c->saved[1]);
    j.bias = pk_f32(c->in[2]);
    j.out = pk_f32(c->out[0]);
    pk_k()->map_sqrt(j.images * n, norm, norm);
    for (int64_t i = 0; i < j.images; i++) {
        double mean = mean_of(norm + i * n, n) + eps;
        for (int64_t k = 0; k < n; k++)
            j.scale[i * n + k] = (float)(1 + pk_f32(c->in[1])[k] * norm[i * n + k] / mean);
    }
    pk_parallel(j.images * j.chunks, apply_chunk, &j);
    return PK_OK;
}

/* For each image the sums of dy * x, then of dy. */
static void add_grads(void *context, int64_t r0, int64_t r1, int worker, float *partial) {
    (void)worker;
    const grn_job *j = context;
    int64_t c = j->x.channels;
    pk_k()->channel_dot(r1 - r0, c, j->x.at + r0 * j->x.stride, j->x.stride, NULL, j->dy + r0 * c, c, partial);
    pk_k()->channel_sum(r1 - r0, c, j->dy + r0 * c, c, partial + c);
}

/* With G the norms, M their mean plus eps and S = weight * sum(dy * x), the loss depends on G through sum(S * G / M):
 * dG = S / M - sum(S * G) / (M^2 C), and dx gains x * dG / G. */
static void norm_slopes(const float *norm, const float *w, const float *dot, int64_t c, double eps, float *k) {
    double mean = mean_of(norm, c) + eps, through = 0;
    for (int64_t i = 0; i < c; i++) through += (double)w[i] * dot[i] * norm[i];
    for (int64_t i = 0; i < c; i++) {
        double slope = (double)w[i] * dot[i] / mean - through / (mean * mean * (double)c);
        k[i] = norm[i] > 0 ? (float)(slope / norm[i]) : 0;
    }
}

static void weight_grads(const grn_job *j, const float *norm, const float *sums, double eps, float *dw, float *db) {
    int64_t n = j->x.channels;
    for (int64_t k = 0; k < n; k++) {
        double w = 0, b = 0;
        for (int64_t i = 0; i < j->images; i++) {
            w += sums[2 * i * n + k] * (norm[i * n + k] / (mean_of(norm + i * n, n) + eps));
            b += sums[(2 * i + 1) * n + k];
        }
        if (dw) dw[k] = (float)w;
        if (db) db[k] = (float)b;
    }
}

static pk_status backward(pk_call *c) {
    grn_job j;
    job_of(c, &j);
    int64_t n = j.x.channels, bytes = 3 * j.images * n * (int64_t)sizeof(float);
    double eps = ((const grn_params *)c->params)->eps;
    const float *norm = pk_f32(c->saved[0]);
    for (int i = 0; i < 3; i++)
        if (c->needs[i]) PK_TRY(pk_grad_like(c, i));
    float *sums = pk_alloc(bytes);
    if (!sums) return pk_no_memory(bytes);
    j.dy = pk_f32(c->dout[0]);
    pk_sum sum = {j.images, j.rows, j.chunks, PK_SUM_BLOCK, 2 * n, add_grads, &j};
    pk_status status = pk_sum_run(&sum, sums);
    if (status == PK_OK) {
        weight_grads(&j, norm, sums, eps, c->din[1] ? pk_f32(c->din[1]) : NULL, c->din[2] ? pk_f32(c->din[2]) : NULL);
        j.scale = pk_f32(c->saved[1]);
        j.k = sums + 2 * j.images * n;
        for (int64_t i = 0; i < j.images; i++)
            norm_slopes(norm + i * n, pk_f32(c->in[1]), sums + 2 * i * n, n, eps, j.k + i * n);
        j.out = c->din[0] ? pk_f32(c->din[0]) : NULL;
        if (j.out) pk_parallel(j.images * j.chunks, apply_chunk, &j);
    }
    pk_free(sums);
    return status;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const int64_t *s = c->in[0]->shape;
    int64_t pixels = s[1] * s[2], n = s[3];
    for (int64_t i = 0; i < s[0]; i++) {
        const double *x = in[0] + i * pixels * n;
        double mean = 0;
        for (int64_t k = 0; k < n; k++) {
            double g = 0;
            for (int64_t r = 0; r < pixels; r++) g += x[r * n + k] * x[r * n + k];
            mean += sqrt(g) / (double)n;
        }
        for (int64_t k = 0; k < n; k++) {
            double g = 0;
            for (int64_t r = 0; r < pixels; r++) g += x[r * n + k] * x[r * n + k];
            double response = sqrt(g) / (mean + ((const grn_params *)c->params)->eps);
            for (int64_t r = 0; r < pixels; r++) {
                double v = x[r * n + k];
                out[0][(i * pixels + r) * n + k] = in[1][k] * v * response + in[2][k] + v;
            }
        }
    }
}

static void onnx(pk_onnx *g, const pk_call *c) {
    static const int64_t pixels[2][2] = {{1, 2}, {2, 3}};
    pk_order order = pk_onnx_common_order(g);
    int64_t channels = pk_onnx_axis(3, 4, order);
    int x = pk_onnx_in(g, 0, order), norm = pk_onnx_node1(g, "ReduceL2", x);
    pk_onnx_set_ints(g, "axes", 2, pixels[order]);
    int mean = pk_onnx_node1(g, "ReduceMean", norm);
    pk_onnx_set_ints(g, "axes", 1, &channels);
    int eps = pk_onnx_scalar(g, ((const grn_params *)c->params)->eps);
    int response = pk_onnx_node2(g, "Div", norm, pk_onnx_node2(g, "Add", mean, eps));
    int scaled = pk_onnx_node2(g, "Mul", pk_onnx_node2(g, "Mul", x, response), pk_onnx_in(g, 1, order));
    int shifted = pk_onnx_node2(g, "Add", scaled, pk_onnx_in(g, 2, order));
    pk_onnx_out(g, 0, pk_onnx_node2(g, "Add", shifted, x), order);
}

const pk_op pk_op_grn = {
    .name = "grn",
    .doc =
        "y = weight * x * G / (mean over channels of G + eps) + bias + x, G the norm of x over the pixels of an image.",
    .params_size = sizeof(grn_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"x", PK_ROWS, PK_REAL, "{N,H,W,C}"}, {"weight", 0, PK_REAL, "{C}"}, {"bias", 0, PK_REAL, "{C}"}},
    .needs_in = 3,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .cases = (const char *const[]){"x:1x1x1x1 weight:1 bias:1", "x:2x3x5x17 weight:17 bias:17",
                                   "x:1x40x31x9 weight:9 bias:9 | eps=1e-3", NULL},
};
