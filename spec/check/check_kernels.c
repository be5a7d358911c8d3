/* Window and position kernels: every supported level against the scalar truth, on random shapes between guard pages;
 * --bench: times, and shares of the peak measured in the same run (bench_kernels.c). */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "kernels/kernels.h"

int bench_kernels(check_options *o); /* bench_kernels.c */

enum { WINDOW_ROUNDS = 1200, POSITION_ROUNDS = 1000, MAX_BANDS = 64 };

/* One axis: a list of sizes, single taps, or dilated taps; small, now and then larger than its map by far. */
static pk_axis random_axis(check_options *o, int32_t *sizes) {
    bool large = check_between(o, 0, 19) == 0;
    pk_axis a = {.dilation = 1, .stuff = 1, .stride = check_between(o, 0, 3) ? 1 : check_between(o, 2, 3)};
    a.in = check_between(o, 0, 5) ? check_between(o, 1, large ? 40 : 9) : 1;
    a.count = check_between(o, 1, large ? 13 : 5);
    int kind = check_between(o, 0, 3), span = 0;
    if (kind <= 1) {
        a.size = sizes;
        for (int b = 0; b < a.count; b++) span += sizes[b] = check_between(o, 1, kind ? (large ? 20 : 5) : 2);
    } else {
        a.dilation = kind == 2 ? 1 : check_between(o, 1, 3);
        span = (a.count - 1) * a.dilation + 1;
    }
    int padding = check_between(o, 0, 2) ? span / 2 : check_between(o, 0, span + 2);
    a.at = -padding;
    a.out = (a.in + 2 * padding - span) / a.stride + 1;
    if (a.in + 2 * padding < span || a.out < 1) a.out = check_between(o, 1, 3);
    return a;
}

/* Everything one window call touches. */
typedef struct window_case {
    pk_window *p;
    int lanes;
    int64_t nx, ny, nw, ldx, ldy, ldw, ldmap;
    float *x, *w, *bias, *map, *y;
    const char *kind;
} window_case;

static int64_t spread(int64_t pixels, int64_t stride, int lanes) { return pixels ? (pixels - 1) * stride + lanes : 0; }

static void fill(check_options *o, float *p, int64_t n, bool whole) {
    if (whole) check_fill_whole(o, p, n, 3);
    else check_fill(o, p, n);
}

/* Set some rows and columns of the weights to zero, at times all: what kernels leave out. */
static void drop_weights(check_options *o, const window_case *c) {
    const int share = check_between(o, 0, 5); /* in 4: none to all */
    bool drop_row[4096] = {false}, drop_col[4096] = {false};
    if (share == 0 || c->p->weight_cols > 4096) return;
    for (int i = 0; i < 4096; i++) {
        drop_row[i] = check_between(o, 1, 4) < share;
        drop_col[i] = check_between(o, 1, 4) < share;
    }
    for (int64_t i = 0; i < c->nw; i++) {
        int64_t tap = i / c->ldw, row = tap / c->p->weight_cols;
        if (drop_row[row % 4096] || drop_col[tap % c->p->weight_cols]) c->w[i] = i % 2 ? 0.0f : -0.0f;
    }
}

static void make_case(check_options *o, window_case *c, int lanes, bool whole) {
    const pk_window *p = c->p;
    int64_t real_h = (p->in_h - 1) / p->stuff_y + 1, real_w = (p->in_w - 1) / p->stuff_x + 1;
    int rows = 0;
    for (int i = 0; i < p->rows; i++) rows = p->row[i].index + 1 > rows ? p->row[i].index + 1 : rows;
    c->lanes = lanes;
    c->ldx = lanes + check_between(o, 0, 3), c->ldy = lanes + check_between(o, 0, 3);
    c->ldw = lanes + check_between(o, 0, 3), c->ldmap = lanes + check_between(o, 0, 3);
    c->nx = spread(real_h * real_w, c->ldx, lanes);
    c->ny = spread((int64_t)p->out_h * p->out_w, c->ldy, lanes);
    c->nw = spread((int64_t)rows * p->weight_cols, c->ldw, lanes);
    c->x = check_floats(o, c->nx), c->w = check_floats(o, c->nw), c->y = check_floats(o, c->ny);
    c->bias = check_between(o, 0, 1) ? check_floats(o, lanes) : NULL;
    int64_t nmap = spread((int64_t)p->out_h * p->out_w, c->ldmap, lanes);
    c->map = check_between(o, 0, 1) ? check_floats(o, nmap) : NULL;
    fill(o, c->x, c->nx, whole);
    fill(o, c->w, c->nw, whole);
    drop_weights(o, c);
    fill(o, c->y, c->ny, whole);
    if (c->bias) fill(o, c->bias, lanes, whole);
    if (c->map) fill(o, c->map, nmap, whole);
}

