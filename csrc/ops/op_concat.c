/* Joining tensors along a dimension, and cutting one into parts. */
#include <math.h>

#include "ops/slabs.h"
#include "ops/onnx.h"

typedef struct concat_params {
    int64_t dim;
} concat_params;

static const pk_field concat_fields[] = {
    {"dim", PK_DIM, offsetof(concat_params, dim), .def = -1, .doc = "dimension to join along"},
};

typedef struct split_params {
    pk_ints sizes;
    int64_t dim;
} split_params;

static const pk_field split_fields[] = {
    {"sizes", PK_INTS, offsetof(split_params, sizes), .def = NAN, .min = 0, .max = 2147483647, .required = true,
     .doc = "sizes of the parts"},
    {"dim", PK_DIM, offsetof(split_params, dim), .def = -1, .doc = "dimension to cut"},
};

/* infer has normalised it before. */
static int dim_of(const pk_call *c, int64_t dim, int ndim) {
    (void)c;
    return (int)(dim < 0 ? dim + ndim : dim);
}

static pk_status concat_infer(pk_call *c) {
    const pk_tensor *x = c->in[0];
    int dim;
    PK_RETURN_IF(c->nin < 1, PK_EINVAL, "concat: at least one tensor is wanted");
    PK_TRY(pk_want_dim(c, ((const concat_params *)c->params)->dim, x->ndim, &dim));
    pk_out(c, 0, x->dtype, x->ndim, x->shape);
    for (int i = 1; i < c->nin; i++) {
        const pk_tensor *t = c->in[i];
        PK_RETURN_IF(t->dtype != x->dtype, PK_EINVAL, "concat: tensor %d is %s, the first is %s", i + 1,
                     pk_dtype_name(t->dtype), pk_dtype_name(x->dtype));
        bool fits = t->ndim == x->ndim;
        for (int d = 0; fits && d < t->ndim; d++) fits = d == dim || t->shape[d] == x->shape[d];
        PK_RETURN_IF(!fits, PK_EINVAL,
                     "concat: tensor %d has shape %s, the first %s: they may differ in dimension %d only", i + 1,
                     pk_shape_text(t), pk_shape_text(x), dim + 1);
        c->meta[0].shape[dim] += t->shape[dim];
    }
    return PK_OK;
}

static pk_status concat_forward(pk_call *c) {
    int dim = dim_of(c, ((const concat_params *)c->params)->dim, c->in[0]->ndim);
    for (int64_t i = 0, at = 0; i < c->nin; at += c->in[i++]->shape[dim]) pk_slab_put(c->out[0], c->in[i], dim, at);
    return PK_OK;
}

static pk_status concat_backward(pk_call *c) {
    int dim = dim_of(c, ((const concat_params *)c->params)->dim, c->in[0]->ndim);
    for (int64_t i = 0, at = 0; i < c->nin; at += c->in[i++]->shape[dim]) {
        if (!c->needs[i]) continue;
        PK_TRY(pk_grad_like(c, (int)i));
        pk_slab_take(c->dout[0], c->din[i], dim, at);
    }
    return PK_OK;
}

/* Blocks outside dim, and elements of one place along it. */
static void around(const pk_tensor *t, int dim, int64_t *outer, int64_t *inner) {
    *outer = *inner = 1;
    for (int d = 0; d < t->ndim; d++) *(d < dim ? outer : inner) *= d == dim ? 1 : t->shape[d];
}

static void concat_reference(const pk_call *c, const double *const *in, double *const *out) {
    int dim = dim_of(c, ((const concat_params *)c->params)->dim, c->in[0]->ndim);
    int64_t outer, inner, at = 0;
    around(c->in[0], dim, &outer, &inner);
    for (int64_t o = 0; o < outer; o++)
        for (int i = 0; i < c->nin; i++)
            for (int64_t k = 0; k < c->in[i]->shape[dim] * inner; k++)
                out[0][at++] = in[i][o * c->in[i]->shape[dim] * inner + k];
}

static pk_status split_infer(pk_call *c) {
    const split_params *p = c->params;
    const pk_tensor *x = c->in[0];
    int64_t shape[PK_MAX_DIMS], sum = 0;
    int dim;
    PK_TRY(pk_want_dim(c, p->dim, x->ndim, &dim));
    PK_RETURN_IF(p->sizes.n < 1 || p->sizes.n > PK_MAX_OUT, PK_EINVAL, "split: 1 to %d sizes are wanted, got %d",
                 PK_MAX_OUT, p->sizes.n);
    for (int d = 0; d < x->ndim; d++) shape[d] = x->shape[d];
    for (int i = 0; i < p->sizes.n; i++) {
        shape[dim] = p->sizes.v[i];
        sum += shape[dim];
        pk_out(c, i, x->dtype, x->ndim, shape);
    }
    PK_RETURN_IF(sum != x->shape[dim], PK_EINVAL, "split: sizes that add up to %lld for dimension %d of x %s",
                 (long long)sum, dim + 1, pk_shape_text(x));
    return PK_OK;
}

