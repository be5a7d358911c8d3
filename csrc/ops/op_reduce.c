/* Sums, means, variances and extremes over sets of dimensions. */
#include <math.h>

#include "core/checked.h"
#include "core/pool.h"
#include "ops/elementwise.h"
#include "ops/onnx.h"
#include "ops/reduce.h"

#define FIELD_DIM \
    {"dim", PK_DIMS, offsetof(pk_reduce_params, dim), .def = NAN, .min = -PK_MAX_DIMS, .max = PK_MAX_DIMS - 1, \
     .doc = "dimensions that go; none: all"}
#define FIELD_KEEP {"keepdim", PK_BOOL, offsetof(pk_reduce_params, keepdim), .def = 0, .doc = "leave them as 1"}

static const pk_field fields[] = {FIELD_DIM, FIELD_KEEP};
static const pk_field var_fields[] = {
    FIELD_DIM, FIELD_KEEP,
    {"unbiased", PK_BOOL, offsetof(pk_reduce_params, unbiased), .def = 1, .doc = "divide by n - 1 instead of n"}};

static pk_status reduction(pk_call *c, pk_reduction *r) {
    const pk_reduce_params *p = c->params;
    bool reduced[PK_MAX_DIMS];
    PK_TRY(pk_reduce_infer(c, &p->dim, p->keepdim, reduced));
    pk_reduction_of(c->in[0]->ndim, c->in[0]->shape, reduced, r);
    return PK_OK;
}

static pk_status sum_infer(pk_call *c) {
    pk_reduction r;
    return reduction(c, &r);
}

static pk_status filled_infer(pk_call *c) {
    pk_reduction r;
    PK_TRY(reduction(c, &r));
    PK_RETURN_IF(r.count == 0 && r.kept > 0, PK_EINVAL, "%s: x %s has nothing to reduce", c->op->name,
                 pk_shape_text(c->in[0]));
    return PK_OK;
}

/* ---- sum, mean ---- */

static pk_status sum_forward(pk_call *c) {
    pk_reduction r;
    PK_TRY(reduction(c, &r));
    return pk_reduce_sum(&r, pk_f32(c->in[0]), 1, pk_f32(c->out[0]));
}

static pk_status mean_forward(pk_call *c) {
    pk_reduction r;
    PK_TRY(reduction(c, &r));
    return pk_reduce_sum(&r, pk_f32(c->in[0]), 1 / (double)r.count, pk_f32(c->out[0]));
}

static pk_status sum_backward(pk_call *c) {
    pk_reduction r;
    PK_TRY(reduction(c, &r));
    PK_TRY(pk_grad_like(c, 0));
    pk_reduce_spread(&r, pk_f32(c->dout[0]), 1, pk_f32(c->din[0]));
    return PK_OK;
}

static pk_status mean_backward(pk_call *c) {
    pk_reduction r;
    PK_TRY(reduction(c, &r));
    PK_TRY(pk_grad_like(c, 0));
    pk_reduce_spread(&r, pk_f32(c->dout[0]), 1 / (float)r.count, pk_f32(c->din[0]));
    return PK_OK;
}

static void sum_reference(const pk_call *c, const double *const *in, double *const *out) {
    pk_call own = *c;
    pk_reduction r;
    if (reduction(&own, &r)) return;
    for (int64_t k = 0; k < r.kept; k++) {
        out[0][k] = 0;
        for (int64_t i = 0; i < r.count; i++) out[0][k] += in[0][pk_reduction_base(&r, k) + pk_reduction_step(&r, i)];
    }
}

static int64_t count_of(const pk_call *c) {
    int64_t kept = 1;
    for (int d = 0; d < c->meta[0].ndim; d++) kept *= c->meta[0].shape[d];
    return kept ? pk_numel(c->in[0]) / kept : 0;
}

static void mean_reference(const pk_call *c, const double *const *in, double *const *out) {
    sum_reference(c, in, out);
    int64_t n = count_of(c);
    for (int64_t k = 0; n && k < pk_numel(c->in[0]) / n; k++) out[0][k] /= (double)n;
}

/* ---- var: the distances from the mean are laid out once, squared and summed ---- */

static double var_divisor(const pk_call *c, const pk_reduction *r) {
    return (double)(r->count - ((const pk_reduce_params *)c->params)->unbiased);
}

