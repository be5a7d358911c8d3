/* Views: other windows on the same storage. Their gradients are the same views of a gradient of zeros. */
#include <math.h>
#include <string.h>

#include "core/checked.h"
#include "ops/onnx.h"
#include "ops/op.h"

#define INT_MAX_SIZE 2147483647
#define VIEW                                                                                       \
    .args = {{"x", PK_STRIDED | PK_ANY_DTYPE, PK_REAL, "{...}"}}, .is_view = true

/* ---- reshape: of a packed tensor; the dispatcher packs others ---- */

typedef struct shape_params {
    pk_ints shape;
} shape_params;

static const pk_field shape_fields[] = {
    {"shape", PK_INTS, offsetof(shape_params, shape), .def = NAN, .min = -1, .max = INT_MAX_SIZE,
     .doc = "new sizes; one may be -1: what is left"},
};

static pk_status reshape_infer(pk_call *c) {
    const pk_ints *want = &((const shape_params *)c->params)->shape;
    int64_t shape[PK_MAX_DIMS], known = 1, n = pk_numel(c->in[0]);
    int open = -1;
    PK_RETURN_IF(want->n > PK_MAX_DIMS, PK_EINVAL, "reshape: at most %d dimensions, got %d", PK_MAX_DIMS, want->n);
    for (int d = 0; d < want->n; d++) {
        shape[d] = want->v[d];
        if (shape[d] >= 0)
            PK_RETURN_IF(!pk_mul_ok(known, shape[d], &known), PK_EINVAL, "reshape: sizes too large");
        else if (open < 0)
            open = d;
        else
            return pk_fail(PK_EINVAL, "reshape: only one size may be left open, got %s", pk_dims_text(want->n, shape));
    }
    if (open >= 0) shape[open] = known > 0 ? n / known : 0;
    if (open >= 0) known *= shape[open];
    PK_RETURN_IF(known != n, PK_EINVAL, "reshape: x %s has %lld elements, they do not make %s", pk_shape_text(c->in[0]),
                 (long long)n, pk_dims_text(want->n, shape));
    pk_out(c, 0, c->in[0]->dtype, want->n, shape);
    return PK_OK;
}

static pk_status reshape_forward(pk_call *c) {
    int64_t stride[PK_MAX_DIMS], step = 1;
    for (int d = c->meta[0].ndim - 1; d >= 0; d--) {
        stride[d] = step;
        step *= pk_max(1, c->meta[0].shape[d]);
    }
    return pk_tensor_window(c->in[0], c->meta[0].ndim, c->meta[0].shape, stride, 0, &c->out[0]);
}

static void reshape_reference(const pk_call *c, const double *const *in, double *const *out) {
    memcpy(out[0], in[0], (size_t)pk_numel(c->in[0]) * sizeof(double));
}

/* ---- the views that move along dimensions: each says where its element 0 lies and how its dimensions step ---- */

typedef struct window {
    int64_t offset, stride[PK_MAX_DIMS];
} window;

static pk_status window_forward(pk_call *c, const window *w) {
    return pk_tensor_window(c->in[0], c->meta[0].ndim, c->meta[0].shape, w->stride, w->offset, &c->out[0]);
}

/* The same walk over packed doubles. */
static void window_reference(const pk_call *c, const double *in, double *out, void (*find)(const pk_call *, window *)) {
    pk_tensor packed = *c->in[0];
    int64_t step = 1, n = 1;
    for (int d = packed.ndim - 1; d >= 0; step *= packed.shape[d--]) packed.stride[d] = step;
    pk_call call = *c;
    call.in[0] = &packed;
    window w;
    find(&call, &w);
    const pk_meta *m = &c->meta[0];
    for (int d = 0; d < m->ndim; d++) n *= m->shape[d];
    for (int64_t i = 0; i < n; i++) {
        int64_t at = w.offset, rest = i;
        for (int d = m->ndim - 1; d >= 0; d--) {
            at += rest % m->shape[d] * w.stride[d];
            rest /= m->shape[d];
        }
        out[i] = in[at];
    }
}

#define WINDOW(op_name)                                                                              \
    static pk_status op_name##_forward(pk_call *c) {                                                 \
        window w;                                                                                    \
        op_name##_window(c, &w);                                                                     \
        return window_forward(c, &w);                                                                \
    }                                                                                                \
    static void op_name##_reference(const pk_call *c, const double *const *in, double *const *out) { \
        window_reference(c, in[0], out[0], op_name##_window);                                        \
    }

static int place(int64_t dim, int ndim) { return (int)(dim < 0 ? dim + ndim : dim); }

/* ---- permute, transpose ---- */

