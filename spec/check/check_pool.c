/* Maxima: every level against the scalar truth, NaNs among the numbers, between guard pages. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

enum { ROUNDS = 1000 };

static void one_round(check_options *o, pk_isa_level level, const pk_kernels *k) {
    const int64_t n = check_between(o, 1, 100);
    float *x = check_floats(o, n), *y = check_floats(o, n), *want = check_floats(o, n);
    int32_t *best = (int32_t *)check_floats(o, n), *want_best = (int32_t *)check_floats(o, n);
    check_fill_whole(o, x, n, 2); /* many are equal */
    check_fill_whole(o, y, n, 2);
    for (int64_t i = 0; i < n; i++) {
        if (!check_between(o, 0, 7)) x[i] = NAN;
        if (!check_between(o, 0, 7)) y[i] = NAN;
        want[i] = y[i];
        best[i] = want_best[i] = check_between(o, 0, 3);
    }
    k->max_take(n, x, 3, y, best);
    pk_max_take__ref(n, x, 3, want, want_best);
    check_that(o, !memcmp(y, want, (size_t)n * sizeof *y) && !memcmp(best, want_best, (size_t)n * sizeof *best),
               "max_take %s: n %lld", pk_isa_name(level), (long long)n);
    check_fill_whole(o, y, n, 9);
    memcpy(want, y, (size_t)n * sizeof *y);
    check_fill_whole(o, x, n, 9);
    k->max_give(n, best, 3, x, y);
    pk_max_give__ref(n, best, 3, x, want);
    check_that(o, !memcmp(y, want, (size_t)n * sizeof *y), "max_give %s: n %lld", pk_isa_name(level), (long long)n);
    check_that(o, check_release_all(o), "max_take, max_give %s: wrote outside", pk_isa_name(level));
}

int check_pool(check_options *o) {
    if (o->bench || !check_wanted(o, "max_take, max_give")) return 0;
    check_levels(o, ROUNDS, one_round);
    return 0;
}
