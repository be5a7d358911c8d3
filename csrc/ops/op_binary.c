/* Arithmetic of two tensors with broadcasting: the shapes are aligned at their last dimensions, and a dimension of 1 is
 * stretched. Gradients are summed back over what was stretched. */
#include <math.h>

#include "ops/elementwise.h"
#include "ops/onnx.h"

static pk_status infer(pk_call *c) {
    const pk_tensor *a = c->in[0], *b = c->in[1];
    int64_t shape[PK_MAX_DIMS];
    int ndim;
    PK_RETURN_IF(!pk_broadcast(a->ndim, a->shape, b->ndim, b->shape, &ndim, shape), PK_EINVAL,
                 "%s: shapes %s and %s do not fit: aligned at the last dimension, sizes must be equal or 1",
                 c->op->name, pk_shape_text(a), pk_shape_text(b));
    pk_out(c, 0, PK_FLOAT32, ndim, shape);
    return PK_OK;
}

static pk_status run(pk_call *c, pk_map2 *f) {
    pk_broadcast_run(f, c->in[0], c->in[1], c->meta[0].ndim, c->meta[0].shape, pk_f32(c->out[0]));
    return PK_OK;
}

/* din[i] = the sum of g, which has the output's shape, over what was stretched. g itself where nothing was. */
static pk_status reduced(pk_call *c, int i, pk_tensor *g) {
    if (pk_same_shape(g, c->in[i])) {
        c->din[i] = pk_tensor_retain(g);
        return PK_OK;
    }
    PK_TRY(pk_grad_like(c, i));
    return pk_unbroadcast(pk_f32(g), g->ndim, g->shape, c->in[i], pk_f32(c->din[i]));
}

/* din[i] = the same of f(p, q), both broadcast. */
static pk_status reduced_map(pk_call *c, int i, pk_map2 *f, const pk_tensor *p, const pk_tensor *q) {
    pk_tensor *g;
    PK_TRY(pk_tensor_like(c->dout[0], &g));
    pk_broadcast_run(f, p, q, g->ndim, g->shape, pk_f32(g));
    pk_status status = reduced(c, i, g);
    pk_tensor_release(g);
    return status;
}

static pk_status negated(pk_call *c, int i) {
    pk_tensor *g;
    PK_TRY(pk_tensor_like(c->dout[0], &g));
    pk_map1_run(pk_k()->map_neg, pk_f32(c->dout[0]), pk_f32(g), pk_numel(g));
    pk_status status = reduced(c, i, g);
    pk_tensor_release(g);
    return status;
}

/* ---- add, sub, mul, div ---- */

static pk_status add_forward(pk_call *c) { return run(c, pk_k()->map_add); }
static pk_status add_backward(pk_call *c) {
    for (int i = 0; i < 2; i++)
        if (c->needs[i]) PK_TRY(reduced(c, i, c->dout[0]));
    return PK_OK;
}

static pk_status sub_forward(pk_call *c) { return run(c, pk_k()->map_sub); }
static pk_status sub_backward(pk_call *c) {
    if (c->needs[0]) PK_TRY(reduced(c, 0, c->dout[0]));
    return c->needs[1] ? negated(c, 1) : PK_OK;
}

static pk_status mul_forward(pk_call *c) { return run(c, pk_k()->map_mul); }
static pk_status mul_backward(pk_call *c) {
    for (int i = 0; i < 2; i++)
        if (c->needs[i]) PK_TRY(reduced_map(c, i, pk_k()->map_mul, c->in[1 - i], c->dout[0]));
    return PK_OK;
}

static pk_status div_forward(pk_call *c) { return run(c, pk_k()->map_div); }
/* -y * g, later divided by b: d(a/b)/db = -(a/b)/b. */
static void minus_product(int64_t n, const float *y, const float *g, float *d) {
    for (int64_t i = 0; i < n; i++) d[i] = -(y[i] * g[i]);
}
static pk_status div_backward(pk_call *c) {
    if (c->needs[0]) PK_TRY(reduced_map(c, 0, pk_k()->map_div, c->dout[0], c->in[1]));
    if (!c->needs[1]) return PK_OK;
    pk_tensor *g;
    PK_TRY(pk_tensor_like(c->dout[0], &g));
    pk_map2_run(minus_product, pk_f32(c->out[0]), pk_f32(c->dout[0]), pk_f32(g), pk_numel(g));
    pk_status status = reduced_map(c, 1, pk_k()->map_div, g, c->in[1]);
    pk_tensor_release(g);
    return status;
}

/* ---- maximum, minimum: the gradient goes to the one that was taken, half to each of two equal ones ---- */

static pk_status maximum_forward(pk_call *c) { return run(c, pk_k()->map_max); }
static pk_status minimum_forward(pk_call *c) { return run(c, pk_k()->map_min); }
static void share_max(int64_t n, const float *a, const float *b, float *s) {
    for (int64_t i = 0; i < n; i++) s[i] = a[i] > b[i] ? 1.0f : a[i] < b[i] ? 0.0f : 0.5f;
}
static void share_min(int64_t n, const float *a, const float *b, float *s) { share_max(n, b, a, s); }
static pk_status share_backward(pk_call *c, pk_map2 *share) {
    pk_tensor *taken = NULL;
    for (int i = 0; i < 2; i++) {
        if (!c->needs[i]) continue;
        PK_TRY(pk_tensor_like(c->dout[0], &taken));
        pk_broadcast_run(share, c->in[i], c->in[1 - i], taken->ndim, taken->shape, pk_f32(taken));
        pk_status status = reduced_map(c, i, pk_k()->map_mul, taken, c->dout[0]);
        pk_tensor_release(taken);
        PK_TRY(status);
    }
    return PK_OK;
}
static pk_status maximum_backward(pk_call *c) { return share_backward(c, share_max); }
static pk_status minimum_backward(pk_call *c) { return share_backward(c, share_min); }