typedef struct permute_params {
    pk_ints dims;
} permute_params;

static const pk_field permute_fields[] = {
    {"dims", PK_DIMS, offsetof(permute_params, dims), .def = NAN, .min = -1, .max = PK_MAX_DIMS - 1,
     .doc = "which old dimension stands in each place"},
};

static pk_status permute_infer(pk_call *c) {
    const pk_ints *dims = &((const permute_params *)c->params)->dims;
    const pk_tensor *x = c->in[0];
    int64_t shape[PK_MAX_DIMS];
    unsigned seen = 0;
    PK_RETURN_IF(dims->n != x->ndim, PK_EINVAL, "permute: %d dimensions named, x %s has %d", dims->n, pk_shape_text(x),
                 x->ndim);
    for (int d = 0; d < x->ndim; d++) {
        int from;
        PK_TRY(pk_want_dim(c, dims->v[d], x->ndim, &from));
        PK_RETURN_IF(seen >> from & 1, PK_EINVAL, "permute: dimension %d (counted from 0) is named twice", from);
        seen |= 1u << from;
        shape[d] = x->shape[from];
    }
    pk_out(c, 0, x->dtype, x->ndim, shape);
    return PK_OK;
}

static void permute_window(const pk_call *c, window *w) {
    const pk_ints *dims = &((const permute_params *)c->params)->dims;
    w->offset = 0;
    for (int d = 0; d < dims->n; d++) w->stride[d] = c->in[0]->stride[place(dims->v[d], dims->n)];
}
WINDOW(permute)

typedef struct transpose_params {
    int64_t dim0, dim1;
} transpose_params;

static const pk_field transpose_fields[] = {
    {"dim0", PK_DIM, offsetof(transpose_params, dim0), .def = 0, .doc = "one of the two"},
    {"dim1", PK_DIM, offsetof(transpose_params, dim1), .def = 1, .doc = "the other"},
};

static void swap(int64_t *list, int a, int b) {
    int64_t t = list[a];
    list[a] = list[b];
    list[b] = t;
}

static pk_status transpose_infer(pk_call *c) {
    const transpose_params *p = c->params;
    int a, b;
    PK_TRY(pk_want_dim(c, p->dim0, c->in[0]->ndim, &a));
    PK_TRY(pk_want_dim(c, p->dim1, c->in[0]->ndim, &b));
    pk_out(c, 0, c->in[0]->dtype, c->in[0]->ndim, c->in[0]->shape);
    swap(c->meta[0].shape, a, b);
    return PK_OK;
}

static void transpose_window(const pk_call *c, window *w) {
    const transpose_params *p = c->params;
    const pk_tensor *x = c->in[0];
    w->offset = 0;
    memcpy(w->stride, x->stride, sizeof w->stride);
    swap(w->stride, place(p->dim0, x->ndim), place(p->dim1, x->ndim));
}
WINDOW(transpose)

/* ---- narrow, select ---- */

typedef struct narrow_params {
    int64_t dim, start, length;
} narrow_params;

static const pk_field narrow_fields[] = {
    {"dim", PK_DIM, offsetof(narrow_params, dim), .def = -1, .doc = "dimension to cut"},
    {"start", PK_INDEX, offsetof(narrow_params, start), .def = 0, .min = 0, .max = INT_MAX_SIZE,
     .doc = "first place kept"},
    {"length", PK_INT, offsetof(narrow_params, length), .def = 1, .min = 0, .max = INT_MAX_SIZE, .doc = "places kept"},
};

static pk_status narrow_infer(pk_call *c) {
    const narrow_params *p = c->params;
    const pk_tensor *x = c->in[0];
    int dim;
    PK_TRY(pk_want_dim(c, p->dim, x->ndim, &dim));
    PK_RETURN_IF(p->start + p->length > x->shape[dim], PK_EINVAL,
                 "narrow: places %lld to %lld (counted from 1) of dimension %d of x %s, which has %lld",
                 (long long)p->start + 1, (long long)(p->start + p->length), dim + 1, pk_shape_text(x),
                 (long long)x->shape[dim]);
    pk_out(c, 0, x->dtype, x->ndim, x->shape);
    c->meta[0].shape[dim] = p->length;
    return PK_OK;
}

static void narrow_window(const pk_call *c, window *w) {
    const narrow_params *p = c->params;
    memcpy(w->stride, c->in[0]->stride, sizeof w->stride);
    w->offset = p->start * w->stride[place(p->dim, c->in[0]->ndim)];
}
WINDOW(narrow)

typedef struct select_params {
    int64_t dim, index;
} select_params;