static pk_window_io io_of(const window_case *c) {
    return (pk_window_io){.x = c->x, .w = c->w, .bias = c->bias, .map = c->map, .y = c->y, .ldx = c->ldx, .ldw = c->ldw,
                          .ldmap = c->ldmap, .ldy = c->ldy, .lanes = c->lanes};
}

static void *scratch(check_options *o, int64_t bytes) { /* 64-byte aligned in a guarded block */
    float *block = check_floats(o, bytes / 4 + 16);
    return (void *)(((uintptr_t)block + 63) / 64 * 64);
}

/* Largest |got - want| / bound, bound = steps * eps * magnitude: steps roundings, each of at most eps/2 of the sum of
 * the terms' absolute values. Whole numbers: any difference is infinite. */
static double excess(const float *got, const float *want, const float *magnitude, int64_t n, double steps, bool whole) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - want[i]);
        if (error == 0) continue;
        double bound = whole ? 0 : steps * 0x1p-24 * fabs((double)magnitude[i]);
        double ratio = bound > 0 ? error / bound : INFINITY;
        if (!(ratio <= worst)) worst = ratio;
    }
    return worst;
}

static void absolute(float *to, const float *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = fabsf(from[i]);
}

/* The same case with every value made positive: its result bounds the sum of the terms' absolute values. */
static window_case positive(check_options *o, const window_case *c) {
    window_case m = *c;
    m.x = check_floats(o, c->nx), m.w = check_floats(o, c->nw), m.y = check_floats(o, c->ny);
    absolute(m.x, c->x, c->nx);
    absolute(m.w, c->w, c->nw);
    absolute(m.y, c->y, c->ny);
    if (c->bias) absolute(m.bias = check_floats(o, c->lanes), c->bias, c->lanes);
    if (c->map) {
        int64_t n = spread((int64_t)c->p->out_h * c->p->out_w, c->ldmap, c->lanes);
        absolute(m.map = check_floats(o, n), c->map, n);
    }
    return m;
}

static void describe(const pk_window *p, char *text, size_t size) {
    size_t at = (size_t)snprintf(text, size, "%dx%d -> %dx%d stride %d,%d stuff %d,%d rows", p->in_h, p->in_w, p->out_h,
                                 p->out_w, p->stride_y, p->stride_x, p->stuff_y, p->stuff_x);
    for (int i = 0; i < p->rows && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, " %d:%d", p->row[i].at, p->row[i].size);
    if (at < size) at += (size_t)snprintf(text + at, size - at, " cols");
    for (int j = 0; j < p->cols && at < size; j++)
        at += (size_t)snprintf(text + at, size - at, " %d:%d", p->col[j].at, p->col[j].size);
}

static void compare_forward(check_options *o, window_case *c, pk_isa_level level, bool whole) {
    const pk_kernels *k = pk_kernels_at(level), *ref = pk_kernels_at(PK_ISA_REF);
    window_case m = positive(o, c);
    float *want = check_floats(o, c->ny), *got = check_floats(o, c->ny);
    memcpy(want, c->y, (size_t)c->ny * 4);
    memcpy(got, c->y, (size_t)c->ny * 4);
    pk_window_io io = io_of(c), mio = io_of(&m);
    io.y = want, ref->window_forward(c->p, &io);
    ref->window_forward(c->p, &mio);
    io.y = got, io.scratch = scratch(o, k->window_scratch(c->p));
    k->window_forward(c->p, &io);
    double worst = excess(got, want, m.y, c->ny, c->p->rows * c->p->cols + 64, whole);
    char text[600];
    describe(c->p, text, sizeof text);
    check_that(o, worst <= 1, "window_forward %s%s lanes %d: %.3g times the bound (%s)", pk_isa_name(level), c->kind,
               c->lanes, worst, text);
}