/* d = x - mean, all of it; saved[0] holds the means. */
static void distances(const pk_call *c, const pk_reduction *r, float *d) {
    pk_reduce_spread(r, pk_f32(c->saved[0]), 1, d);
    pk_map2_run(pk_k()->map_sub, pk_f32(c->in[0]), d, d, pk_numel(c->in[0]));
}

static pk_status var_infer(pk_call *c) {
    pk_reduction r;
    PK_TRY(reduction(c, &r));
    PK_RETURN_IF(r.kept > 0 && var_divisor(c, &r) <= 0, PK_EINVAL, "var: x %s: %lld numbers are too few%s",
                 pk_shape_text(c->in[0]), (long long)r.count,
                 ((const pk_reduce_params *)c->params)->unbiased ? " for an unbiased variance" : "");
    return PK_OK;
}

static pk_status var_forward(pk_call *c) {
    pk_reduction r;
    pk_tensor *d;
    PK_TRY(reduction(c, &r));
    PK_TRY(pk_save_floats(c, 0, r.kept));
    PK_TRY(pk_reduce_sum(&r, pk_f32(c->in[0]), 1 / (double)r.count, pk_f32(c->saved[0])));
    PK_TRY(pk_tensor_like(c->in[0], &d));
    distances(c, &r, pk_f32(d));
    pk_map2_run(pk_k()->map_mul, pk_f32(d), pk_f32(d), pk_f32(d), pk_numel(d));
    pk_status status = pk_reduce_sum(&r, pk_f32(d), 1 / var_divisor(c, &r), pk_f32(c->out[0]));
    pk_tensor_release(d);
    return status;
}

static pk_status var_backward(pk_call *c) {
    pk_reduction r;
    pk_tensor *d;
    PK_TRY(reduction(c, &r));
    PK_TRY(pk_grad_like(c, 0));
    PK_TRY(pk_tensor_like(c->in[0], &d));
    distances(c, &r, pk_f32(d));
    pk_reduce_spread(&r, pk_f32(c->dout[0]), (float)(2 / var_divisor(c, &r)), pk_f32(c->din[0]));
    pk_map2_run(pk_k()->map_mul, pk_f32(d), pk_f32(c->din[0]), pk_f32(c->din[0]), pk_numel(d));
    pk_tensor_release(d);
    return PK_OK;
}

static void var_reference(const pk_call *c, const double *const *in, double *const *out) {
    pk_call own = *c;
    pk_reduction r;
    if (reduction(&own, &r)) return;
    mean_reference(c, in, out);
    for (int64_t k = 0; k < r.kept; k++) {
        double mean = out[0][k];
        out[0][k] = 0;
        for (int64_t i = 0; i < r.count; i++) {
            double d = in[0][pk_reduction_base(&r, k) + pk_reduction_step(&r, i)] - mean;
            out[0][k] += d * d / var_divisor(c, &r);
        }
    }
}

/* ---- max, min: the gradient is shared by all elements that equal the result ---- */

typedef struct extreme_job {
    const pk_reduction *r;
    int64_t run, chunks; /* elements that lie together */
    float sign;          /* 1: max, -1: min */
    const float *x, *y, *g;
    float *out, *dx;
} extreme_job;

static void extreme_of(const pk_call *c, const pk_reduction *r, extreme_job *j) {
    *j = (extreme_job){.r = r, .run = r->n && r->reduced[r->n - 1] ? r->size[r->n - 1] : 1, .x = pk_f32(c->in[0])};
    j->sign = c->op->name[1] == 'a' ? 1 : -1;
    j->chunks = pk_chunks(r->kept, pk_max(1, 8192 / pk_max(1, r->count)));
}

static void extreme_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const extreme_job *j = context;
    int64_t end = pk_chunk_begin(j->r->kept, j->chunks, i + 1);
    for (int64_t k = pk_chunk_begin(j->r->kept, j->chunks, i); k < end; k++) {
        const float *x = j->x + pk_reduction_base(j->r, k);
        float best = j->sign * *x;
        for (int64_t n = 0; n < j->r->count; n += j->run) {
            const float *run = x + pk_reduction_step(j->r, n);
            for (int64_t e = 0; e < j->run; e++) {
                float v = j->sign * run[e];
                if (v > best || isnan(v)) best = v; /* a NaN stays: nothing is larger */
            }
        }
        j->out[k] = j->sign * best;
    }
}

