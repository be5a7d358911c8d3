/* Layer norm over the last dimension. */
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "ops/pixels.h"
#include "ops/onnx.h"

typedef struct layer_norm_params {
    double eps;
} layer_norm_params;

static const pk_field fields[] = {
    {"eps", PK_FLOAT, offsetof(layer_norm_params, eps), .def = 1e-6, .min = 0, .max = 1,
     .doc = "added to the variance"},
};

static pk_status infer(pk_call *c) {
    const pk_tensor *x = c->in[0];
    PK_RETURN_IF(x->ndim < 1 || x->shape[x->ndim - 1] < 1, PK_EINVAL, "layer_norm: x %s has no channels to normalise",
                 pk_shape_text(x));
    for (int i = 1; i < 3; i++)
        if (c->in[i]) PK_TRY(pk_want_shape(c, i, 1, &x->shape[x->ndim - 1], "one number for each of x's channels"));
    pk_out_like(c, 0, 0);
    return PK_OK;
}

typedef struct norm_job {
    pk_pixels x;
    int64_t chunks;
    const float *w, *b, *dy;
    float eps, *y, *mean, *rstd, *dx;
    bool sums;
} norm_job;

static void job_of(const pk_call *c, norm_job *j) {
    *j = (norm_job){.x = pk_pixels_of(c->in[0]), .eps = (float)((const layer_norm_params *)c->params)->eps};
    j->chunks = pk_pixel_chunks(&j->x);
    j->w = c->in[1] ? pk_f32(c->in[1]) : NULL;
    j->mean = c->saved[0] ? pk_f32(c->saved[0]) : NULL;
    j->rstd = c->saved[1] ? pk_f32(c->saved[1]) : NULL;
}

static void forward_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const norm_job *j = context;
    int64_t r0 = pk_chunk_begin(j->x.count, j->chunks, i), r1 = pk_chunk_begin(j->x.count, j->chunks, i + 1);
    pk_k()->layer_norm_rows(r1 - r0, j->x.channels, j->x.at + r0 * j->x.stride, j->x.stride, j->w, j->b, j->eps,
                            j->y + r0 * j->x.channels, j->mean ? j->mean + r0 : NULL, j->rstd ? j->rstd + r0 : NULL);
}

static pk_status forward(pk_call *c) {
    norm_job j;
    if (c->keep) {
        pk_pixels x = pk_pixels_of(c->in[0]);
        PK_TRY(pk_save_floats(c, 0, x.count));
        PK_TRY(pk_save_floats(c, 1, x.count));
    }
    job_of(c, &j);
    j.b = c->in[2] ? pk_f32(c->in[2]) : NULL;
    j.y = pk_f32(c->out[0]);
    pk_parallel(j.chunks, forward_chunk, &j);
    return PK_OK;
}

static void backward_rows(void *context, int64_t r0, int64_t r1, int worker, float *partial) {
    (void)worker;
    const norm_job *j = context;
    int64_t c = j->x.channels;
    pk_k()->layer_norm_grad(r1 - r0, c, j->x.at + r0 * j->x.stride, j->x.stride, j->w, j->mean + r0, j->rstd + r0,
                            j->dy + r0 * c, j->dx ? j->dx + r0 * c : NULL, j->sums ? partial : NULL,
                            j->sums ? partial + c : NULL);
}

static pk_status backward(pk_call *c) {
    norm_job j;
    job_of(c, &j);
    j.dy = pk_f32(c->dout[0]);
    for (int i = 0; i < c->nin; i++)
        if (c->needs[i]) PK_TRY(pk_grad_like(c, i));
    j.dx = c->din[0] ? pk_f32(c->din[0]) : NULL;
    j.sums = c->din[1] || c->din[2];
    int64_t width = j.sums ? 2 * j.x.channels : 0, bytes = width * (int64_t)sizeof(float);
    float *sums = pk_alloc(bytes); /* of the weight, then of the bias */
    if (!sums) return pk_no_memory(bytes);
    pk_sum sum = {1, j.x.count, j.chunks, PK_SUM_BLOCK, width, backward_rows, &j};
    pk_status status = pk_sum_run(&sum, sums);
    for (int i = 1; i < 3 && status == PK_OK; i++)
        if (c->din[i]) memcpy(pk_f32(c->din[i]), sums + (i - 1) * j.x.channels, (size_t)bytes / 2);
    pk_free(sums);
    return status;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const pk_tensor *t = c->in[0];
    int64_t n = t->shape[t->ndim - 1], rows = pk_span(t, 0, t->ndim - 1);
    for (int64_t r = 0; r < rows; r++) {
        const double *x = in[0] + r * n;
        double mean = 0, var = 0;
        for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
        for (int64_t i = 0; i < n; i++) var += (x[i] - mean) * (x[i] - mean) / (double)n;
        double scale = 1 / sqrt(var + ((const layer_norm_params *)c->params)->eps);
        for (int64_t i = 0; i < n; i++)
            out[0][r * n + i] = (x[i] - mean) * scale * (in[1] ? in[1][i] : 1) + (in[2] ? in[2][i] : 0);
    }
}

static void onnx(pk_onnx *g, const pk_call *c) {
    int x = pk_onnx_in(g, 0, PK_OWN_ORDER);
    pk_onnx_out(g, 0, pk_onnx_layer_norm(g, c, x, 1, 2, ((const layer_norm_params *)c->params)->eps), PK_OWN_ORDER);
}

const pk_op pk_op_layer_norm = {
    .name = "layer_norm",
    .doc = "y = (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) var over the last dimension.",
    .params_size = sizeof(layer_norm_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"x", PK_ROWS, PK_REAL, "{...,C}"},
             {"weight", PK_OPTIONAL, PK_REAL, "{C}"},
             {"bias", PK_OPTIONAL, PK_REAL, "{C}"}},
    .needs_in = 3,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .cases = (const char *const[]){"x:3 weight:3 bias:3", "x:5x1 weight:1 bias:1 | eps=0.1",
                                   "x:2x3x5x17 weight:17 bias:17", "x:4x33 | eps=1e-5", "x:3x7x96 weight:96",
                                   "x:11x130 bias:130", "x:900x40 weight:40 bias:40", NULL},
};