static void compare_wgrad(check_options *o, window_case *c, pk_isa_level level, bool whole) {
    const pk_kernels *k = pk_kernels_at(level), *ref = pk_kernels_at(PK_ISA_REF);
    window_case m = positive(o, c);
    float *want = check_floats(o, c->nw), *got = check_floats(o, c->nw);
    memcpy(want, c->w, (size_t)c->nw * 4);
    memcpy(got, c->w, (size_t)c->nw * 4);
    pk_window_io io = io_of(c), mio = io_of(&m);
    io.dw = want, ref->window_wgrad(c->p, &io);
    mio.dw = m.w, ref->window_wgrad(c->p, &mio);
    io.dw = got, io.scratch = scratch(o, k->window_scratch(c->p));
    k->window_wgrad(c->p, &io);
    double worst = excess(got, want, m.w, c->nw, c->p->out_h * c->p->out_w + 64, whole);
    char text[600];
    describe(c->p, text, sizeof text);
    check_that(o, worst <= 1, "window_wgrad %s%s lanes %d: %.3g times the bound (%s)", pk_isa_name(level), c->kind,
               c->lanes, worst, text);
}

static int check_window(check_options *o) {
    for (int round = 0; round < WINDOW_ROUNDS; round++) {
        int32_t sizes[2][MAX_BANDS];
        pk_axis rows = random_axis(o, sizes[0]), cols = random_axis(o, sizes[1]);
        bool whole = round % 2 == 0, back = round % 3 == 0;
        if (back) rows = pk_axis_back(&rows), cols = pk_axis_back(&cols);
        window_case c = {.kind = back ? " (back)" : ""};
        if (pk_window_new(&rows, &cols, &c.p) != PK_OK) return 1;
        for (int level = PK_ISA_GENERIC; level < PK_ISA_COUNT; level++) {
            const pk_kernels *k = pk_kernels_at((pk_isa_level)level);
            if (!k) continue;
            int lanes = check_between(o, 0, 1) ? k->window_lanes() : check_between(o, 1, k->window_lanes());
            make_case(o, &c, lanes, whole);
            compare_forward(o, &c, (pk_isa_level)level, whole);
            compare_wgrad(o, &c, (pk_isa_level)level, whole);
            check_that(o, check_release_all(o), "window %s: wrote outside its buffers",
                       pk_isa_name((pk_isa_level)level));
        }
        pk_free(c.p);
    }
    return 0;
}

/* One input of 1e3 among unit noise: outputs whose window does not hold it must not feel it. */
static int check_outlier(check_options *o) {
    static const int32_t grid[13] = {9, 8, 4, 2, 1, 1, 1, 1, 1, 2, 4, 8, 9};
    enum { SIDE = 80, K = 51, AT = 3 };
    pk_axis axis = {
        .size = grid, .count = 13, .at = -K / 2, .dilation = 1, .in = SIDE, .out = SIDE, .stride = 1, .stuff = 1};
    window_case c = {.kind = ""};
    if (pk_window_new(&axis, &axis, &c.p) != PK_OK) return 1;
    for (int level = PK_ISA_GENERIC; level < PK_ISA_COUNT; level++) {
        const pk_kernels *k = pk_kernels_at((pk_isa_level)level);
        if (!k) continue;
        make_case(o, &c, 1, false);
        for (int64_t i = 0; i < c.nw; i++) c.w[i] /= 13;
        c.x[(AT * SIDE + AT) * c.ldx] = 1000;
        float *want = check_floats(o, c.ny), *got = check_floats(o, c.ny);
        pk_window_io io = io_of(&c);
        io.y = want, pk_kernels_at(PK_ISA_REF)->window_forward(c.p, &io);
        io.y = got, io.scratch = scratch(o, k->window_scratch(c.p));
        k->window_forward(c.p, &io);
        double worst = 0;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                bool sees = abs(y - AT) <= K / 2 && abs(x - AT) <= K / 2;
                int64_t i = (int64_t)(y * SIDE + x) * c.ldy;
                if (!sees) worst = check_worse(worst, fabs((double)got[i] - want[i]));
            }
        check_that(o, worst < 5e-5, "window_forward %s: outlier outside the window leaves an error of %.3g",
                   pk_isa_name((pk_isa_level)level), worst);
        check_release_all(o);
    }
    pk_free(c.p);
    return 0;
}