static pk_status extreme_forward(pk_call *c) {
    pk_reduction r;
    extreme_job j;
    PK_TRY(reduction(c, &r));
    extreme_of(c, &r, &j);
    j.out = pk_f32(c->out[0]);
    pk_parallel(j.chunks, extreme_chunk, &j);
    return PK_OK;
}

static void share_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const extreme_job *j = context;
    int64_t end = pk_chunk_begin(j->r->kept, j->chunks, i + 1);
    for (int64_t k = pk_chunk_begin(j->r->kept, j->chunks, i); k < end; k++) {
        int64_t base = pk_reduction_base(j->r, k), ties = 0;
        for (int64_t n = 0; n < j->r->count; n++) ties += j->x[base + pk_reduction_step(j->r, n)] == j->y[k];
        for (int64_t n = 0; n < j->r->count; n++) {
            int64_t at = base + pk_reduction_step(j->r, n);
            j->dx[at] = j->x[at] == j->y[k] ? j->g[k] / (float)ties : 0;
        }
    }
}

static pk_status extreme_backward(pk_call *c) {
    pk_reduction r;
    extreme_job j;
    PK_TRY(reduction(c, &r));
    PK_TRY(pk_grad_like(c, 0));
    extreme_of(c, &r, &j);
    j.y = pk_f32(c->out[0]);
    j.g = pk_f32(c->dout[0]);
    j.dx = pk_f32(c->din[0]);
    pk_parallel(j.chunks, share_chunk, &j);
    return PK_OK;
}

static void extreme_reference(const pk_call *c, const double *const *in, double *const *out) {
    pk_call own = *c;
    pk_reduction r;
    if (reduction(&own, &r)) return;
    for (int64_t k = 0; k < r.kept; k++) {
        out[0][k] = in[0][pk_reduction_base(&r, k)];
        for (int64_t i = 1; i < r.count; i++) {
            double v = in[0][pk_reduction_base(&r, k) + pk_reduction_step(&r, i)];
            out[0][k] = c->op->name[1] == 'a' ? fmax(out[0][k], v) : fmin(out[0][k], v);
        }
    }
}

/* ---- as ONNX ---- */

/* The order to reduce in: what stays must come out in ours. */
static pk_order reduce_order(const pk_onnx *g, const pk_call *c, const bool *reduced) {
    bool keep = ((const pk_reduce_params *)c->params)->keepdim, pixels = !reduced[1] || !reduced[2];
    if (c->in[0]->ndim == 4 && !keep && !reduced[3] && pixels) return PK_OWN_ORDER;
    return pk_onnx_common_order(g);
}

/* A reduction of value x over the op's dimensions. ReduceSum takes them as an input, the others as an attribute. */
static int reduce_node(pk_onnx *g, const pk_call *c, const char *type, int x, pk_order order, const bool *reduced,
                       bool keep) {
    int64_t axes[PK_MAX_DIMS];
    int n = 0, y, ndim = c->in[0]->ndim;
    for (int d = 0; d < ndim; d++)
        if (reduced[d]) axes[n++] = pk_onnx_axis(d, ndim, order);
    if (n == 0) return x;
    if (reduced[0] && pk_onnx_any_batch(g)) pk_onnx_refuse(g, "goes over the batch, of which the graph takes any size");
    if (type[6] == 'S') {
        y = pk_onnx_node2(g, type, x, pk_onnx_ints(g, n, axes));
    } else {
        y = pk_onnx_node1(g, type, x);
        pk_onnx_set_ints(g, "axes", n, axes);
    }
    pk_onnx_set_int(g, "keepdims", keep);
    return y;
}

