/* Linear layer over the last dimension. */
#include "ops/dense.h"
#include "ops/onnx.h"

static pk_status infer(pk_call *c) {
    const pk_tensor *x = c->in[0];
    PK_RETURN_IF(x->ndim < 1, PK_EINVAL, "linear: x is a single number, {...,in} is wanted");
    PK_TRY(pk_want_ndim(c, 1, 2));
    int64_t in = x->shape[x->ndim - 1], out = c->in[1]->shape[0];
    PK_TRY(pk_want_shape(c, 1, 2, (int64_t[]){out, in}, "{out,in}: one column for each of x's channels"));
    if (c->in[2]) PK_TRY(pk_want_shape(c, 2, 1, &out, "one number for each output"));
    pk_out_like(c, 0, 0);
    c->meta[0].shape[x->ndim - 1] = out;
    return PK_OK;
}

static pk_status forward(pk_call *c) {
    pk_pixels x = pk_pixels_of(c->in[0]);
    return pk_dense_forward(&x, pk_f32(c->in[1]), c->in[2] ? pk_f32(c->in[2]) : NULL, c->in[1]->shape[0],
                            pk_f32(c->out[0]));
}

static pk_status backward(pk_call *c) {
    pk_pixels x = pk_pixels_of(c->in[0]);
    float *grad[3] = {0};
    for (int i = 0; i < c->nin; i++) {
        if (!c->needs[i]) continue;
        PK_TRY(pk_grad_like(c, i));
        grad[i] = pk_f32(c->din[i]);
    }
    return pk_dense_backward(&x, pk_f32(c->in[1]), c->in[1]->shape[0], pk_f32(c->dout[0]), grad[0], grad[1], grad[2]);
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const pk_tensor *x = c->in[0], *w = c->in[1];
    int64_t n_in = w->shape[1], n_out = w->shape[0], rows = pk_span(x, 0, x->ndim - 1);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < n_out; o++) {
            double s = in[2] ? in[2][o] : 0;
            for (int64_t i = 0; i < n_in; i++) s += in[0][r * n_in + i] * in[1][o * n_in + i];
            out[0][r * n_out + o] = s;
        }
}

/* Of rows a Gemm; of images whose channels come first a 1x1 convolution; else a product over the last dimension. */
static void onnx(pk_onnx *g, const pk_call *c) {
    static const int64_t one[] = {1, 1}, none[] = {0, 0};
    pk_order order = pk_onnx_common_order(g);
    int b = pk_onnx_vector(g, 2), y;
    if (order == PK_CHANNELS_FIRST) {
        y = pk_onnx_conv(g, c, pk_onnx_weight(g, 1, 4, (const int[]){0, 1, -1, -1}), b, one, one, none, one, 1);
    } else if (c->in[0]->ndim == 2) {
        y = pk_onnx_node3(g, "Gemm", pk_onnx_in(g, 0, order), pk_onnx_weight(g, 1, 2, (const int[]){0, 1}), b);
        pk_onnx_set_int(g, "transB", 1);
    } else {
        y = pk_onnx_node2(g, "MatMul", pk_onnx_in(g, 0, order), pk_onnx_weight(g, 1, 2, (const int[]){1, 0}));
        if (b >= 0) y = pk_onnx_node2(g, "Add", y, b);
    }
    pk_onnx_out(g, 0, y, order);
}

static pk_status macs(const pk_call *c, pk_macs *m) {
    const pk_tensor *x = c->in[0], *w = c->in[1];
    double n = (double)pk_span(x, 0, x->ndim - 1) * (double)w->shape[0] * (double)w->shape[1];
    pk_macs_add(m, w, n, n, n);
    return PK_OK;
}

const pk_op pk_op_linear = {
    .name = "linear",
    .doc = "y = x * w^T + b over the last dimension: x {...,in}, w {out,in}, b {out} -> {...,out}.",
    .args = {{"x", PK_ROWS, PK_REAL, "{...,in}"}, {"w", 0, PK_REAL, "{out,in}"}, {"b", PK_OPTIONAL, PK_REAL, "{out}"}},
    .needs_in = 3,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .macs = macs,
    .cases = (const char *const[]){"x:1 w:1x1 b:1", "x:17 w:5x17", "x:3x17 w:1x17 b:1", "x:2x5x3x7 w:19x7 b:19",
                                   "x:700x33 w:17x33 b:17", "x:5000x9 w:4x9 b:4", NULL},
};
