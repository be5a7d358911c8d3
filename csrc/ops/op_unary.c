/* Maps of one tensor without parameters. Each is a kernel, the kernel of its slope, and whether the slope is a function
 * of the input or of the output. */
#include <math.h>

#include "ops/elementwise.h"
#include "ops/onnx.h"

static pk_status infer(pk_call *c) {
    pk_out_like(c, 0, 0);
    return PK_OK;
}

static pk_status run(pk_call *c, pk_map1 *f) {
    pk_map1_run(f, pk_f32(c->in[0]), pk_f32(c->out[0]), pk_numel(c->out[0]));
    return PK_OK;
}

/* dx = f(kept, dy), kept being x or y, whichever the op asked to keep. */
static pk_status slope(pk_call *c, pk_map2 *f) {
    const pk_tensor *kept = c->op->needs_in ? c->in[0] : c->out[0];
    PK_TRY(pk_grad_like(c, 0));
    pk_map2_run(f, pk_f32(kept), pk_f32(c->dout[0]), pk_f32(c->din[0]), pk_numel(c->dout[0]));
    return PK_OK;
}

static void quotient(int64_t n, const float *x, const float *g, float *dx) { pk_k()->map_div(n, g, x, dx); }

static void each(const pk_call *c, const double *x, double *y, double (*f)(double)) {
    for (int64_t i = 0; i < pk_numel(c->in[0]); i++) y[i] = f(x[i]);
}

/* One map: name, and value in double; the kernel is map_<name>. */
#define MAP(op_name, grad_kernel, value)                                                                          \
    static pk_status op_name##_forward(pk_call *c) { return run(c, pk_k()->map_##op_name); }                     \
    static pk_status op_name##_backward(pk_call *c) { return slope(c, grad_kernel); }                            \
    static double op_name##_value(double x) { return value; }                                                    \
    static void op_name##_reference(const pk_call *c, const double *const *in, double *const *out) {             \
        each(c, in[0], out[0], op_name##_value);                                                                 \
    }

MAP(relu, pk_k()->grad_relu, x > 0 ? x : 0)
MAP(gelu, pk_k()->grad_gelu, 0.5 * x * erfc(-x / sqrt(2.0)))
MAP(silu, pk_k()->grad_silu, x / (1 + exp(-x)))
MAP(sigmoid, pk_k()->grad_sigmoid, 1 / (1 + exp(-x)))
MAP(tanh, pk_k()->grad_tanh, tanh(x))
MAP(exp, pk_k()->map_mul, exp(x))
MAP(log, quotient, log(x))
MAP(sqrt, pk_k()->grad_sqrt, sqrt(x))
MAP(abs, pk_k()->grad_abs, fabs(x))

static pk_status neg_forward(pk_call *c) { return run(c, pk_k()->map_neg); }
static pk_status neg_backward(pk_call *c) {
    PK_TRY(pk_grad_like(c, 0));
    pk_map1_run(pk_k()->map_neg, pk_f32(c->dout[0]), pk_f32(c->din[0]), pk_numel(c->dout[0]));
    return PK_OK;
}
static double neg_value(double x) { return -x; }
static void neg_reference(const pk_call *c, const double *const *in, double *const *out) {
    each(c, in[0], out[0], neg_value);
}

#define ONNX(op_name, type) \
    static void op_name##_onnx(pk_onnx *g, const pk_call *c) { (void)c, pk_onnx_map1(g, type); }
ONNX(relu, "Relu")
ONNX(sigmoid, "Sigmoid")
ONNX(tanh, "Tanh")
ONNX(exp, "Exp")
ONNX(log, "Log")
ONNX(sqrt, "Sqrt")
ONNX(abs, "Abs")
ONNX(neg, "Neg")

static void gelu_onnx(pk_onnx *g, const pk_call *c) {
    (void)c;
    pk_order order = pk_onnx_common_order(g);
    pk_onnx_out(g, 0, pk_onnx_gelu(g, pk_onnx_in(g, 0, order)), order);
}

static void silu_onnx(pk_onnx *g, const pk_call *c) {
    (void)c;
    pk_order order = pk_onnx_common_order(g);
    int x = pk_onnx_in(g, 0, order);
    pk_onnx_out(g, 0, pk_onnx_node2(g, "Mul", x, pk_onnx_node1(g, "Sigmoid", x)), order);
}

static const char *const cases[] = {"x:1", "x:0x3", "x:17", "x:2x7x5x3", "x:40000", NULL};

#define COMMON(op_name, domain)                                                                                    \
    .name = #op_name, .args = {{"x", 0, domain, "{...}"}}, .infer = infer, .forward = op_name##_forward,           \
    .backward = op_name##_backward, .reference = op_name##_reference, .onnx = op_name##_onnx, .cases = cases

const pk_op pk_op_relu = {
    COMMON(relu, PK_REAL), .needs_out = 1, .doc = "max(x, 0)."};
const pk_op pk_op_gelu = {
    COMMON(gelu, PK_REAL), .needs_in = 1, .doc = "x * (1 + erf(x / sqrt 2)) / 2, the exact form."};
const pk_op pk_op_silu = {
    COMMON(silu, PK_REAL), .needs_in = 1, .doc = "x / (1 + e^-x)."};
const pk_op pk_op_sigmoid = {
    COMMON(sigmoid, PK_REAL), .needs_out = 1, .doc = "1 / (1 + e^-x)."};
const pk_op pk_op_tanh = {
    COMMON(tanh, PK_REAL), .needs_out = 1, .doc = "Hyperbolic tangent."};
const pk_op pk_op_exp = {
    COMMON(exp, PK_REAL), .needs_out = 1, .doc = "e^x."};
const pk_op pk_op_log = {
    COMMON(log, PK_POSITIVE), .needs_in = 1, .doc = "Natural logarithm."};
const pk_op pk_op_sqrt = {
    COMMON(sqrt, PK_POSITIVE), .needs_out = 1, .doc = "Square root."};
const pk_op pk_op_abs = {
    COMMON(abs, PK_REAL), .needs_in = 1, .doc = "|x|; the slope at 0 is 0."};
const pk_op pk_op_neg = {
    COMMON(neg, PK_REAL), .doc = "-x."};
