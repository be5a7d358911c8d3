/* Elementwise, normalisation, softmax and optimiser kernels: every supported level against the scalar truth, on random
 * sizes between guard pages; special values; --bench: elements a second. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/kernels.h"

enum { ROUNDS = 1000 };

typedef void map1(int64_t n, const float *x, float *y);
typedef void map2(int64_t n, const float *a, const float *b, float *y);

static const struct {
    const char *name;
    size_t at;
    float low, high; /* range of the inputs */
} maps1[] = {
#define MAP(kernel, low, high) {#kernel, offsetof(pk_kernels, kernel), low, high}
    MAP(map_relu, -3, 3),    MAP(map_gelu, -9, 9),  MAP(map_silu, -30, 30), MAP(map_sigmoid, -30, 30),
    MAP(map_tanh, -4, 4),    MAP(map_exp, -20, 20), MAP(map_log, 1e-3f, 5), MAP(map_sqrt, 0, 5),
    MAP(map_abs, -3, 3),     MAP(map_neg, -3, 3),
}, maps2[] = {
    MAP(map_add, -3, 3),      MAP(map_sub, -3, 3),     MAP(map_mul, -3, 3),   MAP(map_div, 0.5f, 3),
    MAP(map_max, -3, 3),      MAP(map_min, -3, 3),     MAP(grad_relu, -3, 3), MAP(grad_gelu, -6, 6),
    MAP(grad_silu, -20, 20),  MAP(grad_sigmoid, 0, 1), MAP(grad_tanh, -1, 1), MAP(grad_sqrt, 0.1f, 3),
    MAP(grad_abs, -3, 3),
#undef MAP
};

static map1 *map1_at(const pk_kernels *k, size_t at) {
    map1 *f;
    memcpy(&f, (const char *)k + at, sizeof f);
    return f;
}
static map2 *map2_at(const pk_kernels *k, size_t at) {
    map2 *f;
    memcpy(&f, (const char *)k + at, sizeof f);
    return f;
}

static float *drawn(check_options *o, int64_t n, float low, float high) {
    float *p = check_floats(o, n);
    for (int64_t i = 0; i < n; i++) p[i] = low + (high - low) * (0.5f + 0.5f * check_uniform(o));
    return p;
}

/* |a - b| <= tolerance * (1 + |b|), element by element; NaN equals NaN. */
static void same(check_options *o, const char *name, pk_isa_level level, const float *a, const float *b, int64_t n,
                 double tolerance) {
    for (int64_t i = 0; i < n; i++) {
        bool ok = (isnan(a[i]) && isnan(b[i])) || a[i] == b[i] ||
                  fabs((double)a[i] - (double)b[i]) <= tolerance * (1 + fabs((double)b[i]));
        if (!ok) {
            check_that(o, false, "%s %s: element %lld of %lld is %.9g, not %.9g", name, pk_isa_name(level),
                       (long long)i, (long long)n, (double)a[i], (double)b[i]);
            return;
        }
    }
    check_that(o, true, "%s", name);
}

static void finish(check_options *o, const char *name, pk_isa_level level) {
    check_that(o, check_release_all(o), "%s %s: wrote outside its range", name, pk_isa_name(level));
}

static int64_t length(check_options *o) {
    return check_between(o, 0, 5) ? check_between(o, 0, 70) : check_between(o, 0, 900);
}

static void check_maps(check_options *o, const pk_kernels *k, const pk_kernels *ref, pk_isa_level level) {
    for (size_t m = 0; m < sizeof maps1 / sizeof *maps1; m++) {
        int64_t n = length(o);
        float *x = drawn(o, n, maps1[m].low, maps1[m].high), *y = check_floats(o, n), *want = check_floats(o, n);
        map1_at(ref, maps1[m].at)(n, x, want);
        map1_at(k, maps1[m].at)(n, x, y);
        same(o, maps1[m].name, level, y, want, n, 3e-7);
        finish(o, maps1[m].name, level);
    }
    for (size_t m = 0; m < sizeof maps2 / sizeof *maps2; m++) {
        int64_t n = length(o);
        float *a = drawn(o, n, maps2[m].low, maps2[m].high), *b = drawn(o, n, 0.5f, 2);
        float *y = check_floats(o, n), *want = check_floats(o, n);
        map2_at(ref, maps2[m].at)(n, a, b, want);
        map2_at(k, maps2[m].at)(n, a, b, y);
        same(o, maps2[m].name, level, y, want, n, 6e-7);
        finish(o, maps2[m].name, level);
    }
}

