/* Maps of one tensor with numbers as parameters: powers and limits. */
#include <math.h>

#include "core/checked.h"
#include "core/pool.h"
#include "ops/op.h"
#include "ops/onnx.h"

typedef struct pow_params {
    double exponent;
} pow_params;

static const pk_field pow_fields[] = {
    {"exponent", PK_FLOAT, offsetof(pow_params, exponent), .def = 2, .doc = "the power"},
};

typedef struct clamp_params {
    double min, max;
} clamp_params;

static const pk_field clamp_fields[] = {
    {"min", PK_FLOAT, offsetof(clamp_params, min), .def = -INFINITY, .doc = "lower limit"},
    {"max", PK_FLOAT, offsetof(clamp_params, max), .def = INFINITY, .doc = "upper limit"},
};

typedef struct scalar_job scalar_job;
struct scalar_job {
    void (*run)(const scalar_job *j, int64_t from, int64_t to);
    const void *params;
    const float *x, *g; /* g: backward */
    float *y;
    int64_t n, chunks;
};

static void chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const scalar_job *j = context;
    j->run(j, pk_chunk_begin(j->n, j->chunks, i), pk_chunk_begin(j->n, j->chunks, i + 1));
}

static pk_status run(pk_call *c, bool back, void (*f)(const scalar_job *, int64_t, int64_t)) {
    if (back) PK_TRY(pk_grad_like(c, 0));
    scalar_job j = {.run = f, .params = c->params, .x = pk_f32(c->in[0]), .n = pk_numel(c->in[0])};
    j.g = back ? pk_f32(c->dout[0]) : NULL;
    j.y = pk_f32(back ? c->din[0] : c->out[0]);
    j.chunks = pk_chunks(j.n, 16384);
    pk_parallel(j.chunks, chunk, &j);
    return PK_OK;
}

static pk_status infer(pk_call *c) {
    pk_out_like(c, 0, 0);
    return PK_OK;
}

/* x^p; the common powers without powf. */
static float power(float x, float p) {
    if (p == 2) return x * x;
    if (p == 1) return x;
    if (p == 0.5f) return sqrtf(x);
    if (p == -1) return 1 / x;
    return p == 0 ? 1 : powf(x, p);
}

static void pow_run(const scalar_job *j, int64_t from, int64_t to) {
    float p = (float)((const pow_params *)j->params)->exponent;
    for (int64_t i = from; i < to; i++) j->y[i] = power(j->x[i], p);
}

static void pow_slope(const scalar_job *j, int64_t from, int64_t to) {
    double p = ((const pow_params *)j->params)->exponent;
    for (int64_t i = from; i < to; i++) j->y[i] = p == 0 ? 0 : j->g[i] * (float)p * power(j->x[i], (float)(p - 1));
}

static pk_status pow_forward(pk_call *c) { return run(c, false, pow_run); }
static pk_status pow_backward(pk_call *c) { return run(c, true, pow_slope); }

static void pow_reference(const pk_call *c, const double *const *in, double *const *out) {
    for (int64_t i = 0; i < pk_numel(c->in[0]); i++)
        out[0][i] = pow(in[0][i], ((const pow_params *)c->params)->exponent);
}

/* NaN fails both comparisons and stays. */
static void clamp_run(const scalar_job *j, int64_t from, int64_t to) {
    float low = (float)((const clamp_params *)j->params)->min, high = (float)((const clamp_params *)j->params)->max;
    for (int64_t i = from; i < to; i++) j->y[i] = j->x[i] < low ? low : j->x[i] > high ? high : j->x[i];
}

static void clamp_slope(const scalar_job *j, int64_t from, int64_t to) {
    float low = (float)((const clamp_params *)j->params)->min, high = (float)((const clamp_params *)j->params)->max;
    for (int64_t i = from; i < to; i++) j->y[i] = j->x[i] >= low && j->x[i] <= high ? j->g[i] : 0;
}

static pk_status clamp_infer(pk_call *c) {
    const clamp_params *p = c->params;
    PK_RETURN_IF(p->min > p->max, PK_EINVAL, "clamp: min %g is above max %g", p->min, p->max);
    return infer(c);
}

static pk_status clamp_forward(pk_call *c) { return run(c, false, clamp_run); }
static pk_status clamp_backward(pk_call *c) { return run(c, true, clamp_slope); }

static void clamp_reference(const pk_call *c, const double *const *in, double *const *out) {
    const clamp_params *p = c->params;
    for (int64_t i = 0; i < pk_numel(c->in[0]); i++) out[0][i] = fmin(fmax(in[0][i], p->min), p->max);
}

static void pow_onnx(pk_onnx *g, const pk_call *c) {
    pk_order order = pk_onnx_common_order(g);
    int x = pk_onnx_in(g, 0, order), exponent = pk_onnx_scalar(g, ((const pow_params *)c->params)->exponent);
    pk_onnx_out(g, 0, pk_onnx_node2(g, "Pow", x, exponent), order);
}

static void clamp_onnx(pk_onnx *g, const pk_call *c) {
    const clamp_params *p = c->params;
    pk_order order = pk_onnx_common_order(g);
    int x = pk_onnx_in(g, 0, order), low = pk_onnx_scalar(g, p->min), high = pk_onnx_scalar(g, p->max);
    pk_onnx_out(g, 0, pk_onnx_node3(g, "Clip", x, low, high), order);
}

const pk_op pk_op_pow = {
    .name = "pow",
    .doc = "x to the power of a number.",
    .params_size = sizeof(pow_params),
    .fields = pow_fields,
    .nfields = 1,
    .args = {{"x", 0, PK_POSITIVE, "{...}"}},
    .needs_in = 1,
    .infer = infer,
    .forward = pow_forward,
    .backward = pow_backward,
    .reference = pow_reference,
    .onnx = pow_onnx,
    .cases = (const char *const[]){"x:1", "x:3x17 | exponent=-1", "x:2x7x5x3 | exponent=0.5", "x:19 | exponent=0",
                                   "x:5x5 | exponent=3.5", "x:9 | exponent=1", NULL},
};

const pk_op pk_op_clamp = {
    .name = "clamp",
    .doc = "x, but at least min and at most max.",
    .params_size = sizeof(clamp_params),
    .fields = clamp_fields,
    .nfields = 2,
    .args = {{"x", 0, PK_REAL, "{...}"}},
    .needs_in = 1,
    .infer = clamp_infer,
    .forward = clamp_forward,
    .backward = clamp_backward,
    .reference = clamp_reference,
    .onnx = clamp_onnx,
    .cases = (const char *const[]){"x:1", "x:3x17 | min=0", "x:2x7x5x3 | min=-0.3 max=0.4", "x:40000 | max=0.1", NULL},
};
