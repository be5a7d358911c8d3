/* How a product is cut into tasks. Wide or tall results: b is packed once, in blocks of columns, then every task makes a
 * tile of c. Small results of long sums (weight gradients): every task sums its share of k into a partial result, packing
 * as it goes, and the partials are added in order. */
#include "kernels/product.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/gemm.h"
#include "core/pool.h"
#include "kernels/kernels.h"

enum { ROWS = 128, COLUMNS = 768, SHARE = 768, MAX_SHARES = 32, SMALL_RESULT = 1 << 19 };

typedef struct job {
    const pk_product *p;
    const pk_kernels *kernels;
    int64_t row_tiles, column_blocks, shares;
    int64_t panel_stride;  /* floats of the largest packed block */
    float *panel;          /* one block of b after the other; with shares: one a worker */
    float *partial;        /* [shares][m][n] */
} job;

static const float *left(const pk_product *p, int64_t row, int64_t k) {
    return p->a + (p->ta ? k * p->lda + row : row * p->lda + k);
}
static const float *right(const pk_product *p, int64_t k, int64_t column) {
    return p->b + (p->tb ? column * p->ldb + k : k * p->ldb + column);
}

static void multiply(const job *j, int64_t rows, int64_t columns, int64_t depth, const float *a, const float *panel,
                     const float *bias, bool accumulate, float *c, int64_t ldc) {
    const pk_product *p = j->p;
    j->kernels->gemm_packed(rows, columns, depth, a, p->ta ? 1 : p->lda, p->ta ? p->lda : 1, panel, bias, accumulate, c, ldc);
}

/* ---- wide or tall results ---- */

static void pack_block(void *context, int64_t i, int worker) {
    const job *j = context;
    const pk_product *p = j->p;
    (void)worker;
    int64_t n0 = pk_chunk_begin(p->n, j->column_blocks, i), n1 = pk_chunk_begin(p->n, j->column_blocks, i + 1);
    j->kernels->gemm_pack(p->tb, p->k, n1 - n0, right(p, 0, n0), p->ldb, j->panel + i * j->panel_stride);
}

static void multiply_tile(void *context, int64_t index, int worker) {
    const job *j = context;
    const pk_product *p = j->p;
    (void)worker;
    int64_t i = index % j->row_tiles, b = index / j->row_tiles;
    int64_t n0 = pk_chunk_begin(p->n, j->column_blocks, b), n1 = pk_chunk_begin(p->n, j->column_blocks, b + 1);
    int64_t m0 = i * ROWS, m1 = pk_min(p->m, m0 + ROWS);
    multiply(j, m1 - m0, n1 - n0, p->k, left(p, m0, 0), j->panel + b * j->panel_stride, p->bias ? p->bias + n0 : NULL, false,
             p->c + m0 * p->ldc + n0, p->ldc);
}

static pk_status run_tiles(job *j) {
    const pk_product *p = j->p;
    j->row_tiles = pk_ceil_div(p->m, ROWS);
    j->column_blocks = pk_ceil_div(p->n, COLUMNS);
    j->panel_stride = pk_round_up(j->kernels->gemm_panel_size(p->k, pk_ceil_div(p->n, j->column_blocks)), 16);
    int64_t bytes = j->column_blocks * j->panel_stride * (int64_t)sizeof(float);
    j->panel = pk_alloc(bytes);
    if (!j->panel) return pk_no_memory(bytes);
    pk_parallel(j->column_blocks, pack_block, j);
    pk_parallel(j->row_tiles * j->column_blocks, multiply_tile, j);
    pk_free(j->panel);
    return PK_OK;
}

/* ---- long sums ---- */

enum { DEPTH = 192 };

static void sum_share(void *context, int64_t share, int worker) {
    const job *j = context;
    const pk_product *p = j->p;
    float *panel = j->panel + worker * j->panel_stride, *c = j->partial + share * p->m * p->n;
    int64_t end = pk_chunk_begin(p->k, j->shares, share + 1), first = pk_chunk_begin(p->k, j->shares, share);
    for (int64_t k = first; k < end; k += DEPTH) {
        int64_t depth = pk_min(DEPTH, end - k);
        j->kernels->gemm_pack(p->tb, depth, p->n, right(p, k, 0), p->ldb, panel);
        multiply(j, p->m, p->n, depth, left(p, 0, k), panel, NULL, k > first, c, p->n);
    }
}

static void add_shares(void *context, int64_t row, int worker) {
    const job *j = context;
    const pk_product *p = j->p;
    float *c = p->c + row * p->ldc;
    (void)worker;
    memcpy(c, j->partial + row * p->n, (size_t)p->n * sizeof *c);
    for (int64_t s = 1; s < j->shares; s++) j->kernels->add_to(p->n, c, j->partial + (s * p->m + row) * p->n);
    if (p->bias) j->kernels->add_to(p->n, c, p->bias);
}

static pk_status run_shares(job *j) {
    const pk_product *p = j->p;
    j->panel_stride = pk_round_up(j->kernels->gemm_panel_size(DEPTH, p->n), 16);
    int64_t panels = pk_threads() * j->panel_stride, partials = j->shares * p->m * p->n;
    j->panel = pk_alloc((panels + partials) * (int64_t)sizeof(float));
    if (!j->panel) return pk_no_memory((panels + partials) * (int64_t)sizeof(float));
    j->partial = j->panel + panels;
    pk_parallel(j->shares, sum_share, j);
    pk_parallel(p->m, add_shares, j);
    pk_free(j->panel);
    return PK_OK;
}

/* ---- which way ---- */

static bool ours(pk_isa_level level) { return level == PK_ISA_AVX2 || level == PK_ISA_AVX512 || level == PK_ISA_REF; }

static pk_status run_library(const pk_product *p) {
    for (int64_t i = 0; p->bias && i < p->m; i++) memcpy(p->c + i * p->ldc, p->bias, (size_t)p->n * sizeof *p->c);
    return pk_gemm_parallel(p->ta, p->tb, p->m, p->n, p->k, p->a, p->lda, p->b, p->ldb, p->bias ? 1 : 0, p->c, p->ldc);
}

pk_status pk_product_run(const pk_product *p) {
    if (p->m <= 0 || p->n <= 0) return PK_OK;
    if (!ours(pk_isa_in_use())) return run_library(p);
    job j = {.p = p, .kernels = pk_k()};
    int64_t result = p->m * p->n;
    j.shares = pk_min(MAX_SHARES, p->k / SHARE);
    bool long_sum = j.shares >= 2 && result <= SMALL_RESULT && p->k > 2 * p->m;
    return long_sum ? run_shares(&j) : run_tiles(&j);
}