static pk_status split_forward(pk_call *c) {
    const split_params *p = c->params;
    int dim = dim_of(c, p->dim, c->in[0]->ndim);
    for (int64_t i = 0, at = 0; i < c->nout; at += p->sizes.v[i++]) pk_slab_take(c->in[0], c->out[i], dim, at);
    return PK_OK;
}

static pk_status split_backward(pk_call *c) {
    const split_params *p = c->params;
    int dim = dim_of(c, p->dim, c->in[0]->ndim);
    PK_TRY(pk_tensor_zeros(PK_FLOAT32, c->in[0]->ndim, c->in[0]->shape, &c->din[0]));
    for (int64_t i = 0, at = 0; i < c->nout; at += p->sizes.v[i++])
        if (c->dout[i]) pk_slab_put(c->din[0], c->dout[i], dim, at);
    return PK_OK;
}

static void split_reference(const pk_call *c, const double *const *in, double *const *out) {
    const split_params *p = c->params;
    int dim = dim_of(c, p->dim, c->in[0]->ndim);
    int64_t outer, inner, at = 0;
    around(c->in[0], dim, &outer, &inner);
    for (int64_t o = 0; o < outer; o++)
        for (int i = 0; i < p->sizes.n; i++)
            for (int64_t k = 0; k < p->sizes.v[i] * inner; k++) out[i][o * p->sizes.v[i] * inner + k] = in[0][at++];
}

static void concat_onnx(pk_onnx *g, const pk_call *c) {
    pk_order order = pk_onnx_common_order(g);
    int in[PK_MAX_IN];
    for (int i = 0; i < c->nin; i++) in[i] = pk_onnx_in(g, i, order);
    int64_t dim = ((const concat_params *)c->params)->dim;
    if (pk_onnx_any_batch(g) && (dim < 0 ? dim + c->in[0]->ndim : dim) == 0)
        pk_onnx_refuse(g, "joins batches, of which the graph takes any size");
    int y = pk_onnx_node(g, "Concat", c->nin, in);
    pk_onnx_set_int(g, "axis", pk_onnx_axis(dim, c->in[0]->ndim, order));
    pk_onnx_out(g, 0, y, order);
}

static void split_onnx(pk_onnx *g, const pk_call *c) {
    const split_params *p = c->params;
    pk_order order = pk_onnx_common_order(g);
    int64_t start = 0;
    for (int i = 0; i < p->sizes.n; start += p->sizes.v[i++])
        pk_onnx_out(g, i, pk_onnx_slice(g, c, order, p->dim, start, p->sizes.v[i]), order);
}

const pk_op pk_op_concat = {
    .name = "concat",
    .doc = "Tensors one after another along dim (the last by default); all other sizes are equal.",
    .params_size = sizeof(concat_params),
    .fields = concat_fields,
    .nfields = sizeof concat_fields / sizeof *concat_fields,
    .args = {{"x", PK_VARIADIC | PK_ROWS | PK_ANY_DTYPE, PK_REAL, "{...}"}},
    .infer = concat_infer,
    .forward = concat_forward,
    .backward = concat_backward,
    .reference = concat_reference,
    .onnx = concat_onnx,
    .cases = (const char *const[]){"x:1 x:1", "x:2x5x3x7 x:2x5x3x1 x:2x5x3x10", "x:4x3 x:2x3 | dim=0",
                                   "x:2x3x17 x:2x0x17 x:2x5x17 | dim=1", "x:300x50x3 x:300x50x13", NULL},
};

const pk_op pk_op_split = {
    .name = "split",
    .doc = "Parts of the given sizes along dim (the last by default), as copies.",
    .params_size = sizeof(split_params),
    .fields = split_fields,
    .nfields = sizeof split_fields / sizeof *split_fields,
    .args = {{"x", PK_ANY_DTYPE, PK_REAL, "{...}"}},
    .infer = split_infer,
    .forward = split_forward,
    .backward = split_backward,
    .reference = split_reference,
    .onnx = split_onnx,
    .cases = (const char *const[]){"x:1 | sizes=1", "x:2x5x3x17 | sizes=6,11", "x:7x3 | sizes=1,4,2 dim=0",
                                   "x:2x6x5 | sizes=0,6 dim=1", NULL},
};
