/* Softmax and its logarithm along a dimension. Rows that do not lie together are gathered into scratch. */
#include <math.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"
#include "ops/op.h"
#include "ops/onnx.h"

typedef struct softmax_params {
    int64_t dim;
} softmax_params;

static const pk_field fields[] = {
    {"dim", PK_DIM, offsetof(softmax_params, dim), .def = -1, .doc = "dimension that sums to 1"},
};

static pk_status infer(pk_call *c) {
    int dim;
    PK_TRY(pk_want_dim(c, ((const softmax_params *)c->params)->dim, c->in[0]->ndim, &dim));
    pk_out_like(c, 0, 0);
    return PK_OK;
}

/* y and g are null in forward, x in backward. */
typedef struct softmax_job softmax_job;
struct softmax_job {
    void (*row)(const softmax_job *j, const float *x, const float *g, float *result);
    int64_t n, inner, rows, chunks; /* along the dimension; distance of its elements */
    const float *x, *g;
    float *result, *scratch;
};

static void row_chunk(void *context, int64_t i, int worker) {
    const softmax_job *j = context;
    float *x = j->scratch + worker * 3 * j->n, *g = x + j->n, *result = g + j->n;
    int64_t end = pk_chunk_begin(j->rows, j->chunks, i + 1);
    for (int64_t r = pk_chunk_begin(j->rows, j->chunks, i); r < end; r++) {
        int64_t at = r / j->inner * j->n * j->inner + r % j->inner;
        if (j->inner == 1) {
            j->row(j, j->x + at, j->g ? j->g + at : NULL, j->result + at);
            continue;
        }
        for (int64_t k = 0; k < j->n; k++) x[k] = j->x[at + k * j->inner];
        for (int64_t k = 0; j->g && k < j->n; k++) g[k] = j->g[at + k * j->inner];
        j->row(j, x, g, result);
        for (int64_t k = 0; k < j->n; k++) j->result[at + k * j->inner] = result[k];
    }
}

static pk_status run(const pk_call *c, const pk_tensor *x, const pk_tensor *g, pk_tensor *result,
                     void (*row)(const softmax_job *, const float *, const float *, float *)) {
    int64_t d = ((const softmax_params *)c->params)->dim;
    int dim = (int)(d < 0 ? d + x->ndim : d);
    softmax_job j = {.row = row, .n = x->shape[dim], .inner = 1, .x = pk_f32(x), .g = g ? pk_f32(g) : NULL};
    if (pk_numel(x) == 0) return PK_OK;
    for (int k = dim + 1; k < x->ndim; k++) j.inner *= x->shape[k];
    j.rows = pk_numel(x) / j.n;
    j.chunks = pk_chunks(j.rows, pk_max(1, 8192 / j.n));
    j.result = pk_f32(result);
    int64_t bytes = j.inner == 1 ? 0 : pk_threads() * 3 * j.n * (int64_t)sizeof(float);
    j.scratch = pk_alloc(bytes);
    if (!j.scratch) return pk_no_memory(bytes);
    pk_parallel(j.chunks, row_chunk, &j);
    pk_free(j.scratch);
    return PK_OK;
}

static void softmax_row(const softmax_job *j, const float *x, const float *g, float *y) {
    (void)g;
    pk_k()->softmax_row(j->n, x, y);
}
static void log_softmax_row(const softmax_job *j, const float *x, const float *g, float *y) {
    (void)g;
    pk_k()->log_softmax_row(j->n, x, y);
}

/* From the outputs y: y * (g - sum(g * y)), and g - e^y * sum(g). */
static void softmax_slope(const softmax_job *j, const float *y, const float *g, float *dx) {
    float dot = (float)pk_k()->dot(j->n, y, g);
    for (int64_t i = 0; i < j->n; i++) dx[i] = y[i] * (g[i] - dot);
}
static void log_softmax_slope(const softmax_job *j, const float *y, const float *g, float *dx) {
    float sum = (float)pk_k()->sum(j->n, g);
    pk_k()->map_exp(j->n, y, dx);
    for (int64_t i = 0; i < j->n; i++) dx[i] = g[i] - dx[i] * sum;
}

static pk_status softmax_forward(pk_call *c) { return run(c, c->in[0], NULL, c->out[0], softmax_row); }
static pk_status log_softmax_forward(pk_call *c) { return run(c, c->in[0], NULL, c->out[0], log_softmax_row); }
static pk_status softmax_backward(pk_call *c) {
    PK_TRY(pk_grad_like(c, 0));
    return run(c, c->out[0], c->dout[0], c->din[0], softmax_slope);
}
static pk_status log_softmax_backward(pk_call *c) {
    PK_TRY(pk_grad_like(c, 0));
    return run(c, c->out[0], c->dout[0], c->din[0], log_softmax_slope);
}

static void log_softmax_reference(const pk_call *c, const double *const *in, double *const *out) {
    const pk_tensor *x = c->in[0];
    int64_t d = ((const softmax_params *)c->params)->dim, inner = 1;
    int dim = (int)(d < 0 ? d + x->ndim : d);
    for (int k = dim + 1; k < x->ndim; k++) inner *= x->shape[k];
    for (int64_t i = 0; i < pk_numel(x); i++) {
        int64_t first = i / (x->shape[dim] * inner) * x->shape[dim] * inner + i % inner;
        double sum = 0;
        for (int64_t k = 0; k < x->shape[dim]; k++) sum += exp(in[0][first + k * inner]);
        out[0][i] = in[0][i] - log(sum);
    }
}
static void softmax_reference(const pk_call *c, const double *const *in, double *const *out) {
    log_softmax_reference(c, in, out);
    for (int64_t i = 0; i < pk_numel(c->in[0]); i++) out[0][i] = exp(out[0][i]);
}

static void along_onnx(pk_onnx *g, const pk_call *c, const char *type) {
    pk_order order = pk_onnx_common_order(g);
    int y = pk_onnx_node1(g, type, pk_onnx_in(g, 0, order));
    pk_onnx_set_int(g, "axis", pk_onnx_axis(((const softmax_params *)c->params)->dim, c->in[0]->ndim, order));
    pk_onnx_out(g, 0, y, order);
}
static void softmax_onnx(pk_onnx *g, const pk_call *c) { along_onnx(g, c, "Softmax"); }
static void log_softmax_onnx(pk_onnx *g, const pk_call *c) { along_onnx(g, c, "LogSoftmax"); }

static const char *const cases[] = {"x:1", "x:3x17", "x:2x5x3x7 | dim=1", "x:4x33 | dim=0", "x:300x130", "x:0x5", NULL};

#define COMMON(op_name)                                                                                             \
    .name = #op_name, .params_size = sizeof(softmax_params), .fields = fields, .nfields = 1,                         \
    .args = {{"x", 0, PK_REAL, "{...}"}}, .needs_out = 1, .infer = infer, .forward = op_name##_forward,             \
    .backward = op_name##_backward, .reference = op_name##_reference, .onnx = op_name##_onnx,       \
    .cases = cases

const pk_op pk_op_softmax = {
    COMMON(softmax), .doc = "e^x / sum of e^x along dim (the last by default)."};
const pk_op pk_op_log_softmax = {
    COMMON(log_softmax), .doc = "x - log of the sum of e^x along dim (the last by default)."};
