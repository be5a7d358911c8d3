/* Winograd's convolution: every level's transforms against the scalar truth, whole numbers to the last bit where the
 * matrices are whole; and all three passes against plain sums in double, on random shapes round the tile. All of it between
 * guard pages. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "core/checked.h"
#include "kernels/kernels.h"
#ifndef PK_CHECK_KERNELS
#include "ops/winograd.h"
#endif

enum { ROUNDS = 1000, SHAPES = 100, PLACES = 36 };

static void compare(check_options *o, const char *name, const char *how, const float *got, const float *want, int64_t n,
                    double bound) {
    for (int64_t i = 0; i < n; i++) {
        if (fabs((double)got[i] - (double)want[i]) <= bound) continue;
        check_that(o, false, "%s %s: element %lld of %lld: %.9g, not %.9g", name, how, (long long)i, (long long)n,
                   (double)got[i], (double)want[i]);
        return;
    }
    check_that(o, true, "%s", name);
}

/* ---- the transforms ---- */

typedef void into_kernel(int64_t c, const float *const *x, float *to, int64_t slot);

/* side x side pixels, some of them the same one; size: what the largest result can be. */
static void check_into(check_options *o, pk_isa_level level, const char *name, into_kernel *kernel, into_kernel *truth,
                       int side, bool exact, double size) {
    const int64_t c = check_between(o, 1, 40), slot = c + check_between(o, 0, 5), n = (PLACES - 1) * slot + c;
    const bool whole = exact && check_between(o, 0, 1);
    float *pixels = check_floats(o, side * side * c), *got = check_floats(o, n), *want = check_floats(o, n);
    const float *at[PLACES];
    if (whole) check_fill_whole(o, pixels, side * side * c, 20);
    else check_fill(o, pixels, side * side * c);
    memset(got, 0, (size_t)n * sizeof *got); /* what lies between the slots is left alone */
    memset(want, 0, (size_t)n * sizeof *want);
    for (int i = 0; i < side * side; i++) at[i] = pixels + check_between(o, 0, side * side - 1) * c;
    kernel(c, at, got, slot);
    truth(c, at, want, slot);
    compare(o, name, pk_isa_name(level), got, want, n, whole ? 0 : 1e-6 * size);
    check_that(o, check_release_all(o), "%s %s: wrote outside", name, pk_isa_name(level));
}

static void check_out_of(check_options *o, pk_isa_level level, const pk_kernels *k, bool results) {
    const int64_t c = check_between(o, 1, 40), slot = c + check_between(o, 0, 5), n = (PLACES - 1) * slot + c;
    const int count = results ? 16 : 9;
    const bool whole = results && check_between(o, 0, 1);
    float *from = check_floats(o, n), *got = check_floats(o, count * c), *want = check_floats(o, count * c);
    float *bias = results && check_between(o, 0, 1) ? check_floats(o, c) : NULL, *to[16], *truth[16];
    if (whole) check_fill_whole(o, from, n, 20);
    else check_fill(o, from, n);
    if (bias) check_fill_whole(o, bias, c, 20);
    for (int i = 0; i < count; i++) to[i] = got + i * c, truth[i] = want + i * c;
    if (results) {
        k->winograd_results(c, from, slot, bias, to);
        pk_winograd_results__ref(c, from, slot, bias, truth);
    } else {
        k->winograd_taps_grad(c, from, slot, to);
        pk_winograd_taps_grad__ref(c, from, slot, truth);
    }
    const char *name = results ? "winograd_results" : "winograd_taps_grad";
    compare(o, name, pk_isa_name(level), got, want, count * c, whole ? 0 : 1e-6 * (results ? 75 : 5));
    check_that(o, check_release_all(o), "%s %s: wrote outside", name, pk_isa_name(level));
}

static void one_round(check_options *o, pk_isa_level level, const pk_kernels *k) {
    check_into(o, level, "winograd_patch", k->winograd_patch, pk_winograd_patch__ref, 6, true, 25);
    check_into(o, level, "winograd_slopes", k->winograd_slopes, pk_winograd_slopes__ref, 4, true, 60);
    check_into(o, level, "winograd_taps", k->winograd_taps, pk_winograd_taps__ref, 3, false, 1);
    check_out_of(o, level, k, true);
    check_out_of(o, level, k, false);
}

#ifndef PK_CHECK_KERNELS

/* ---- the passes ---- */

typedef struct convolution {
    pk_plane p;
    int64_t out;
    const float *x, *w, *b, *dy;
} convolution;

/* The pixel that tap (ky, kx) of output pixel i sees; null outside. */
static const float *seen(const convolution *c, int64_t i, int ky, int kx) {
    int64_t n, y, x;
    pk_plane_place(&c->p, i, &n, &y, &x);
    y = pk_plane_row(&c->p, y, ky), x = pk_plane_col(&c->p, x, kx);
    return y < 0 || y >= c->p.h || x < 0 || x >= c->p.w ? NULL : c->x + ((n * c->p.h + y) * c->p.w + x) * c->p.pixel;
}