/* ---- comparisons: 1 where it holds, else 0; no gradient ---- */

static void equal(int64_t n, const float *a, const float *b, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] == b[i] ? 1.0f : 0.0f;
}
static void less(int64_t n, const float *a, const float *b, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] < b[i] ? 1.0f : 0.0f;
}
static void greater(int64_t n, const float *a, const float *b, float *y) { less(n, b, a, y); }
static pk_status eq_forward(pk_call *c) { return run(c, equal); }
static pk_status lt_forward(pk_call *c) { return run(c, less); }
static pk_status gt_forward(pk_call *c) { return run(c, greater); }

/* ---- references ---- */

static void each(const pk_call *c, const double *const *in, double *y, double (*f)(double, double)) {
    const pk_meta *m = &c->meta[0];
    int64_t n = 1;
    for (int d = 0; d < m->ndim; d++) n *= m->shape[d];
    for (int64_t i = 0; i < n; i++)
        y[i] = f(in[0][pk_broadcast_place(i, m->ndim, m->shape, c->in[0]->ndim, c->in[0]->shape)],
                 in[1][pk_broadcast_place(i, m->ndim, m->shape, c->in[1]->ndim, c->in[1]->shape)]);
}

#define REFERENCE(op_name, value)                                                                    \
    static double op_name##_value(double a, double b) { return value; }                              \
    static void op_name##_reference(const pk_call *c, const double *const *in, double *const *out) { \
        each(c, in, out[0], op_name##_value);                                                        \
    }
REFERENCE(add, a + b)
REFERENCE(sub, a - b)
REFERENCE(mul, a *b)
REFERENCE(div, a / b)
REFERENCE(maximum, fmax(a, b))
REFERENCE(minimum, fmin(a, b))
REFERENCE(eq, a == b)
REFERENCE(lt, a < b)
REFERENCE(gt, a > b)

#define ONNX(op_name, type) \
    static void op_name##_onnx(pk_onnx *g, const pk_call *c) { (void)c, pk_onnx_map2(g, type); }
ONNX(add, "Add")
ONNX(sub, "Sub")
ONNX(mul, "Mul")
ONNX(div, "Div")
ONNX(maximum, "Max")
ONNX(minimum, "Min")

/* Comparisons give booleans there: they become 0 and 1. */
static void compare_onnx(pk_onnx *g, const char *type) {
    pk_order order = pk_onnx_common_order(g);
    int a = pk_onnx_in(g, 0, order), b = pk_onnx_in(g, 1, order);
    int number = pk_onnx_node1(g, "Cast", pk_onnx_node2(g, type, a, b));
    pk_onnx_set_int(g, "to", 1);
    pk_onnx_out(g, 0, number, order);
}
static void eq_onnx(pk_onnx *g, const pk_call *c) { (void)c, compare_onnx(g, "Equal"); }
static void lt_onnx(pk_onnx *g, const pk_call *c) { (void)c, compare_onnx(g, "Less"); }
static void gt_onnx(pk_onnx *g, const pk_call *c) { (void)c, compare_onnx(g, "Greater"); }

static const char *const cases[] = {"a: b: ", "a:1 b:3", "a:2x1x5x3 b:7x1x3", "a:17x5 b:17x5", "a:4x3x17 b:17",
                                    "a:3x1 b:1x300", "a:5x1x4 b: ", "a:0x3 b:3", "a:200x3x33 b:3x1", NULL};

#define COMMON(op_name, domain_b)                                                                     \
    .name = #op_name, .args = {{"a", 0, PK_REAL, "{...}"}, {"b", 0, domain_b, "{...}"}}, .infer = infer, \
    .forward = op_name##_forward, .reference = op_name##_reference, .onnx = op_name##_onnx, .cases = cases

const pk_op pk_op_add = {
    COMMON(add, PK_REAL), .backward = add_backward, .doc = "a + b, broadcast."};
const pk_op pk_op_sub = {
    COMMON(sub, PK_REAL), .backward = sub_backward, .doc = "a - b, broadcast."};
const pk_op pk_op_mul = {
    COMMON(mul, PK_REAL), .backward = mul_backward, .needs_in = 3, .doc = "a * b, broadcast."};
const pk_op pk_op_div = {
    COMMON(div, PK_POSITIVE), .backward = div_backward, .needs_in = 2, .needs_out = 1, .doc = "a / b, broadcast."};
const pk_op pk_op_maximum = {COMMON(maximum, PK_REAL), .backward = maximum_backward, .needs_in = 3,
                             .doc = "The larger of a and b; NaN if either is."};
const pk_op pk_op_minimum = {COMMON(minimum, PK_REAL), .backward = minimum_backward, .needs_in = 3,
                             .doc = "The smaller of a and b; NaN if either is."};
const pk_op pk_op_eq = {
    COMMON(eq, PK_REAL), .doc = "1 where a == b, else 0."};
const pk_op pk_op_lt = {
    COMMON(lt, PK_REAL), .doc = "1 where a < b, else 0."};
const pk_op pk_op_gt = {
    COMMON(gt, PK_REAL), .doc = "1 where a > b, else 0."};
