/* Packed matrix products: every supported level against the scalar truth on random shapes between guard pages, both
 * sides in both orders, turned and not, added and not; --bench: the shapes of pelk_tiny's layers. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "kernels/kernels.h"
#include "kernels/product.h"

enum { ROUNDS = 1200 };

typedef struct shape {
    int64_t m, n, k, lda, ldb, ldc;
    bool ta, tb, bias, accumulate, turned;
} shape;

/* Sizes round the tiles (8 x 48, 4 x 24, blocks of 192 products), and small ones. */
static int64_t extent(check_options *o) {
    static const int edges[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192};
    if (check_between(o, 0, 2)) return check_between(o, 1, 40);
    int64_t n = edges[check_between(o, 0, 11)] + check_between(o, -1, 1);
    return n < 1 ? 1 : n;
}

static shape draw(check_options *o) {
    shape s = {.m = extent(o), .n = extent(o), .k = check_between(o, 0, 20) ? extent(o) : 0};
    s.ta = check_between(o, 0, 1), s.tb = check_between(o, 0, 1), s.bias = check_between(o, 0, 1);
    s.accumulate = check_between(o, 0, 1), s.turned = check_between(o, 0, 1);
    s.lda = (s.ta ? s.m : s.k) + check_between(o, 0, 3);
    s.ldb = (s.tb ? s.k : s.n) + check_between(o, 0, 3);
    s.ldc = (s.turned ? s.m : s.n) + check_between(o, 0, 3);
    return s;
}

/* Elements of a matrix of rows x cols with row stride ld: the last row ends where it ends. */
static int64_t span(int64_t rows, int64_t cols, int64_t ld) { return rows && cols ? (rows - 1) * ld + cols : 0; }

static void run(check_options *o, pk_isa_level level, const shape *s, const float *a, const float *b, const float *bias,
                float *c) {
    const pk_kernels *k = pk_kernels_at(level);
    float *scratch = check_floats(o, k->gemm_scratch());
    const pk_gemm_block g = {.m = s->m, .n = s->n, .k = s->k, .a = a, .a_row = s->ta ? 1 : s->lda,
                             .a_k = s->ta ? s->lda : 1, .b = b, .ldb = s->ldb, .b_turned = s->tb, .bias = bias,
                             .accumulate = s->accumulate, .c = c, .ldc = s->ldc, .c_turned = s->turned,
                             .scratch = scratch};
    k->gemm_block(&g);
}

/* Sums of k products differ by rounding only: (k + 4) * 2^-24 of the sum of magnitudes, at most k + 2 here. */
static void compare(check_options *o, pk_isa_level level, const shape *s, const float *got, const float *want, int64_t n,
                    bool whole) {
    double bound = whole ? 0 : (double)(s->k + 4) * (double)(s->k + 2) * 0x1p-24;
    for (int64_t i = 0; i < n; i++) {
        if (fabs((double)got[i] - (double)want[i]) <= bound) continue;
        check_that(o, false, "gemm %s: m %lld n %lld k %lld ta %d tb %d turned %d: %.9g, not %.9g", pk_isa_name(level),
                   (long long)s->m, (long long)s->n, (long long)s->k, s->ta, s->tb, s->turned, (double)got[i],
                   (double)want[i]);
        return;
    }
    check_that(o, true, "gemm");
}