/* y (before it b), dx and dw by their definitions: sums of products in double. */
static void plain(const convolution *c, double *y, double *dx, double *dw) {
    const int64_t in = c->p.c;
    for (int64_t i = 0; i < c->p.n * c->p.oh * c->p.ow; i++)
        for (int t = 0; t < 9; t++) {
            const float *pixel = seen(c, i, t / 3, t % 3);
            for (int64_t o = 0; o < c->out; o++) {
                const double dy = (double)c->dy[i * c->out + o];
                if (t == 0) y[i * c->out + o] = c->b ? (double)c->b[o] : 0;
                for (int64_t k = 0; pixel && k < in; k++) {
                    const double w = (double)c->w[(o * 9 + t) * in + k];
                    y[i * c->out + o] += (double)pixel[k] * w;
                    dx[(pixel - c->x) / c->p.pixel * in + k] += dy * w;
                    dw[(o * 9 + t) * in + k] += dy * (double)pixel[k];
                }
            }
        }
}

/* Sums of n products of numbers of [-1, 1) have a deviation of sqrt(n) / 3: errors are held to 2e-5 of it. */
static void compare_pass(check_options *o, const char *name, const convolution *c, const float *got, const double *want,
                         int64_t n, int64_t products) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) worst = check_worse(worst, fabs((double)got[i] - want[i]));
    check_that(o, worst <= 6e-6 * sqrt((double)products),
               "winograd %s: %lld images of %lld x %lld, padding %lld, %lld, %lld -> %lld channels: off by %.3g", name,
               (long long)c->p.n, (long long)c->p.h, (long long)c->p.w, (long long)c->p.py, (long long)c->p.px,
               (long long)c->p.c, (long long)c->out, worst);
}

/* At most `images` of them, of sides up to 14. */
static void one_shape(check_options *o, int images, int64_t in, int64_t out) {
    const int64_t py = check_between(o, 0, 2), px = check_between(o, 0, 2), h = check_between(o, py ? 1 : 3, 14),
                  w = check_between(o, px ? 1 : 3, 14);
    convolution c = {.p = {.n = check_between(o, 1, images), .h = h, .w = w, .c = in, .kh = 3, .kw = 3, .sy = 1, .sx = 1,
                           .py = py, .px = px, .dy = 1, .dx = 1, .oh = h + 2 * py - 2, .ow = w + 2 * px - 2,
                           .pixel = in + check_between(o, 0, 3)}, .out = out};
    const int64_t pixels = c.p.n * h * w, made = c.p.n * c.p.oh * c.p.ow, span = (pixels - 1) * c.p.pixel + in;
    float *x = check_floats(o, span), *taps = check_floats(o, out * 9 * in), *b = check_floats(o, out),
          *dy = check_floats(o, made * out), *y = check_floats(o, made * out), *dx = check_floats(o, pixels * in),
          *dw = check_floats(o, out * 9 * in);
    double *want_y = (double *)check_floats(o, 2 * made * out), *want_dx = (double *)check_floats(o, 2 * pixels * in),
           *want_dw = (double *)check_floats(o, 2 * out * 9 * in);
    memset(want_dx, 0, (size_t)(pixels * in) * sizeof *want_dx);
    memset(want_dw, 0, (size_t)(out * 9 * in) * sizeof *want_dw);
    check_fill(o, x, span);
    check_fill(o, taps, out * 9 * in);
    check_fill(o, b, out);
    check_fill(o, dy, made * out);
    c.x = x, c.w = taps, c.dy = dy, c.b = check_between(o, 0, 1) ? b : NULL;
    plain(&c, want_y, want_dx, want_dw);
    check_that(o, pk_winograd_forward(&c.p, x, taps, c.b, out, y) == PK_OK, "winograd: %s", pk_message());
    check_that(o, pk_winograd_dx(&c.p, dy, taps, out, dx) == PK_OK, "winograd: %s", pk_message());
    check_that(o, pk_winograd_dw(&c.p, x, dy, out, dw) == PK_OK, "winograd: %s", pk_message());
    compare_pass(o, "forward", &c, y, want_y, made * out, 9 * in);
    compare_pass(o, "dx", &c, dx, want_dx, pixels * in, 9 * out);
    compare_pass(o, "dw", &c, dw, want_dw, out * 9 * in, made);
    check_that(o, check_release_all(o), "winograd: wrote outside");
}

static void check_passes(check_options *o) {
    const char *was = pk_isa();
    for (int level = PK_ISA_REF; level < PK_ISA_COUNT; level++) {
        if (!pk_isa_supported((pk_isa_level)level) || pk_set_isa(pk_isa_name((pk_isa_level)level))) continue;
        for (int i = 0; i < SHAPES; i++) one_shape(o, 4, check_between(o, 16, 37), check_between(o, 16, 37));
        one_shape(o, 200, 16, 17);   /* mostly parts of the gradient by the number of tiles */
        for (int i = 0; i < 3; i++) one_shape(o, 60, 16, 260); /* mostly several runs a part */
    }
    pk_set_isa(was);
}

#else
static void check_passes(check_options *o) { (void)o; }
#endif

int check_winograd(check_options *o) {
    if (o->bench || !check_wanted(o, "winograd")) return 0;
    check_levels(o, ROUNDS, one_round);
    check_passes(o);
    return 0;
}