static void reduce_onnx(pk_onnx *g, const pk_call *c, const char *type) {
    pk_call own = *c;
    const pk_reduce_params *p = c->params;
    bool reduced[PK_MAX_DIMS];
    pk_reduce_infer(&own, &p->dim, p->keepdim, reduced); /* it was seen to succeed */
    pk_order order = reduce_order(g, c, reduced);
    pk_onnx_out(g, 0, reduce_node(g, c, type, pk_onnx_in(g, 0, order), order, reduced, p->keepdim), order);
}
static void sum_onnx(pk_onnx *g, const pk_call *c) { reduce_onnx(g, c, "ReduceSum"); }
static void mean_onnx(pk_onnx *g, const pk_call *c) { reduce_onnx(g, c, "ReduceMean"); }
static void max_onnx(pk_onnx *g, const pk_call *c) { reduce_onnx(g, c, "ReduceMax"); }
static void min_onnx(pk_onnx *g, const pk_call *c) { reduce_onnx(g, c, "ReduceMin"); }

/* The mean of the squared distances from the mean, times n / (n - 1) where it is unbiased. */
static void var_onnx(pk_onnx *g, const pk_call *c) {
    pk_call own = *c;
    const pk_reduce_params *p = c->params;
    pk_reduction r;
    bool reduced[PK_MAX_DIMS];
    pk_reduce_infer(&own, &p->dim, p->keepdim, reduced);
    pk_reduction_of(c->in[0]->ndim, c->in[0]->shape, reduced, &r);
    pk_order order = reduce_order(g, c, reduced);
    int x = pk_onnx_in(g, 0, order), mean = reduce_node(g, c, "ReduceMean", x, order, reduced, true);
    int off = pk_onnx_node2(g, "Sub", x, mean);
    int y = reduce_node(g, c, "ReduceMean", pk_onnx_node2(g, "Mul", off, off), order, reduced, p->keepdim);
    double factor = (double)r.count / (double)pk_max(1, r.count - 1);
    if (p->unbiased) y = pk_onnx_node2(g, "Mul", y, pk_onnx_scalar(g, factor));
    pk_onnx_out(g, 0, y, order);
}

static const char *const cases[] = {"x:1",
                                    "x: ",
                                    "x:7x17 | dim=0",
                                    "x:7x17 | dim=-1 keepdim=true",
                                    "x:2x5x3x7 | dim=0,2",
                                    "x:2x5x3x7 | dim=1,3 keepdim=true",
                                    "x:3x1x5 | dim=1",
                                    "x:70000",
                                    "x:2000x33 | dim=0",
                                    "x:0x3 | dim=1",
                                    NULL};
static const char *const var_cases[] = {"x:2",
                                        "x:1 | unbiased=false",
                                        "x:7x17 | dim=0",
                                        "x:2x5x3x7 | dim=0,2 keepdim=true",
                                        "x:2x5x3x7 | dim=3 unbiased=false",
                                        "x:70000",
                                        NULL};

#define COMMON(op_name)                                                                                             \
    .name = #op_name, .params_size = sizeof(pk_reduce_params), .args = {{"x", 0, PK_REAL, "{...}"}}, \
    .onnx = op_name##_onnx

const pk_op pk_op_sum = {
    COMMON(sum), .fields = fields, .nfields = 2, .infer = sum_infer, .forward = sum_forward, .backward = sum_backward,
    .reference = sum_reference, .cases = cases, .doc = "Sum over dim (all by default)."};
const pk_op pk_op_mean = {
    COMMON(mean), .fields = fields, .nfields = 2, .infer = filled_infer, .forward = mean_forward,
    .backward = mean_backward, .reference = mean_reference, .cases = cases, .doc = "Mean over dim (all by default)."};
const pk_op pk_op_var = {
    COMMON(var), .fields = var_fields, .nfields = 3, .needs_in = 1, .infer = var_infer, .forward = var_forward,
    .backward = var_backward, .reference = var_reference, .cases = var_cases,
    .doc = "Variance over dim (all by default), divided by n - 1, or by n without unbiased."};
const pk_op pk_op_max = {
    COMMON(max), .fields = fields, .nfields = 2, .needs_in = 1, .needs_out = 1, .infer = filled_infer,
    .forward = extreme_forward, .backward = extreme_backward, .reference = extreme_reference, .cases = cases,
    .doc = "Largest over dim (all by default); equal ones share the gradient."};
const pk_op pk_op_min = {
    COMMON(min), .fields = fields, .nfields = 2, .needs_in = 1, .needs_out = 1, .infer = filled_infer,
    .forward = extreme_forward, .backward = extreme_backward, .reference = extreme_reference, .cases = cases,
    .doc = "Smallest over dim (all by default); equal ones share the gradient."};