/* In place, as the tiles of an MLP use it. */
static void check_gelu_and_grad(check_options *o, const pk_kernels *k, const pk_kernels *ref, pk_isa_level level) {
    int64_t n = length(o);
    float *x = drawn(o, n, -9, 9), *g = drawn(o, n, -2, 2), *y = check_floats(o, n), *dx = check_floats(o, n);
    ref->gelu_and_grad(n, x, g, y, dx);
    k->gelu_and_grad(n, x, g, x, g);
    same(o, "gelu_and_grad y", level, x, y, n, 3e-7);
    same(o, "gelu_and_grad dx", level, g, dx, n, 6e-7);
    finish(o, "gelu_and_grad", level);
}

/* NaN, infinities, zeros, subnormals, the edges of exp. */
static void check_special(check_options *o, const pk_kernels *k, const pk_kernels *ref, pk_isa_level level) {
    static const float special[] = {NAN,    INFINITY, -INFINITY, 0.0f,    -0.0f,   1e-40f,  -1e-40f,
                                    88.7f,  89.5f,    -87.5f,    -103.0f, -120.0f, 1e30f,   -1e30f,
                                    1e-30f, 1.0f,     0.625f,    14.0f,   -14.0f,  3.4e38f, -3.4e38f};
    enum { N = sizeof special / sizeof *special };
    float y[N], want[N];
    for (size_t m = 0; m < sizeof maps1 / sizeof *maps1; m++) {
        map1_at(ref, maps1[m].at)(N, special, want);
        map1_at(k, maps1[m].at)(N, special, y);
        for (int i = 0; i < N; i++) {
            double tolerance = 2e-6 * fabs((double)want[i]) + 1e-37;
            bool infinite_product = !strcmp(maps1[m].name, "map_gelu") || !strcmp(maps1[m].name, "map_silu");
            if (infinite_product && special[i] < -80) tolerance = INFINITY; /* 0 or NaN for -inf, a tiny number else */
            check_that(o, (isnan(y[i]) && isnan(want[i])) || y[i] == want[i] ||
                              fabs((double)y[i] - (double)want[i]) <= tolerance || tolerance == INFINITY,
                       "%s %s: of %g it makes %.9g, not %.9g", maps1[m].name, pk_isa_name(level), (double)special[i],
                       (double)y[i], (double)want[i]);
        }
    }
    static const float left[] = {NAN, 1, NAN, INFINITY, -INFINITY, 2, 0}, right[] = {1, NAN, NAN, INFINITY, 1, 2, -1};
    for (size_t m = 4; m < 6; m++) {
        map2_at(ref, maps2[m].at)(7, left, right, want);
        map2_at(k, maps2[m].at)(7, left, right, y);
        same(o, maps2[m].name, level, y, want, 7, 0);
    }
}

static void check_sums(check_options *o, const pk_kernels *k, const pk_kernels *ref, pk_isa_level level) {
    int64_t n = length(o);
    float *a = drawn(o, n, -1, 1), *b = drawn(o, n, -1, 1);
    double bound = 1e-13 * (double)(n + 1);
    check_that(o, fabs(k->sum(n, a) - ref->sum(n, a)) <= bound, "sum %s of %lld", pk_isa_name(level), (long long)n);
    check_that(o, fabs(k->dot(n, a, b) - ref->dot(n, a, b)) <= bound, "dot %s of %lld", pk_isa_name(level),
               (long long)n);
    check_that(o, fabs(k->sum_squares(n, a) - ref->sum_squares(n, a)) <= bound, "sum_squares %s", pk_isa_name(level));
    finish(o, "sums", level);
    float *x = drawn(o, n, -1, 1), *want = check_floats(o, n), *add = drawn(o, n, -1, 1);
    for (int64_t i = 0; i < n; i++) want[i] = x[i] * 0.75f + add[i];
    k->scale(n, x, 0.75f);
    k->add_to(n, x, add);
    same(o, "scale, add_to", level, x, want, n, 0);
    finish(o, "scale, add_to", level);
}

static float *twin(check_options *o, const float *p, int64_t n) {
    float *q = check_floats(o, n);
    memcpy(q, p, (size_t)n * sizeof *q);
    return q;
}