static const pk_field select_fields[] = {
    {"dim", PK_DIM, offsetof(select_params, dim), .def = 0, .doc = "dimension that goes"},
    {"index", PK_INDEX, offsetof(select_params, index), .def = 0, .min = 0, .max = INT_MAX_SIZE,
     .doc = "place kept"},
};

static pk_status select_infer(pk_call *c) {
    const select_params *p = c->params;
    const pk_tensor *x = c->in[0];
    int64_t shape[PK_MAX_DIMS];
    int dim;
    PK_TRY(pk_want_dim(c, p->dim, x->ndim, &dim));
    PK_RETURN_IF(p->index >= x->shape[dim], PK_EINVAL, "select: place %lld (counted from 1) of dimension %d of x %s",
                 (long long)p->index + 1, dim + 1, pk_shape_text(x));
    for (int d = 0, n = 0; d < x->ndim; d++)
        if (d != dim) shape[n++] = x->shape[d];
    pk_out(c, 0, x->dtype, x->ndim - 1, shape);
    return PK_OK;
}

static void select_window(const pk_call *c, window *w) {
    const select_params *p = c->params;
    const pk_tensor *x = c->in[0];
    int dim = place(p->dim, x->ndim);
    for (int d = 0, n = 0; d < x->ndim; d++)
        if (d != dim) w->stride[n++] = x->stride[d];
    w->offset = p->index * x->stride[dim];
}
WINDOW(select)

/* ---- expand ---- */

static const pk_field expand_fields[] = {
    {"shape", PK_INTS, offsetof(shape_params, shape), .def = NAN, .min = -1, .max = INT_MAX_SIZE,
     .doc = "sizes wanted; -1: as it is"},
};

static pk_status expand_infer(pk_call *c) {
    const pk_ints *want = &((const shape_params *)c->params)->shape;
    const pk_tensor *x = c->in[0];
    int64_t shape[PK_MAX_DIMS];
    int more = want->n - x->ndim;
    PK_RETURN_IF(more < 0 || want->n > PK_MAX_DIMS, PK_EINVAL, "expand: x %s to %d dimensions", pk_shape_text(x),
                 want->n);
    for (int d = 0; d < want->n; d++) {
        int64_t size = d < more ? 1 : x->shape[d - more];
        shape[d] = want->v[d] < 0 ? size : want->v[d];
        PK_RETURN_IF(size != 1 && shape[d] != size, PK_EINVAL,
                     "expand: size %lld of x %s cannot become %lld: only 1 can", (long long)size, pk_shape_text(x),
                     (long long)shape[d]);
    }
    pk_out(c, 0, x->dtype, want->n, shape);
    return PK_OK;
}

static void expand_window(const pk_call *c, window *w) {
    const pk_tensor *x = c->in[0];
    int more = c->meta[0].ndim - x->ndim;
    w->offset = 0;
    for (int d = 0; d < c->meta[0].ndim; d++)
        w->stride[d] = d < more || x->shape[d - more] != c->meta[0].shape[d] ? 0 : x->stride[d - more];
}
WINDOW(expand)

/* ---- as ONNX ---- */

static void reshape_onnx(pk_onnx *g, const pk_call *c) {
    const pk_tensor *x = c->in[0], *y = c->out[0];
    int64_t shape[PK_MAX_DIMS];
    for (int d = 0; d < y->ndim; d++) shape[d] = y->shape[d];
    bool same = x->ndim > 0 && y->ndim > 0 && x->shape[0] == y->shape[0];
    if (same) shape[0] = 0; /* as it is */
    if (!same && pk_onnx_any_batch(g))
        pk_onnx_refuse(g, "%s to %s touches the batch, of which the graph takes any size", pk_shape_text(x),
                       pk_shape_text(y));
    int in = pk_onnx_in(g, 0, PK_OWN_ORDER);
    pk_onnx_out(g, 0, pk_onnx_node2(g, "Reshape", in, pk_onnx_ints(g, y->ndim, shape)), PK_OWN_ORDER);
}

static void move_onnx(pk_onnx *g, int ndim, const int64_t *perm) {
    if (perm[0] != 0 && pk_onnx_any_batch(g)) pk_onnx_refuse(g, "moves the batch, of which the graph takes any size");
    int y = pk_onnx_node1(g, "Transpose", pk_onnx_in(g, 0, PK_OWN_ORDER));
    pk_onnx_set_ints(g, "perm", ndim, perm);
    pk_onnx_out(g, 0, y, PK_OWN_ORDER);
}

