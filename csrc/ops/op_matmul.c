/* Matrix products: of two matrices, and of stacks of them whose leading dimensions broadcast. */
#include "core/checked.h"
#include "core/gemm.h"
#include "core/pool.h"
#include "ops/elementwise.h"
#include "ops/onnx.h"

static pk_status infer(pk_call *c) {
    const pk_tensor *a = c->in[0], *b = c->in[1];
    int64_t shape[PK_MAX_DIMS];
    int ndim = 0;
    PK_RETURN_IF(a->ndim < 2 || b->ndim < 2, PK_EINVAL,
                 "matmul: two matrices (or stacks of them) are wanted, got %s and %s", pk_shape_text(a),
                 pk_shape_text(b));
    PK_RETURN_IF(a->shape[a->ndim - 1] != b->shape[b->ndim - 2], PK_EINVAL,
                 "matmul: a %s and b %s: the last size of a must be the last but one of b", pk_shape_text(a),
                 pk_shape_text(b));
    PK_RETURN_IF(!pk_broadcast(a->ndim - 2, a->shape, b->ndim - 2, b->shape, &ndim, shape), PK_EINVAL,
                 "matmul: a %s and b %s: the leading dimensions do not fit", pk_shape_text(a), pk_shape_text(b));
    shape[ndim] = a->shape[a->ndim - 2];
    shape[ndim + 1] = b->shape[b->ndim - 1];
    pk_out(c, 0, PK_FLOAT32, ndim + 2, shape);
    return PK_OK;
}

typedef struct matmul_job {
    const pk_call *c;
    int64_t m, n, k, batch;
    const float *a, *b, *g;
    float *out;
    int64_t own; /* backward: matrices of the input */
    int input;
} matmul_job;

static void job_of(const pk_call *c, matmul_job *j) {
    const pk_tensor *a = c->in[0], *b = c->in[1];
    *j = (matmul_job){
        .c = c, .m = a->shape[a->ndim - 2], .k = a->shape[a->ndim - 1], .n = b->shape[b->ndim - 1], .batch = 1};
    for (int d = 0; d < c->meta[0].ndim - 2; d++) j->batch *= c->meta[0].shape[d];
    j->a = pk_f32(a);
    j->b = pk_f32(b);
}

/* Which matrix of input i takes part in product number `at`. */
static int64_t matrix_of(const pk_call *c, int i, int64_t at) {
    return pk_broadcast_place(at, c->meta[0].ndim - 2, c->meta[0].shape, c->in[i]->ndim - 2, c->in[i]->shape);
}

static void product(void *context, int64_t i, int worker) {
    (void)worker;
    const matmul_job *j = context;
    pk_gemm(false, false, j->m, j->n, j->k, j->a + matrix_of(j->c, 0, i) * j->m * j->k, j->k,
            j->b + matrix_of(j->c, 1, i) * j->k * j->n, j->n, 0, j->out + i * j->m * j->n, j->n);
}

static pk_status forward(pk_call *c) {
    matmul_job j;
    job_of(c, &j);
    j.out = pk_f32(c->out[0]);
    if (j.batch == 1) return pk_gemm_parallel(false, false, j.m, j.n, j.k, j.a, j.k, j.b, j.n, 0, j.out, j.n);
    pk_parallel(j.batch, product, &j);
    return PK_OK;
}

/* The gradient of one matrix of the input: products that it took part in are added in their order. */
static void gradient(void *context, int64_t own, int worker) {
    (void)worker;
    const matmul_job *j = context;
    float beta = 0, *d = j->out + own * (j->input == 0 ? j->m * j->k : j->k * j->n);
    for (int64_t i = 0; i < j->batch; i++) {
        if (matrix_of(j->c, j->input, i) != own) continue;
        const float *g = j->g + i * j->m * j->n;
        if (j->input == 0)
            pk_gemm(false, true, j->m, j->k, j->n, g, j->n, j->b + matrix_of(j->c, 1, i) * j->k * j->n, j->n, beta, d,
                    j->k);
        else
            pk_gemm(true, false, j->k, j->n, j->m, j->a + matrix_of(j->c, 0, i) * j->m * j->k, j->k, g, j->n, beta, d,
                    j->n);
        beta = 1;
    }
}

static pk_status backward(pk_call *c) {
    matmul_job j;
    job_of(c, &j);
    j.g = pk_f32(c->dout[0]);
    for (int i = 0; i < 2; i++) {
        if (!c->needs[i]) continue;
        const pk_tensor *x = c->in[i];
        PK_TRY(j.batch > 0 ? pk_grad_like(c, i) : pk_tensor_zeros(PK_FLOAT32, x->ndim, x->shape, &c->din[i]));
        j.out = pk_f32(c->din[i]);
        j.input = i;
        if (j.batch == 1 && i == 0) {
            PK_TRY(pk_gemm_parallel(false, true, j.m, j.k, j.n, j.g, j.n, j.b, j.n, 0, j.out, j.k));
        } else if (j.batch == 1) {
            PK_TRY(pk_gemm_parallel(true, false, j.k, j.n, j.m, j.a, j.k, j.g, j.n, 0, j.out, j.n));
        } else {
            j.own = 1;
            for (int d = 0; d < x->ndim - 2; d++) j.own *= x->shape[d];
            pk_parallel(j.own, gradient, &j);
        }
    }
    return PK_OK;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    int nd = c->meta[0].ndim;
    int64_t m = c->meta[0].shape[nd - 2], n = c->meta[0].shape[nd - 1], k = c->in[0]->shape[c->in[0]->ndim - 1],
            batch = 1;
    for (int d = 0; d < nd - 2; d++) batch *= c->meta[0].shape[d];
    for (int64_t i = 0; i < batch * m * n; i++) {
        const double *a = in[0] + (matrix_of(c, 0, i / (m * n)) * m + i / n % m) * k;
        const double *b = in[1] + matrix_of(c, 1, i / (m * n)) * k * n + i % n;
        out[0][i] = 0;
        for (int64_t e = 0; e < k; e++) out[0][i] += a[e] * b[e * n];
    }
}

static void onnx(pk_onnx *g, const pk_call *c) {
    (void)c;
    int a = pk_onnx_in(g, 0, PK_OWN_ORDER), b = pk_onnx_in(g, 1, PK_OWN_ORDER);
    pk_onnx_out(g, 0, pk_onnx_node2(g, "MatMul", a, b), PK_OWN_ORDER);
}

static pk_status macs(const pk_call *c, pk_macs *m) {
    double n = (double)c->in[0]->shape[c->in[0]->ndim - 1];
    for (int d = 0; d < c->meta[0].ndim; d++) n *= (double)c->meta[0].shape[d];
    pk_macs_add(m, NULL, n, n, n);
    return PK_OK;
}

const pk_op pk_op_matmul = {
    .name = "matmul",
    .doc = "Matrix product {...,m,k} x {...,k,n} -> {...,m,n}; the leading dimensions broadcast.",
    .args = {{"a", 0, PK_REAL, "{...,m,k}"}, {"b", 0, PK_REAL, "{...,k,n}"}},
    .needs_in = 3,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .macs = macs,
    .cases = (const char *const[]){"a:1x1 b:1x1", "a:7x17 b:17x5", "a:3x1x5x4 b:2x4x7", "a:5x3x4 b:4x2",
                                   "a:4x6 b:3x6x1", "a:300x40 b:40x290", "a:2x0 b:0x3", NULL},
};
