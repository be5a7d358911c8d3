/* How a product is cut into tasks. Most: every task makes a block of c and packs what it needs of the right side as it
 * goes. Where c has a few rows only, packing would cost more than the products: the product is turned, c' = b' a', so that
 * the small side is packed and the blocks are written as columns. Small results of long sums (weight gradients): every
 * task sums its share of k into a partial result, and the partials are added in order. */
#include "kernels/product.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/gemm.h"
#include "core/pool.h"
#include "kernels/kernels.h"

enum {
    ROWS = 256, COLUMNS = 10 * PK_GEMM_STRIP, /* of a block, at most: its parts stay in the second cache */
    TASKS = 16,                               /* aim at this many, while every block has a strip */
    ROW_UNIT = 8,
    FAR = 512,                                /* floats: half a page */
    FEW_ROWS = 128,                           /* of a block whose left side is stored by columns, when there are few tasks */
    FLAT = 16,                                /* rows up to which a result is turned */
    SHARE = 768, MAX_SHARES = 32, SMALL_RESULT = 1 << 19
};

typedef struct job {
    const pk_kernels *kernels;
    pk_gemm_block whole; /* the product as the kernel sees it: turned or not */
    int64_t row_blocks, column_blocks, shares;
    int64_t scratch_stride;
    float *scratch; /* one a worker */
    float *partial; /* [shares][m][n] */
} job;

static pk_gemm_block straight(const pk_product *p) {
    return (pk_gemm_block){.m = p->m, .n = p->n, .k = p->k, .a = p->a, .a_row = p->ta ? 1 : p->lda,
                           .a_k = p->ta ? p->lda : 1, .b = p->b, .ldb = p->ldb, .b_turned = p->tb, .bias = p->bias,
                           .c = p->c, .ldc = p->ldc};
}

static pk_gemm_block turned(const pk_product *p) {
    return (pk_gemm_block){.m = p->n, .n = p->m, .k = p->k, .a = p->b, .a_row = p->tb ? p->ldb : 1,
                           .a_k = p->tb ? 1 : p->ldb, .b = p->a, .ldb = p->lda, .b_turned = !p->ta, .bias = p->bias,
                           .c = p->c, .ldc = p->ldc, .c_turned = true};
}

/* The part of g with rows m0 .. m1-1 and columns n0 .. n1-1. */
static pk_gemm_block part_of(const pk_gemm_block *g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
    pk_gemm_block part = *g;
    part.m = m1 - m0;
    part.n = n1 - n0;
    part.a += m0 * g->a_row;
    part.b += g->b_turned ? n0 * g->ldb : n0;
    part.c += g->c_turned ? n0 * g->ldc + m0 : m0 * g->ldc + n0;
    if (g->bias) part.bias += g->c_turned ? m0 : n0;
    return part;
}

static pk_status new_scratch(job *j, int64_t more) {
    j->scratch_stride = j->kernels->gemm_scratch();
    const int64_t bytes = (pk_threads() * j->scratch_stride + more) * (int64_t)sizeof(float);
    j->scratch = pk_alloc(bytes);
    return j->scratch ? PK_OK : pk_no_memory(bytes);
}

/* Block i of the rows: whole tiles of the kernel's, whose height divides ROW_UNIT, but for the last. */
static int64_t row_begin(const job *j, int64_t i) {
    return pk_min(j->whole.m, pk_chunk_begin(pk_ceil_div(j->whole.m, ROW_UNIT), j->row_blocks, i) * ROW_UNIT);
}

/* ---- blocks ---- */

static void multiply_block(void *context, int64_t index, int worker) {
    const job *j = context;
    const pk_gemm_block *w = &j->whole;
    const int64_t i = index % j->row_blocks, b = index / j->row_blocks, strips = pk_ceil_div(w->n, PK_GEMM_STRIP);
    pk_gemm_block part = part_of(w, row_begin(j, i), row_begin(j, i + 1),
                                 pk_chunk_begin(strips, j->column_blocks, b) * PK_GEMM_STRIP,
                                 pk_min(w->n, pk_chunk_begin(strips, j->column_blocks, b + 1) * PK_GEMM_STRIP));
    part.scratch = j->scratch + worker * j->scratch_stride;
    j->kernels->gemm_block(&part);
}

/* A left side whose products lie far apart is packed for each block, which pays over many columns: its rows are divided
 * before the columns are. */
static void split(job *j) {
    const pk_gemm_block *w = &j->whole;
    const bool packed = w->a_row == 1 && w->a_k >= FAR;
    const int64_t tasks = packed ? TASKS / 2 : TASKS;
    j->row_blocks = pk_ceil_div(w->m, ROWS);
    if (packed) j->row_blocks = pk_max(j->row_blocks, pk_min(pk_ceil_div(w->m, ROWS / 2), tasks));
    j->column_blocks = pk_max(pk_ceil_div(w->n, COLUMNS),
                              pk_min(pk_ceil_div(w->n, PK_GEMM_STRIP), pk_ceil_div(tasks, j->row_blocks)));
}