/* ---- position ---- */

static pk_position random_position(check_options *o, int32_t *sizes, int lanes) {
    int half = check_between(o, 0, 4);
    pk_position p = {.count = 2 * half + 1, .size = sizes, .lanes = lanes, .shared = check_between(o, 0, 1)};
    for (int b = 0; b < p.count; b++) p.kernel += sizes[b] = check_between(o, 1, 4);
    if (p.kernel % 2 == 0) p.kernel++, sizes[half]++;
    p.h = check_between(o, 1, 9), p.w = check_between(o, 1, 9);
    p.ldw = lanes + check_between(o, 0, 3), p.ldmap = lanes + check_between(o, 0, 3);
    p.ldp = p.shared ? 1 : lanes + check_between(o, 0, 3);
    return p;
}

static int check_position(check_options *o) {
    const pk_kernels *ref = pk_kernels_at(PK_ISA_REF);
    for (int round = 0; round < POSITION_ROUNDS; round++)
        for (int level = PK_ISA_GENERIC; level < PK_ISA_COUNT; level++) {
            const pk_kernels *k = pk_kernels_at((pk_isa_level)level);
            if (!k) continue;
            int32_t sizes[16];
            bool whole = round % 2 == 0;
            int lanes = check_between(o, 1, k->window_lanes());
            pk_position p = random_position(o, sizes, lanes);
            int64_t nw = spread((int64_t)p.count * p.count, p.ldw, lanes), taps = (int64_t)p.kernel * p.kernel;
            int64_t np = p.shared ? taps : spread(taps, p.ldp, lanes), nm = spread((int64_t)p.h * p.w, p.ldmap, lanes);
            float *w = check_floats(o, nw), *h = check_floats(o, np), *dm = check_floats(o, nm), *out[2][3];
            fill(o, w, nw, whole), fill(o, h, np, whole), fill(o, dm, nm, whole);
            p.weight = w, p.position = h, p.dmap = dm;
            p.scratch = scratch(o, k->position_scratch(&p));
            for (int side = 0; side < 2; side++) {
                const int64_t n[3] = {nm, nw, np};
                for (int i = 0; i < 3; i++) memset(out[side][i] = check_floats(o, n[i]), 0, (size_t)n[i] * 4);
                p.map = out[side][0], p.dweight = out[side][1], p.dposition = out[side][2];
                (side ? k : ref)->position_map(&p);
                (side ? k : ref)->position_grad(&p);
            }
            double worst = 0;
            for (int64_t i = 0; i < nm; i++) worst = check_worse(worst, fabs((double)out[1][0][i] - out[0][0][i]));
            for (int64_t i = 0; i < nw; i++) worst = check_worse(worst, fabs((double)out[1][1][i] - out[0][1][i]));
            for (int64_t i = 0; i < np; i++) worst = check_worse(worst, fabs((double)out[1][2][i] - out[0][2][i]));
            check_that(o, worst <= (whole ? 0 : 1e-4), "position %s: k %d on %dx%d, %d lanes, %s: error %.3g",
                       pk_isa_name((pk_isa_level)level), p.kernel, p.h, p.w, lanes, p.shared ? "shared" : "per channel",
                       worst);
            check_that(o, check_release_all(o), "position %s: wrote outside its buffers",
                       pk_isa_name((pk_isa_level)level));
        }
    return 0;
}

int check_kernels(check_options *o) {
    if (o->bench) return bench_kernels(o);
    if (check_wanted(o, "window") && check_window(o)) return 1;
    if (check_wanted(o, "window_outlier") && check_outlier(o)) return 1;
    if (check_wanted(o, "position") && check_position(o)) return 1;
    return 0;
}
