/* Padding with a constant. */
#include <math.h>

#include "ops/op.h"
#include "ops/onnx.h"

typedef struct pad_params {
    pk_ints pad;
    double value;
} pad_params;

static const pk_field fields[] = {
    {"pad", PK_INTS, offsetof(pad_params, pad), .def = NAN, .min = 0, .max = 1048576,
     .doc = "images: {top, bottom, left, right}; else before and after for each dimension"},
    {"value", PK_FLOAT, offsetof(pad_params, value), .def = 0, .doc = "what to pad with"},
};

/* before[d], after[d]; infer has checked the length. */
static void amounts(const pk_call *c, int64_t *before, int64_t *after) {
    const pk_ints *pad = &((const pad_params *)c->params)->pad;
    int ndim = c->in[0]->ndim, first = pad->n == 2 * ndim ? 0 : 1;
    for (int d = 0; d < ndim; d++) {
        int at = 2 * (d - first);
        bool listed = at >= 0 && at + 1 < pad->n;
        before[d] = listed ? pad->v[at] : 0;
        after[d] = listed ? pad->v[at + 1] : 0;
    }
}

static pk_status infer(pk_call *c) {
    const pk_tensor *x = c->in[0];
    int n = ((const pad_params *)c->params)->pad.n;
    int64_t before[PK_MAX_DIMS], after[PK_MAX_DIMS];
    PK_RETURN_IF(n != 2 * x->ndim && !(n == 4 && x->ndim == 4), PK_EINVAL,
                 "pad: %d amounts for x %s: {top,bottom,left,right} of images, or two for each dimension are wanted", n,
                 pk_shape_text(x));
    amounts(c, before, after);
    pk_out(c, 0, PK_FLOAT32, x->ndim, x->shape);
    for (int d = 0; d < x->ndim; d++) c->meta[0].shape[d] += before[d] + after[d];
    return PK_OK;
}

/* The part of a packed tensor of the output's shape where x lies. */
static pk_status inner(const pk_call *c, const pk_tensor *whole, pk_tensor **out) {
    int64_t before[PK_MAX_DIMS], after[PK_MAX_DIMS], offset = 0;
    amounts(c, before, after);
    for (int d = 0; d < whole->ndim; d++) offset += before[d] * whole->stride[d];
    return pk_tensor_window(whole, whole->ndim, c->in[0]->shape, whole->stride, offset, out);
}

static pk_status forward(pk_call *c) {
    pk_tensor *part;
    PK_TRY(pk_tensor_fill(c->out[0], ((const pad_params *)c->params)->value));
    if (pk_numel(c->in[0]) == 0) return PK_OK;
    PK_TRY(inner(c, c->out[0], &part));
    pk_status status = pk_tensor_copy(part, c->in[0]);
    pk_tensor_release(part);
    return status;
}

static pk_status backward(pk_call *c) {
    pk_tensor *part;
    PK_TRY(pk_grad_like(c, 0));
    if (pk_numel(c->in[0]) == 0) return PK_OK;
    PK_TRY(inner(c, c->dout[0], &part));
    pk_status status = pk_tensor_copy(c->din[0], part);
    pk_tensor_release(part);
    return status;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    int64_t before[PK_MAX_DIMS], after[PK_MAX_DIMS], n = 1;
    const pk_meta *m = &c->meta[0];
    amounts(c, before, after);
    for (int d = 0; d < m->ndim; d++) n *= m->shape[d];
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0, rest = i, stride = 1;
        bool inside = true;
        for (int d = m->ndim - 1; d >= 0; d--) {
            int64_t k = rest % m->shape[d] - before[d];
            rest /= m->shape[d];
            inside = inside && k >= 0 && k < c->in[0]->shape[d];
            at += k * stride;
            stride *= c->in[0]->shape[d];
        }
        out[0][i] = inside ? in[0][at] : ((const pad_params *)c->params)->value;
    }
}

static void onnx(pk_onnx *g, const pk_call *c) {
    pk_order order = pk_onnx_common_order(g);
    int64_t before[PK_MAX_DIMS], after[PK_MAX_DIMS], pads[2 * PK_MAX_DIMS];
    int ndim = c->in[0]->ndim;
    amounts(c, before, after);
    for (int d = 0; d < ndim; d++) {
        int64_t axis = pk_onnx_axis(d, ndim, order);
        pads[axis] = before[d];
        pads[ndim + axis] = after[d];
    }
    int x = pk_onnx_in(g, 0, order), value = pk_onnx_scalar(g, ((const pad_params *)c->params)->value);
    pk_onnx_out(g, 0, pk_onnx_node3(g, "Pad", x, pk_onnx_ints(g, 2 * ndim, pads), value), order);
}

const pk_op pk_op_pad = {
    .name = "pad",
    .doc = "A border of value around images {N,H,W,C}, or around any tensor.",
    .params_size = sizeof(pad_params),
    .fields = fields,
    .nfields = 2,
    .args = {{"x", PK_STRIDED, PK_REAL, "{...}"}},
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .cases = (const char *const[]){"x:1 | pad=0,0", "x:2x5x7x3 | pad=1,0,2,3", "x:3x4 | pad=0,1,2,0 value=0.5",
                                   "x:2x3x2x5 | pad=1,1,0,2,3,0,0,1 value=-1", NULL},
};