static pk_status run_blocks(job *j) {
    split(j);
    PK_TRY(new_scratch(j, 0));
    pk_parallel(j->row_blocks * j->column_blocks, multiply_block, j);
    pk_free(j->scratch);
    return PK_OK;
}

/* ---- long sums ---- */

static void sum_share(void *context, int64_t share, int worker) {
    const job *j = context;
    const pk_gemm_block *w = &j->whole;
    const int64_t k0 = pk_chunk_begin(w->k, j->shares, share);
    pk_gemm_block part = *w;
    part.k = pk_chunk_begin(w->k, j->shares, share + 1) - k0;
    part.a += k0 * w->a_k;
    part.b += w->b_turned ? k0 : k0 * w->ldb;
    part.c = j->partial + share * w->m * w->n;
    part.ldc = w->n;
    part.bias = NULL;
    part.scratch = j->scratch + worker * j->scratch_stride;
    for (int64_t i = 0; i < j->row_blocks; i++) {
        pk_gemm_block rows = part_of(&part, row_begin(j, i), row_begin(j, i + 1), 0, w->n);
        j->kernels->gemm_block(&rows);
    }
}

static void add_shares(void *context, int64_t row, int worker) {
    const job *j = context;
    const pk_gemm_block *w = &j->whole;
    float *c = w->c + row * w->ldc;
    (void)worker;
    memcpy(c, j->partial + row * w->n, (size_t)w->n * sizeof *c);
    for (int64_t s = 1; s < j->shares; s++) j->kernels->add_to(w->n, c, j->partial + (s * w->m + row) * w->n);
    if (w->bias) j->kernels->add_to(w->n, c, w->bias);
}

static pk_status run_shares(job *j) {
    const pk_gemm_block *w = &j->whole;
    j->row_blocks = pk_ceil_div(w->m, ROWS);
    PK_TRY(new_scratch(j, j->shares * w->m * w->n));
    j->partial = j->scratch + pk_threads() * j->scratch_stride;
    pk_parallel(j->shares, sum_share, j);
    pk_parallel(w->m, add_shares, j);
    pk_free(j->scratch);
    return PK_OK;
}

/* ---- which way ---- */

static bool ours(pk_isa_level level) { return level == PK_ISA_AVX2 || level == PK_ISA_AVX512 || level == PK_ISA_REF; }

static pk_status run_library(const pk_product *p) {
    for (int64_t i = 0; p->bias && i < p->m; i++) memcpy(p->c + i * p->ldc, p->bias, (size_t)p->n * sizeof *p->c);
    return pk_gemm_parallel(p->ta, p->tb, p->m, p->n, p->k, p->a, p->lda, p->b, p->ldb, p->bias ? 1 : 0, p->c, p->ldc);
}

int64_t pk_product_scratch(void) { return ours(pk_isa_in_use()) ? pk_k()->gemm_scratch() : 16; }

static void here_by_library(const pk_product *p, bool accumulate) {
    for (int64_t i = 0; p->bias && i < p->m; i++) {
        float *c = p->c + i * p->ldc;
        if (accumulate) pk_k()->add_to(p->n, c, p->bias);
        else memcpy(c, p->bias, (size_t)p->n * sizeof *c);
    }
    pk_gemm(p->ta, p->tb, p->m, p->n, p->k, p->a, p->lda, p->b, p->ldb, p->bias || accumulate, p->c, p->ldc);
}

void pk_product_here(const pk_product *p, bool accumulate, float *scratch) {
    if (p->m <= 0 || p->n <= 0) return;
    if (!ours(pk_isa_in_use())) {
        here_by_library(p, accumulate);
        return;
    }
    pk_gemm_block g = straight(p);
    g.accumulate = accumulate;
    g.scratch = scratch;
    pk_k()->gemm_block(&g);
}

pk_status pk_product_run(const pk_product *p) {
    if (p->m <= 0 || p->n <= 0) return PK_OK;
    if (!ours(pk_isa_in_use())) return run_library(p);
    job j = {.kernels = pk_k(), .shares = pk_min(MAX_SHARES, p->k / SHARE)};
    const bool flat = !p->ta && p->m <= FLAT && p->m < p->n;
    j.whole = flat ? turned(p) : straight(p);
    if (j.shares >= 2 && p->m * p->n <= SMALL_RESULT && p->k > 2 * p->m && !flat) return run_shares(&j);
    return run_blocks(&j);
}
