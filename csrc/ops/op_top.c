/* The largest elements along one dimension and where they are. Places count from 1, as labels do; a NaN counts as
 * largest, and of equal elements the first comes first. */
#include <math.h>

#include "core/checked.h"
#include "core/pool.h"
#include "ops/op.h"

typedef struct top_params {
    int64_t dim;
    bool keepdim;
    int64_t k;
} top_params;

#define FIELD_DIM {"dim", PK_DIM, offsetof(top_params, dim), .def = -1, .doc = "dimension to look along"}
static const pk_field dim_fields[] = {
    FIELD_DIM, {"keepdim", PK_BOOL, offsetof(top_params, keepdim), .def = 0, .doc = "leave it as 1"}};
static const pk_field topk_fields[] = {
    {"k", PK_INT, offsetof(top_params, k), .def = 1, .min = 1, .max = 2147483647, .doc = "how many"}, FIELD_DIM};

typedef struct top_job {
    int64_t n, inner, rows, k, chunks; /* along the dimension; distance of its elements; results */
    float sign;
    const float *x, *g;
    float *value, *dx; /* value may be null */
    int32_t *place;
    const int32_t *taken;
} top_job;

static pk_status job_of(const pk_call *c, top_job *j, int *dim) {
    const pk_tensor *x = c->in[0];
    const top_params *p = c->params;
    PK_TRY(pk_want_dim(c, p->dim, x->ndim, dim));
    *j = (top_job){.n = x->shape[*dim], .inner = 1, .rows = 1, .k = 1, .sign = c->op->name[1] == 'i' ? -1 : 1};
    for (int d = 0; d < x->ndim; d++) {
        if (d != *dim) j->rows *= x->shape[d];
        if (d > *dim) j->inner *= x->shape[d];
    }
    if (c->op->fields == topk_fields) j->k = p->k;
    j->chunks = pk_chunks(j->rows, pk_max(1, 8192 / pk_max(1, j->n * j->k)));
    return PK_OK;
}

/* Shape of the results: the dimension becomes k, or goes. */
static pk_status infer_results(pk_call *c, bool values) {
    int dim, n = 0;
    top_job j;
    int64_t shape[PK_MAX_DIMS];
    PK_TRY(job_of(c, &j, &dim));
    const pk_tensor *x = c->in[0];
    PK_RETURN_IF(j.n < j.k, PK_EINVAL, "%s: dimension %d of x %s has fewer than %lld elements", c->op->name, dim + 1,
                 pk_shape_text(x), (long long)j.k);
    bool keep = c->op->fields == topk_fields || ((const top_params *)c->params)->keepdim;
    for (int d = 0; d < x->ndim; d++)
        if (d != dim || keep) shape[n++] = d == dim ? j.k : x->shape[d];
    if (values) pk_out(c, 0, PK_FLOAT32, n, shape);
    pk_out(c, values, PK_INT32, n, shape);
    return PK_OK;
}
static pk_status infer(pk_call *c) { return infer_results(c, true); }
static pk_status argmax_infer(pk_call *c) { return infer_results(c, false); }

/* a comes before b, b standing earlier in the row. */
static bool before(float a, float b) { return a > b || (isnan(a) && !isnan(b)); }

/* The best place of a row that does not come before (limit value, limit place), or anything where there is no limit. */
static int64_t next_best(const top_job *j, const float *x, int64_t limit) {
    int64_t best = -1;
    for (int64_t i = 0; i < j->n; i++) {
        float v = j->sign * x[i * j->inner];
        if (limit >= 0) { /* only what comes after the one taken last */
            float last = j->sign * x[limit * j->inner];
            if (i == limit || before(v, last) || (!before(last, v) && i < limit)) continue;
        }
        if (best < 0 || before(v, j->sign * x[best * j->inner])) best = i;
    }
    return best;
}

static void top_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const top_job *j = context;
    int64_t end = pk_chunk_begin(j->rows, j->chunks, i + 1);
    for (int64_t r = pk_chunk_begin(j->rows, j->chunks, i); r < end; r++) {
        const float *x = j->x + r / j->inner * j->n * j->inner + r % j->inner;
        int64_t out = r / j->inner * j->k * j->inner + r % j->inner, last = -1;
        for (int64_t k = 0; k < j->k; k++, out += j->inner) {
            last = next_best(j, x, last);
            j->place[out] = (int32_t)last + 1;
            if (j->value) j->value[out] = x[last * j->inner];
        }
    }
}