static void check_norms(check_options *o, const pk_kernels *k, const pk_kernels *ref, pk_isa_level level) {
    int64_t rows = check_between(o, 1, 9), c = check_between(o, 1, 150), stride = c + check_between(o, 0, 3);
    int64_t room = (rows - 1) * stride + c, n = rows * c;
    bool some = check_between(o, 0, 1);
    float *x = drawn(o, room, -1, 3), *g = drawn(o, n, -1, 1), *w = some ? drawn(o, c, 0.5f, 2) : NULL;
    float *b = check_between(o, 0, 1) ? drawn(o, c, -1, 1) : NULL;
    float *y = check_floats(o, n), *want = check_floats(o, n), *m = check_floats(o, rows), *s = check_floats(o, rows);
    float *m2 = check_floats(o, rows), *s2 = check_floats(o, rows);
    ref->layer_norm_rows(rows, c, x, stride, w, b, 1e-3f, want, m2, s2);
    k->layer_norm_rows(rows, c, x, stride, w, b, 1e-3f, y, m, s);
    same(o, "layer_norm_rows", level, y, want, n, 1e-5);
    same(o, "layer_norm_rows mean", level, m, m2, rows, 1e-6);
    float *dw = drawn(o, c, -1, 1), *db = drawn(o, c, -1, 1), *dw2 = twin(o, dw, c), *db2 = twin(o, db, c);
    ref->layer_norm_grad(rows, c, x, stride, w, m2, s2, g, want, dw2, db2);
    k->layer_norm_grad(rows, c, x, stride, w, m2, s2, g, y, dw, db);
    same(o, "layer_norm_grad dx", level, y, want, n, 5e-5);
    same(o, "layer_norm_grad dw", level, dw, dw2, c, 2e-5);
    same(o, "layer_norm_grad db", level, db, db2, c, 1e-5);
    finish(o, "layer_norm", level);

    x = drawn(o, room, -1, 3), g = drawn(o, room, -1, 1);
    float *shift = some ? drawn(o, c, -1, 1) : NULL, *a = drawn(o, c, -2, 2),
          *d = check_between(o, 0, 1) ? drawn(o, c, -1, 1) : NULL;
    float *u = check_floats(o, c), *v = check_floats(o, c), *u2 = check_floats(o, c), *v2 = check_floats(o, c);
    k->channel_sum(rows, c, x, stride, u), ref->channel_sum(rows, c, x, stride, u2);
    same(o, "channel_sum", level, u, u2, c, 2e-6);
    k->channel_dot(rows, c, x, stride, shift, g, stride, u), ref->channel_dot(rows, c, x, stride, shift, g, stride, u2);
    same(o, "channel_dot", level, u, u2, c, 5e-6);
    k->channel_moments(rows, c, x, stride, u, v), ref->channel_moments(rows, c, x, stride, u2, v2);
    same(o, "channel_moments mean", level, u, u2, c, 2e-6);
    same(o, "channel_moments m2", level, v, v2, c, 1e-5);
    y = check_floats(o, n), want = check_floats(o, n);
    k->affine_rows(rows, c, x, stride, shift, a, d, y), ref->affine_rows(rows, c, x, stride, shift, a, d, want);
    same(o, "affine_rows", level, y, want, n, 2e-6);
    float *dy = drawn(o, n, -1, 1), *kk = drawn(o, c, -1, 1);
    k->affine_grad(rows, c, x, stride, shift, kk, dy, a, d, y);
    ref->affine_grad(rows, c, x, stride, shift, kk, dy, a, d, want);
    same(o, "affine_grad", level, y, want, n, 2e-6);
    k->residual_rows(rows, c, x, stride, d, 1.25f, g, stride, y);
    ref->residual_rows(rows, c, x, stride, d, 1.25f, g, stride, want);
    same(o, "residual_rows", level, y, want, n, 2e-6);
    finish(o, "channels", level);
}

static void check_softmax(check_options *o, const pk_kernels *k, const pk_kernels *ref, pk_isa_level level) {
    int64_t n = check_between(o, 1, 120);
    float *x = drawn(o, n, -30, 30), *y = check_floats(o, n), *want = check_floats(o, n);
    k->softmax_row(n, x, y), ref->softmax_row(n, x, want);
    same(o, "softmax_row", level, y, want, n, 2e-6);
    k->log_softmax_row(n, x, y), ref->log_softmax_row(n, x, want);
    same(o, "log_softmax_row", level, y, want, n, 1e-6);
    float lse = k->log_sum_exp(n, x), right = ref->log_sum_exp(n, x);
    same(o, "log_sum_exp", level, &lse, &right, 1, 1e-6);
    finish(o, "softmax", level);
}

