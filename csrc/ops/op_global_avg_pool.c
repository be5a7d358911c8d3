/* Mean over the pixels of each image. */
#include "ops/pixels.h"
#include "ops/onnx.h"

static pk_status infer(pk_call *c) {
    PK_TRY(pk_want_ndim(c, 0, 4));
    const pk_tensor *x = c->in[0];
    PK_RETURN_IF(x->shape[1] * x->shape[2] == 0, PK_EINVAL, "global_avg_pool: x %s has no pixels", pk_shape_text(x));
    pk_out(c, 0, PK_FLOAT32, 2, (int64_t[]){x->shape[0], x->shape[3]});
    return PK_OK;
}

static void add_rows(void *context, int64_t r0, int64_t r1, int worker, float *partial) {
    (void)worker;
    const pk_pixels *x = context;
    pk_k()->channel_sum(r1 - r0, x->channels, x->at + r0 * x->stride, x->stride, partial);
}

static pk_status forward(pk_call *c) {
    const pk_tensor *t = c->in[0];
    pk_pixels x = pk_pixels_of(t);
    int64_t rows = t->shape[1] * t->shape[2];
    pk_sum sum = {t->shape[0], rows, pk_chunks(rows, 32768 / pk_max(1, x.channels)), PK_SUM_BLOCK, x.channels,
                  add_rows,    &x};
    PK_TRY(pk_sum_run(&sum, pk_f32(c->out[0])));
    pk_k()->scale(pk_numel(c->out[0]), pk_f32(c->out[0]), 1 / (float)rows);
    return PK_OK;
}

typedef struct spread_job {
    int64_t rows, channels;
    const float *dy;
    float *dx;
} spread_job;

static void spread(void *context, int64_t i, int worker) {
    (void)worker;
    const spread_job *j = context;
    const float *g = j->dy + i * j->channels;
    float *dx = j->dx + i * j->rows * j->channels, share = 1 / (float)j->rows;
    for (int64_t k = 0; k < j->channels; k++) dx[k] = g[k] * share;
    for (int64_t r = 1; r < j->rows; r++)
        for (int64_t k = 0; k < j->channels; k++) dx[r * j->channels + k] = dx[k];
}

static pk_status backward(pk_call *c) {
    const int64_t *s = c->in[0]->shape;
    PK_TRY(pk_grad_like(c, 0));
    spread_job j = {s[1] * s[2], s[3], pk_f32(c->dout[0]), pk_f32(c->din[0])};
    pk_parallel(s[0], spread, &j);
    return PK_OK;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const int64_t *s = c->in[0]->shape;
    for (int64_t i = 0; i < s[0] * s[3]; i++) {
        double sum = 0;
        for (int64_t r = 0; r < s[1] * s[2]; r++) sum += in[0][(i / s[3] * s[1] * s[2] + r) * s[3] + i % s[3]];
        out[0][i] = sum / (double)(s[1] * s[2]);
    }
}

static void onnx(pk_onnx *g, const pk_call *c) {
    static const int64_t pixels[2][2] = {{1, 2}, {2, 3}};
    (void)c;
    pk_order order = pk_onnx_common_order(g);
    int y = pk_onnx_node1(g, "ReduceMean", pk_onnx_in(g, 0, order));
    pk_onnx_set_ints(g, "axes", 2, pixels[order]);
    pk_onnx_set_int(g, "keepdims", 0);
    pk_onnx_out(g, 0, y, PK_OWN_ORDER);
}

const pk_op pk_op_global_avg_pool = {
    .name = "global_avg_pool",
    .doc = "Mean over the pixels: {N,H,W,C} -> {N,C}.",
    .args = {{"x", PK_ROWS, PK_REAL, "{N,H,W,C}"}},
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .cases = (const char *const[]){"x:1x1x1x1", "x:3x2x5x17", "x:2x70x41x9", NULL},
};
