/* build/check --bench: the window kernels on one core, as times, GFLOP/s and shares of the measured peak. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "kernels/kernels.h"
#include "ops/grid.h"

enum { CHANNELS = 96 };

typedef struct peak_run {
    const pk_kernels *k;
    float sink;
} peak_run;

static void run_peak(void *context) {
    peak_run *r = context;
    r->sink += r->k->peak(100000);
}

double check_peak(pk_isa_level level) {
    peak_run r = {.k = pk_kernels_at(level)};
    return 2.0 * PK_PEAK_CHAINS * 100000 * r.k->window_lanes() / check_time(run_peak, &r);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The processor's speed varies while we look: call and peak take turns, and the median of the shares counts. */
double check_share(void (*call)(void *context), void *context, double flops, double *seconds) {
    enum { ROUNDS = 41 };
    double share[ROUNDS], time[ROUNDS];
    peak_run r = {.k = pk_k()};
    const double peak = 2.0 * PK_PEAK_CHAINS * 100000 * r.k->window_lanes();
    call(context);
    for (int i = 0; i < ROUNDS; i++) {
        double t0 = check_seconds();
        run_peak(&r);
        double t1 = check_seconds();
        call(context);
        time[i] = check_seconds() - t1;
        share[i] = flops / time[i] / (peak / (t1 - t0));
    }
    qsort(share, ROUNDS, sizeof *share, ascending);
    qsort(time, ROUNDS, sizeof *time, ascending);
    *seconds = time[ROUNDS / 2];
    return share[ROUNDS / 2];
}

/* One image of CHANNELS channels, all blocks. */
typedef struct window_run {
    const pk_kernels *k;
    pk_window *p;
    pk_window_io io;
    bool wgrad;
} window_run;

static void run_window(void *context) {
    window_run *r = context;
    int lanes = r->k->window_lanes();
    for (int c = 0; c < CHANNELS; c += lanes) {
        pk_window_io io = r->io;
        io.x += c, io.y += c, io.w += c, io.dw += c;
        if (r->wgrad) r->k->window_wgrad(r->p, &io);
        else r->k->window_forward(r->p, &io);
    }
}

static double time_window(check_options *o, pk_isa_level level, pk_axis axis, bool wgrad, double *flops) {
    window_run r = {.k = pk_kernels_at(level), .wgrad = wgrad};
    if (pk_window_new(&axis, &axis, &r.p) != PK_OK) return -1;
    int64_t nx = (int64_t)axis.in * axis.in * CHANNELS, ny = (int64_t)axis.out * axis.out * CHANNELS;
    int64_t nw = (int64_t)axis.count * axis.count * CHANNELS;
    float *x = pk_alloc(nx * 4), *y = pk_alloc(ny * 4), *w = pk_alloc(nw * 4), *dw = pk_alloc_zeroed(nw * 4);
    void *scratch = pk_alloc(r.k->window_scratch(r.p));
    check_fill(o, x, nx), check_fill(o, y, ny), check_fill(o, w, nw);
    r.io = (pk_window_io){.x = x, .w = w, .y = y, .dw = dw, .ldx = CHANNELS, .ldy = CHANNELS, .ldw = CHANNELS,
                          .lanes = r.k->window_lanes(), .scratch = scratch};
    double seconds = check_time(run_window, &r);
    *flops = 2 * r.p->products * CHANNELS;
    pk_free(x), pk_free(y), pk_free(w), pk_free(dw), pk_free(scratch), pk_free(r.p);
    return seconds;
}

static void report(check_options *o, pk_isa_level level, double peak, const char *what, pk_axis axis) {
    double flops, f = time_window(o, level, axis, false, &flops),
                  b = time_window(o, level, pk_axis_back(&axis), false, &flops);
    double g = time_window(o, level, axis, true, &flops);
    if (f < 0 || b < 0 || g < 0) return;
    printf("%-8s %-14s map %3d  forward %7.3f ms (%5.1f GFLOP/s, %2.0f%%)  input grad %7.3f  weight grad %7.3f "
           "(%2.0f%%)\n",
           pk_isa_name(level), what, axis.in, f * 1e3, flops / f * 1e-9, 100 * flops / f / peak, b * 1e3, g * 1e3,
           100 * flops / g / peak);
}

static void bench_level(check_options *o, pk_isa_level level) {
    static const int maps[] = {56, 28, 14, 7}, kernels[] = {3, 7, 13, 31, 51, 101, 151}, dense[] = {3, 5, 7, 13, 31};
    double peak = check_peak(level);
    char what[32];
    printf("%-8s one core, peak %.1f GFLOP/s, %d channels, one image\n", pk_isa_name(level), peak * 1e-9, CHANNELS);
    for (size_t m = 0; m < 4; m++) {
        pk_axis axis = {.dilation = 1, .in = maps[m], .out = maps[m], .stride = 1, .stuff = 1};
        for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
            pk_ints grid;
            if (pk_grid(kernels[i], kernels[i] > 3 ? 2 : 1, 2, PK_TRUNCATE, &grid) != PK_OK) return;
            axis.size = grid.v, axis.count = grid.n, axis.at = -kernels[i] / 2;
            snprintf(what, sizeof what, "peripheral %d", kernels[i]);
            if (check_wanted(o, what)) report(o, level, peak, what, axis);
        }
        for (size_t i = 0; i < sizeof dense / sizeof *dense; i++) {
            axis.size = NULL, axis.count = dense[i], axis.at = -dense[i] / 2;
            snprintf(what, sizeof what, "dense %d", dense[i]);
            if (check_wanted(o, what)) report(o, level, peak, what, axis);
        }
    }
}

int bench_kernels(check_options *o);
int bench_kernels(check_options *o) {
    for (int level = PK_ISA_COUNT - 1; level >= PK_ISA_GENERIC; level--)
        if (pk_kernels_at((pk_isa_level)level)) bench_level(o, (pk_isa_level)level);
    return 0;
}