static void check_steps(check_options *o, const pk_kernels *k, const pk_kernels *ref, pk_isa_level level) {
    int64_t n = length(o);
    bool nesterov = check_between(o, 0, 1), first = check_between(o, 0, 1), plain = check_between(o, 0, 3) == 0;
    float *w = drawn(o, n, -1, 1), *g = drawn(o, n, -1, 1), *m = drawn(o, n, -1, 1), *v = drawn(o, n, 0.1f, 1);
    float *w2 = twin(o, w, n), *m2 = twin(o, m, n), *v2 = twin(o, v, n);
    ref->adamw_step(n, w2, g, m2, v2, 1e-2f, 0.1f, 0.001f, 1e-8f, 0.05f, 0.1f, 0.001f);
    k->adamw_step(n, w, g, m, v, 1e-2f, 0.1f, 0.001f, 1e-8f, 0.05f, 0.1f, 0.001f);
    same(o, "adamw_step w", level, w, w2, n, 1e-6);
    same(o, "adamw_step m", level, m, m2, n, 5e-7);
    same(o, "adamw_step v", level, v, v2, n, 5e-7);
    double sums[2], sums2[2];
    ref->lamb_moments(n, w2, g, m2, v2, 0.5f, 0.1f, 0.001f, 1e-6f, 0.05f, 0.1f, 0.001f, sums2);
    k->lamb_moments(n, w, g, m, v, 0.5f, 0.1f, 0.001f, 1e-6f, 0.05f, 0.1f, 0.001f, sums);
    same(o, "lamb_moments m", level, m, m2, n, 1e-6);
    same(o, "lamb_moments v", level, v, v2, n, 1e-6);
    for (int i = 0; i < 2; i++)
        check_that(o, fabs(sums[i] - sums2[i]) <= 1e-5 * (1 + sums2[i]), "lamb_moments sum %d at %s: %g, expected %g", i,
                   pk_isa_name(level), sums[i], sums2[i]);
    ref->lamb_step(n, w2, m2, v2, 1e-2f, 1e-6f, 0.05f, 0.1f, 0.001f);
    k->lamb_step(n, w, m, v, 1e-2f, 1e-6f, 0.05f, 0.1f, 0.001f);
    same(o, "lamb_step w", level, w, w2, n, 2e-6);
    float momentum = plain ? 0 : 0.9f;
    k->sgd_step(n, w, g, plain ? NULL : m, 0.1f, momentum, 0.1f, 0.01f, nesterov, first);
    ref->sgd_step(n, w2, g, plain ? NULL : m2, 0.1f, momentum, 0.1f, 0.01f, nesterov, first);
    same(o, "sgd_step w", level, w, w2, n, 3e-6);
    same(o, "sgd_step buffer", level, m, m2, n, 3e-6);
    k->ema_step(n, v, w, 0.99f), ref->ema_step(n, v2, w2, 0.99f);
    same(o, "ema_step", level, v, v2, n, 1e-6);
    uint8_t *mask = (uint8_t *)check_floats(o, n) + 3 * n; /* ends where the block does */
    for (int64_t i = 0; i < n; i++) {
        mask[i] = check_uniform(o) > 0;
        if (check_uniform(o) > 0) v[i] = v2[i] = 0;
    }
    k->ema_step_masked(n, v, w, mask, 0.99f), ref->ema_step_masked(n, v2, w2, mask, 0.99f);
    same(o, "ema_step_masked", level, v, v2, n, 1e-6);
    for (int64_t i = 0; i < n; i++) {
        mask[i] = check_uniform(o) > 0;
        w2[i] = w[i] = !mask[i] && check_uniform(o) > 0 ? NAN : w[i];
    }
    k->mask_apply(n, w, mask), ref->mask_apply(n, w2, mask);
    same(o, "mask_apply", level, w, w2, n, 0);
    finish(o, "optimisers", level);
}

typedef struct bench_call {
    map1 *f;
    const float *x;
    float *y;
} bench_call;

enum { BENCH = 16384 };

static void call_map(void *context) {
    const bench_call *b = context;
    b->f(BENCH, b->x, b->y);
}

static void bench(const pk_kernels *k, pk_isa_level level, float *x, float *y) {
    for (size_t m = 0; m < sizeof maps1 / sizeof *maps1; m++) {
        bench_call b = {map1_at(k, maps1[m].at), x, y};
        printf("%-12s %-8s %8.2f elements/ns\n", maps1[m].name, pk_isa_name(level),
               BENCH / check_time(call_map, &b) * 1e-9);
    }
}

int check_map(check_options *o) {
    const pk_kernels *ref = pk_kernels_at(PK_ISA_REF);
    for (int l = PK_ISA_GENERIC; l < PK_ISA_COUNT; l++) {
        pk_isa_level level = (pk_isa_level)l;
        const pk_kernels *k = pk_kernels_at(level);
        if (!k || !check_wanted(o, "map")) continue;
        if (o->bench) {
            float *x = drawn(o, BENCH, 0.1f, 2), *y = check_floats(o, BENCH);
            bench(k, level, x, y);
            check_release_all(o);
            continue;
        }
        check_special(o, k, ref, level);
        for (int round = 0; round < ROUNDS; round++) {
            check_maps(o, k, ref, level);
            check_gelu_and_grad(o, k, ref, level);
            check_sums(o, k, ref, level);
            check_norms(o, k, ref, level);
            check_softmax(o, k, ref, level);
            check_steps(o, k, ref, level);
        }
    }
    return 0;
}