static pk_status forward(pk_call *c) {
    int dim;
    top_job j;
    PK_TRY(job_of(c, &j, &dim));
    j.x = pk_f32(c->in[0]);
    j.value = c->nout == 2 ? pk_f32(c->out[0]) : NULL;
    j.place = pk_i32(c->out[c->nout - 1]);
    pk_parallel(j.chunks, top_chunk, &j);
    return PK_OK;
}

static void scatter_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const top_job *j = context;
    int64_t end = pk_chunk_begin(j->rows, j->chunks, i + 1);
    for (int64_t r = pk_chunk_begin(j->rows, j->chunks, i); r < end; r++) {
        float *dx = j->dx + r / j->inner * j->n * j->inner + r % j->inner;
        int64_t out = r / j->inner * j->k * j->inner + r % j->inner;
        for (int64_t k = 0; k < j->k; k++, out += j->inner) dx[(j->taken[out] - 1) * j->inner] = j->g[out];
    }
}

static pk_status backward(pk_call *c) {
    int dim;
    top_job j;
    PK_TRY(job_of(c, &j, &dim));
    PK_TRY(pk_tensor_zeros(PK_FLOAT32, c->in[0]->ndim, c->in[0]->shape, &c->din[0]));
    j.g = pk_f32(c->dout[0]);
    j.taken = pk_i32(c->out[1]);
    j.dx = pk_f32(c->din[0]);
    pk_parallel(j.chunks, scatter_chunk, &j);
    return PK_OK;
}

/* Rank of every element by counting those that stand before it. */
static void reference(const pk_call *c, const double *const *in, double *const *out) {
    int dim;
    top_job j;
    if (job_of(c, &j, &dim)) return;
    for (int64_t r = 0; r < j.rows; r++) {
        const double *x = in[0] + r / j.inner * j.n * j.inner + r % j.inner;
        for (int64_t i = 0; i < j.n; i++) {
            int64_t rank = 0;
            for (int64_t e = 0; e < j.n; e++) {
                double a = (double)j.sign * x[e * j.inner], b = (double)j.sign * x[i * j.inner];
                rank += a > b || (a == b && e < i);
            }
            if (rank >= j.k) continue;
            int64_t at = r / j.inner * j.k * j.inner + r % j.inner + rank * j.inner;
            out[c->nout - 1][at] = (double)(i + 1);
            if (c->nout == 2) out[0][at] = x[i * j.inner];
        }
    }
}

static const char *const cases[] = {"x:1",      "x:3x17", "x:2x5x3x7 | dim=1 keepdim=true", "x:19x4 | dim=0",
                                    "x:900x31", NULL};

#define COMMON(op_name, list)                                                                             \
    .name = #op_name, .params_size = sizeof(top_params), .fields = list, .nfields = 2,                    \
    .args = {{"x", 0, PK_REAL, "{...}"}}, .forward = forward, .reference = reference

const pk_op pk_op_max_dim = {
    COMMON(max_dim, dim_fields), .infer = infer, .backward = backward, .needs_out = 2, .outputs_no_grad = 2,
    .cases = cases, .doc = "Largest along dim, and its place (int32, from 1)."};
const pk_op pk_op_min_dim = {
    COMMON(min_dim, dim_fields), .infer = infer, .backward = backward, .needs_out = 2, .outputs_no_grad = 2,
    .cases = cases, .doc = "Smallest along dim, and its place (int32, from 1)."};
const pk_op pk_op_argmax = {
    COMMON(argmax, dim_fields), .infer = argmax_infer, .outputs_no_grad = 1, .cases = cases,
    .doc = "Place of the largest along dim (int32, from 1)."};
const pk_op pk_op_topk = {
    COMMON(topk, topk_fields), .infer = infer, .backward = backward, .needs_out = 2, .outputs_no_grad = 2,
    .cases = (const char *const[]){"x:1", "x:3x17 | k=5", "x:2x9x3 | k=9 dim=1", "x:300x100 | k=5", NULL},
    .doc = "The k largest along dim in falling order, and their places (int32, from 1)."};
