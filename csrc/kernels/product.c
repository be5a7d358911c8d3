/* How a product is cut into tasks. Wide or tall results: the right side is packed once, in blocks of columns, then every
 * task makes a tile of c. Packing costs a pass over the right side, so where c is much wider than tall the product is
 * turned, c' = b' a': the smaller side is packed and the tiles are written as columns. Small results of long sums (weight
 * gradients): every task sums its share of k into a partial result, packing as it goes, and the partials are added in
 * order. */
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
    /* the product as the kernel sees it: turned or not */
    bool turned, pack_transposed;
    int64_t m, n, k;
    const float *a, *b;
    int64_t a_row, a_k, ldb;
    int64_t row_tiles, column_blocks, shares;
    int64_t panel_stride;  /* floats of the largest packed block */
    float *panel;          /* one block of b after the other; with shares: one a worker */
    float *partial;        /* [shares][m][n] */
} job;

static void straight(job *j, const pk_product *p) {
    *j = (job){.p = p, .kernels = pk_k(), .pack_transposed = p->tb, .m = p->m, .n = p->n, .k = p->k, .a = p->a, .b = p->b,
               .a_row = p->ta ? 1 : p->lda, .a_k = p->ta ? p->lda : 1, .ldb = p->ldb};
}

static void turn(job *j, const pk_product *p) {
    *j = (job){.p = p, .kernels = pk_k(), .turned = true, .pack_transposed = !p->ta, .m = p->n, .n = p->m, .k = p->k,
               .a = p->b, .b = p->a, .a_row = p->tb ? p->ldb : 1, .a_k = p->tb ? 1 : p->ldb, .ldb = p->lda};
}

static const float *right(const job *j, int64_t k, int64_t column) {
    return j->b + (j->pack_transposed ? column * j->ldb + k : k * j->ldb + column);
}

/* ---- wide or tall results ---- */

static void pack_block(void *context, int64_t i, int worker) {
    const job *j = context;
    (void)worker;
    int64_t n0 = pk_chunk_begin(j->n, j->column_blocks, i), n1 = pk_chunk_begin(j->n, j->column_blocks, i + 1);
    j->kernels->gemm_pack(j->pack_transposed, j->k, n1 - n0, right(j, 0, n0), j->ldb, j->panel + i * j->panel_stride);
}

static void multiply_tile(void *context, int64_t index, int worker) {
    const job *j = context;
    const pk_product *p = j->p;
    (void)worker;
    int64_t i = index % j->row_tiles, b = index / j->row_tiles;
    int64_t n0 = pk_chunk_begin(j->n, j->column_blocks, b), n1 = pk_chunk_begin(j->n, j->column_blocks, b + 1);
    int64_t m0 = i * ROWS, m1 = pk_min(j->m, m0 + ROWS);
    const float *bias = p->bias ? p->bias + (j->turned ? m0 : n0) : NULL;
    float *c = p->c + (j->turned ? n0 * p->ldc + m0 : m0 * p->ldc + n0);
    j->kernels->gemm_packed(m1 - m0, n1 - n0, j->k, j->a + m0 * j->a_row, j->a_row, j->a_k, j->panel + b * j->panel_stride,
                            bias, false, j->turned, c, p->ldc);
}

static pk_status run_tiles(job *j) {
    j->row_tiles = pk_ceil_div(j->m, ROWS);
    j->column_blocks = pk_ceil_div(j->n, COLUMNS);
    j->panel_stride = pk_round_up(j->kernels->gemm_panel_size(j->k, pk_ceil_div(j->n, j->column_blocks)), 16);
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
    float *panel = j->panel + worker * j->panel_stride, *c = j->partial + share * j->m * j->n;
    int64_t end = pk_chunk_begin(j->k, j->shares, share + 1), first = pk_chunk_begin(j->k, j->shares, share);
    for (int64_t k = first; k < end; k += DEPTH) {
        int64_t depth = pk_min(DEPTH, end - k);
        j->kernels->gemm_pack(j->pack_transposed, depth, j->n, right(j, k, 0), j->ldb, panel);
        j->kernels->gemm_packed(j->m, j->n, depth, j->a + k * j->a_k, j->a_row, j->a_k, panel, NULL, k > first, false, c,
                                j->n);
    }
}

static void add_shares(void *context, int64_t row, int worker) {
    const job *j = context;
    const pk_product *p = j->p;
    float *c = p->c + row * p->ldc;
    (void)worker;
    memcpy(c, j->partial + row * j->n, (size_t)j->n * sizeof *c);
    for (int64_t s = 1; s < j->shares; s++) j->kernels->add_to(j->n, c, j->partial + (s * j->m + row) * j->n);
    if (p->bias) j->kernels->add_to(j->n, c, p->bias);
}

static pk_status run_shares(job *j) {
    j->panel_stride = pk_round_up(j->kernels->gemm_panel_size(DEPTH, j->n), 16);
    int64_t panels = pk_threads() * j->panel_stride, partials = j->shares * j->m * j->n;
    j->panel = pk_alloc((panels + partials) * (int64_t)sizeof(float));
    if (!j->panel) return pk_no_memory((panels + partials) * (int64_t)sizeof(float));
    j->partial = j->panel + panels;
    pk_parallel(j->shares, sum_share, j);
    pk_parallel(j->m, add_shares, j);
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
    job j;
    if (p->m <= 0 || p->n <= 0) return PK_OK;
    if (!ours(pk_isa_in_use())) return run_library(p);
    straight(&j, p);
    j.shares = pk_min(MAX_SHARES, p->k / SHARE);
    if (j.shares >= 2 && p->m * p->n <= SMALL_RESULT && p->k > 2 * p->m) return run_shares(&j);
    if (!p->ta && 2 * p->m <= p->n) turn(&j, p);
    return run_tiles(&j);
}
