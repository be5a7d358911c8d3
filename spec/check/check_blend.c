/* Weighted sums of rows: every level against the scalar truth, on random sizes between guard pages. */
#include "check.h"

#include <math.h>

#include "kernels/kernels.h"

enum { ROUNDS = 1000 };

static void compare(check_options *o, const char *name, pk_isa_level level, int64_t n, int64_t taps, const float *got,
                    const float *want, double size) {
    for (int64_t i = 0; i < n; i++)
        if (fabs((double)got[i] - (double)want[i]) > 1e-6 * (double)taps * size) {
            check_that(o, false, "%s %s: element %lld of %lld, %lld rows: %.9g, not %.9g", name, pk_isa_name(level),
                       (long long)i, (long long)n, (long long)taps, (double)got[i], (double)want[i]);
            return;
        }
    check_that(o, true, "%s", name);
}

static void one_round(check_options *o, pk_isa_level level, const pk_kernels *k) {
    int64_t n = check_between(o, 1, 200), taps = check_between(o, 1, 12), stride = n + check_between(o, 0, 9);
    float *w = check_floats(o, taps), *x = check_floats(o, (taps - 1) * stride + n);
    float *got = check_floats(o, n), *want = check_floats(o, n);
    int64_t bytes = (taps - 1) * stride + n;
    uint8_t *b = (uint8_t *)check_floats(o, (bytes + 3) / 4) + ((bytes + 3) / 4 * 4 - bytes);
    check_fill(o, w, taps);
    check_fill(o, x, bytes);
    for (int64_t i = 0; i < bytes; i++) b[i] = (uint8_t)check_random(o);
    k->blend_rows(n, taps, w, x, stride, got);
    pk_blend_rows__ref(n, taps, w, x, stride, want);
    compare(o, "blend_rows", level, n, taps, got, want, 1);
    k->blend_rows_u8(n, taps, w, b, stride, got);
    pk_blend_rows_u8__ref(n, taps, w, b, stride, want);
    compare(o, "blend_rows_u8", level, n, taps, got, want, 255);
    check_that(o, check_release_all(o), "blend_rows %s: wrote outside", pk_isa_name(level));
}

int check_blend(check_options *o) {
    if (o->bench || !check_wanted(o, "blend_rows")) return 0;
    check_levels(o, ROUNDS, one_round);
    return 0;
}
