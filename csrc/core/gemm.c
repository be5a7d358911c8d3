/* Matrix products on OpenBLAS, held at one thread: the pool works on tiles of fixed size instead, so that a result
 * does not depend on the number of threads. */
#include "core/gemm.h"

#include <cblas.h>
#include <pthread.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void hold_at_one(void) { openblas_set_num_threads(1); }

const char *pk_gemm_library(void) { return openblas_get_config(); }

void pk_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
             float beta, float *c, int64_t ldc) {
    pthread_once(&once, hold_at_one);
    if (m <= 0 || n <= 0) return;
    if (beta == 0) /* OpenBLAS may skip clearing NaN where k is 0; and beta 0 must not read c */
        for (int64_t i = 0; i < m && k <= 0; i++) memset(c + i * ldc, 0, (size_t)n * sizeof *c);
    if (k <= 0) return;
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n,
                (blasint)k, 1.0f, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

enum { TILE_M = 256, TILE_N = 256, LONG_K = 2048, MAX_SPLITS = 16 };

typedef struct job {
    bool ta, tb;
    int64_t m, n, k, lda, ldb, ldc;
    const float *a, *b;
    float beta, *c;
    int64_t tiles_m, tiles_n, splits;
    float *partial; /* [splits][m][n], null when there is one split */
} job;

static void tile(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    int64_t split = index / (j->tiles_m * j->tiles_n), t = index % (j->tiles_m * j->tiles_n);
    int64_t i = t / j->tiles_n, o = t % j->tiles_n;
    int64_t m0 = pk_chunk_begin(j->m, j->tiles_m, i), m1 = pk_chunk_begin(j->m, j->tiles_m, i + 1);
    int64_t n0 = pk_chunk_begin(j->n, j->tiles_n, o), n1 = pk_chunk_begin(j->n, j->tiles_n, o + 1);
    int64_t k0 = pk_chunk_begin(j->k, j->splits, split), k1 = pk_chunk_begin(j->k, j->splits, split + 1);
    const float *a = j->a + (j->ta ? k0 * j->lda + m0 : m0 * j->lda + k0);
    const float *b = j->b + (j->tb ? n0 * j->ldb + k0 : k0 * j->ldb + n0);
    if (j->partial)
        pk_gemm(j->ta, j->tb, m1 - m0, n1 - n0, k1 - k0, a, j->lda, b, j->ldb, 0,
                j->partial + (split * j->m + m0) * j->n + n0, j->n);
    else
        pk_gemm(j->ta, j->tb, m1 - m0, n1 - n0, k1 - k0, a, j->lda, b, j->ldb, j->beta, j->c + m0 * j->ldc + n0, j->ldc);
}

/* Add the partial results of row m in the order of the splits. */
static void add_splits(void *context, int64_t row, int worker) {
    (void)worker;
    const job *j = context;
    float *c = j->c + row * j->ldc;
    for (int64_t o = 0; o < j->n; o++) {
        float sum = j->beta == 0 ? 0 : j->beta * c[o];
        for (int64_t s = 0; s < j->splits; s++) sum += j->partial[(s * j->m + row) * j->n + o];
        c[o] = sum;
    }
}

pk_status pk_gemm_parallel(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                           int64_t ldb, float beta, float *c, int64_t ldc) {
    if (m <= 0 || n <= 0) return PK_OK;
    job j = {ta, tb, m, n, k, lda, ldb, ldc, a, b, beta, c, pk_ceil_div(m, TILE_M), pk_ceil_div(n, TILE_N), 1, NULL};
    if (j.tiles_m * j.tiles_n < MAX_SPLITS && k >= 2 * LONG_K)
        j.splits = pk_min(MAX_SPLITS, k / LONG_K);
    if (j.splits > 1) {
        j.partial = pk_alloc(j.splits * m * n * (int64_t)sizeof(float));
        if (!j.partial) return pk_no_memory(j.splits * m * n * (int64_t)sizeof(float));
    }
    pk_parallel(j.tiles_m * j.tiles_n * j.splits, tile, &j);
    if (j.partial) pk_parallel(m, add_splits, &j);
    pk_free(j.partial);
    return PK_OK;
}