static void round_of(check_options *o) {
    const shape s = draw(o);
    bool whole = check_between(o, 0, 1);
    int64_t na = s.ta ? span(s.k, s.m, s.lda) : span(s.m, s.k, s.lda);
    int64_t nb = s.tb ? span(s.n, s.k, s.ldb) : span(s.k, s.n, s.ldb);
    int64_t nc = s.turned ? span(s.n, s.m, s.ldc) : span(s.m, s.n, s.ldc);
    float *a = check_floats(o, na), *b = check_floats(o, nb), *start = check_floats(o, nc), *want = check_floats(o, nc);
    float *bias = s.bias ? check_floats(o, s.turned ? s.m : s.n) : NULL;
    if (whole) {
        check_fill_whole(o, a, na, 8), check_fill_whole(o, b, nb, 8), check_fill_whole(o, start, nc, 8);
        if (bias) check_fill_whole(o, bias, s.turned ? s.m : s.n, 8);
    } else {
        check_fill(o, a, na), check_fill(o, b, nb), check_fill(o, start, nc);
        if (bias) check_fill(o, bias, s.turned ? s.m : s.n);
    }
    memcpy(want, start, (size_t)nc * sizeof *want);
    run(o, PK_ISA_REF, &s, a, b, bias, want);
    for (int level = PK_ISA_GENERIC; level < PK_ISA_COUNT; level++) {
        if (!pk_kernels_at((pk_isa_level)level)) continue;
        float *got = check_floats(o, nc);
        memcpy(got, start, (size_t)nc * sizeof *got);
        run(o, (pk_isa_level)level, &s, a, b, bias, got);
        compare(o, (pk_isa_level)level, &s, got, want, nc, whole);
    }
    check_that(o, check_release_all(o), "gemm: wrote outside its range");
}

/* ---- bench ---- */

static void run_product(void *context) { pk_product_run(context); }

static void bench(check_options *o) {
    static const struct {
        const char *name;
        int64_t m, n, k;
        bool ta, tb;
    } shapes[] = {
        {"in cache", 256, 480, 192, false, false},
        {"stage 1 fc1", 3136, 496, 124, false, true},    {"stage 1 fc2", 3136, 124, 496, false, true},
        {"stage 1 fc1 to x", 3136, 124, 496, false, false}, {"stage 1 fc1 to w", 496, 124, 3136, true, false},
        {"stage 2 fc1", 784, 996, 249, false, true},     {"stage 2 fc1 to w", 996, 249, 784, true, false},
        {"stage 3 fc1", 196, 1996, 499, false, true},    {"stage 3 fc2", 196, 499, 1996, false, true},
        {"stage 3 fc1 to x", 196, 499, 1996, false, false}, {"stage 3 fc1 to w", 1996, 499, 196, true, false},
        {"stage 4 fc1", 49, 3992, 998, false, true},     {"stage 4 fc2", 49, 998, 3992, false, true},
        {"stage 4 fc1 to w", 3992, 998, 49, true, false}, {"stage 4 fc1 to x", 49, 998, 3992, false, false},
        {"384 channels fc1", 392, 1536, 384, false, true}, {"384 channels fc2", 392, 384, 1536, false, true},
        {"384 fc2 to w", 384, 1536, 392, true, false},   {"768 channels fc1", 98, 3072, 768, false, true},
        {"768 channels fc2", 98, 768, 3072, false, true}, {"768 fc1 to x", 98, 768, 3072, false, false},
        {"768 fc1 to w", 3072, 768, 98, true, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t m = shapes[i].m, n = shapes[i].n, k = shapes[i].k;
        float *a = pk_alloc(m * k * 4), *b = pk_alloc(n * k * 4), *c = pk_alloc(m * n * 4);
        check_fill(o, a, m * k), check_fill(o, b, n * k);
        pk_product p = {.ta = shapes[i].ta, .tb = shapes[i].tb, .m = m, .n = n, .k = k, .a = a, .b = b,
                        .lda = shapes[i].ta ? m : k, .ldb = shapes[i].tb ? k : n, .c = c, .ldc = n};
        double seconds, flops = 2.0 * (double)m * (double)n * (double)k;
        double share = check_share(run_product, &p, flops, &seconds);
        printf("%-18s %5lld x %4lld x %4lld  %8.3f ms  %6.1f GFLOP/s  %3.0f %% of the peak of %d threads\n",
               shapes[i].name, (long long)m, (long long)n, (long long)k, seconds * 1e3, flops / seconds / 1e9,
               100 * share / pk_threads(), pk_threads());
        pk_free(a), pk_free(b), pk_free(c);
    }
}

int check_gemm(check_options *o) {
    if (!check_wanted(o, "gemm")) return 0;
    if (o->bench) {
        bench(o);
        return 0;
    }
    for (int i = 0; i < ROUNDS; i++) round_of(o);
    return 0;
}