static void permute_onnx(pk_onnx *g, const pk_call *c) {
    const pk_ints *dims = &((const permute_params *)c->params)->dims;
    int64_t perm[PK_MAX_DIMS];
    for (int d = 0; d < dims->n; d++) perm[d] = place(dims->v[d], dims->n);
    move_onnx(g, dims->n, perm);
}

static void transpose_onnx(pk_onnx *g, const pk_call *c) {
    const transpose_params *p = c->params;
    int ndim = c->in[0]->ndim;
    int64_t perm[PK_MAX_DIMS];
    for (int d = 0; d < ndim; d++) perm[d] = d;
    swap(perm, place(p->dim0, ndim), place(p->dim1, ndim));
    move_onnx(g, ndim, perm);
}

static void narrow_onnx(pk_onnx *g, const pk_call *c) {
    const narrow_params *p = c->params;
    pk_order order = pk_onnx_common_order(g);
    pk_onnx_out(g, 0, pk_onnx_slice(g, c, order, p->dim, p->start, p->length), order);
}

static void select_onnx(pk_onnx *g, const pk_call *c) {
    const select_params *p = c->params;
    int64_t axis = place(p->dim, c->in[0]->ndim);
    int slice = pk_onnx_slice(g, c, PK_OWN_ORDER, p->dim, p->index, 1);
    pk_onnx_out(g, 0, pk_onnx_node2(g, "Squeeze", slice, pk_onnx_ints(g, 1, &axis)), PK_OWN_ORDER);
}

static void expand_onnx(pk_onnx *g, const pk_call *c) {
    const pk_tensor *x = c->in[0], *y = c->out[0];
    int64_t shape[PK_MAX_DIMS];
    int more = y->ndim - x->ndim;
    for (int d = 0; d < y->ndim; d++) shape[d] = d >= more && x->shape[d - more] == y->shape[d] ? 1 : y->shape[d];
    if (pk_onnx_any_batch(g) && (more > 0 || shape[0] != 1))
        pk_onnx_refuse(g, "repeats the batch, of which the graph takes any size");
    int in = pk_onnx_in(g, 0, PK_OWN_ORDER);
    pk_onnx_out(g, 0, pk_onnx_node2(g, "Expand", in, pk_onnx_ints(g, y->ndim, shape)), PK_OWN_ORDER);
}

#define DESCRIBED(op_name, params, list)                                                                            \
    .name = #op_name, .params_size = sizeof(params), .fields = list, .nfields = sizeof list / sizeof *list,          \
    .infer = op_name##_infer, .forward = op_name##_forward, .reference = op_name##_reference, .onnx = op_name##_onnx

const pk_op pk_op_reshape = {
    DESCRIBED(reshape, shape_params, shape_fields),
    .args = {{"x", PK_ANY_DTYPE, PK_REAL, "{...}"}},
    .is_view = true,
    .doc = "The same elements in another shape; a copy only where x is not packed.",
    .cases = (const char *const[]){"x:1", "x:2x3x4 | shape=4,-1", "x:6 | shape=1,2,3,1", "x:0x3 | shape=3,0", NULL},
};
const pk_op pk_op_permute = {
    DESCRIBED(permute, permute_params, permute_fields),
    VIEW,
    .doc = "Dimensions in another order.",
    .cases = (const char *const[]){"x:1 | dims=0", "x:2x3x4x5 | dims=0,3,1,2", "x:17x3 | dims=1,0", NULL},
};
const pk_op pk_op_transpose = {
    DESCRIBED(transpose, transpose_params, transpose_fields),
    VIEW,
    .doc = "Two dimensions swapped.",
    .cases = (const char *const[]){"x:1x1", "x:3x17", "x:2x3x4x5 | dim0=1 dim1=-1", NULL},
};
const pk_op pk_op_narrow = {
    DESCRIBED(narrow, narrow_params, narrow_fields),
    VIEW,
    .doc = "length places of dim from start on.",
    .cases = (const char *const[]){"x:1", "x:2x5x3x17 | start=3 length=6", "x:7x3 | dim=0 start=2 length=5",
                                   "x:4x3 | length=0", NULL},
};
const pk_op pk_op_select = {
    DESCRIBED(select, select_params, select_fields),
    VIEW,
    .doc = "One place of dim, which goes.",
    .cases = (const char *const[]){"x:1", "x:3x5x7 | index=2", "x:3x5x7 | dim=-1 index=6", NULL},
};
const pk_op pk_op_expand = {
    DESCRIBED(expand, shape_params, expand_fields),
    VIEW,
    .doc = "Dimensions of 1 repeated (in front too) without a copy.",
    .cases = (const char *const[]){"x: | shape=2,3", "x:1x3 | shape=4,5,3", "x:2x1x5 | shape=-1,7,-1", NULL},
};
