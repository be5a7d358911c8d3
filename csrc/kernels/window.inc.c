/* The window's forward: input-stationary, but for small kernels (window_taps.h). Every box row, while it is in the first
 * cache, is added into all output rows that look at it; TILE_R output rows x TILE_X places stay in registers over the
 * column bands. */
#define WIN_WGRAD 0
#include "kernels/window_taps.h"
#include "kernels/window_tile.h"

int PK_NAME(window_lanes)(void) { return VL; }

int64_t PK_NAME(window_scratch)(const pk_window *p) {
    win_stream s = {0};
    taps t;
    const int64_t few = p->few ? taps_layout(p, NULL, &t) : 0;
    if (taps_sum_weights(p)) return few;
    const int64_t any = win_layout(p, NULL, &s);
    return few > any ? few : any;
}

/* Is a vector of weights other than 0 (or -0)? */
PK_INLINE bool any_weight(const float *w) {
    uint32_t bits[VL], any = 0;
    memcpy(bits, w, sizeof bits);
    for (int l = 0; l < VL; l++) any |= bits[l] << 1;
    return any != 0;
}

/* The block's weights, and which rows, then columns, of them are not all zero. Is any? */
static bool pack_weights(const pk_window *p, const pk_window_io *io, float *to, char *used) {
    char all = 0;
    memset(used, 0, (size_t)(p->rows + p->cols));
    for (int i = 0; i < p->rows; i++) {
        char row = 0;
        for (int j = 0; j < p->cols; j++, to += VL) {
            v_store(to, win_load(io->w + ((int64_t)p->row[i].index * p->weight_cols + p->col[j].index) * io->ldw,
                                 io->lanes));
            const char any = any_weight(to);
            row |= any;
            used[p->rows + j] |= any;
        }
        used[i] = row;
        all |= row;
    }
    return all != 0;
}

/* Output rows begin as bias plus map. */
static void start_output(win_stream *s, const pk_window_io *io) {
    const vf bias = io->bias ? win_load(io->bias, io->lanes) : v_zero();
    const int64_t n = (int64_t)s->p->out_h * s->p->out_w;
    if (!io->map) {
        for (int64_t i = 0; i < n; i++) v_store(s->other + i * VL, bias);
    } else {
        for (int64_t i = 0; i < n; i++)
            v_store(s->other + i * VL, v_add(bias, win_load(io->map + i * io->ldmap, io->lanes)));
    }
}

/* J taps side by side, first of them at column j, over X places: X + J - 1 loads. */
PK_INLINE void taps_run(const int X, const int J, const float *from, const float *weights, vf acc[TAPS_X]) {
    vf weight[7];
    WIN_POINT(from);
    UNROLL for (int j = 0; j < J; j++) weight[j] = v_load(weights + j * VL);
    UNROLL for (int i = 0; i < X + J - 1; i++) {
        vf b = v_load(from + i * VL);
        V_HOLD(b);
        UNROLL for (int j = 0; j < J; j++)
            if (i >= j && i - j < X) acc[i - j] = v_fma(b, weight[j], acc[i - j]);
    }
}

/* All taps of a line that is a run. */
PK_INLINE void taps_runs(const int X, const taps_line *l, ptrdiff_t at, vf acc[TAPS_X]) {
    for (int i = 0; i < l->rows; i++) {
        const float *from = l->row[i] + l->offset[0] + at, *weight = l->weight[i] + l->col[0] * VL;
        int left = l->cols;
        for (; left >= 7; left -= 7, from += 7 * VL, weight += 7 * VL) taps_run(X, 7, from, weight, acc);
        for (; left >= 5; left -= 5, from += 5 * VL, weight += 5 * VL) taps_run(X, 5, from, weight, acc);
        for (; left >= 3; left -= 3, from += 3 * VL, weight += 3 * VL) taps_run(X, 3, from, weight, acc);
        for (; left > 0; left--, from += VL, weight += VL) taps_run(X, 1, from, weight, acc);
    }
}

/* All taps of any line, one by one. */
PK_INLINE void taps_singles(const int X, const taps_line *l, ptrdiff_t at, vf acc[TAPS_X]) {
    for (int i = 0; i < l->rows; i++) {
        for (int j = 0; j < l->cols; j++) {
            const float *from = l->row[i] + l->offset[j] + at;
            const vf weight = v_load(l->weight[i] + l->col[j] * VL);
            UNROLL for (int x = 0; x < X; x++) acc[x] = v_fma(v_load(from + x * l->step), weight, acc[x]);
        }
    }
}

/* X places of an output row, the first n of them wanted. */
PK_INLINE void taps_tile(const int X, const taps_line *l, ptrdiff_t at, const pk_window_io *io, int64_t place, int64_t apart,
                         int n) {
    const vf bias = io->bias ? win_load(io->bias, io->lanes) : v_zero();
    vf acc[TAPS_X];
    UNROLL for (int x = 0; x < X; x++) {
        acc[x] = bias;
        if (io->map && x < n) acc[x] = v_add(bias, win_load(io->map + (place + x * apart) * io->ldmap, io->lanes));
    }
    if (l->run) taps_runs(X, l, at, acc);
    else taps_singles(X, l, at, acc);
    UNROLL for (int x = 0; x < X; x++)
        if (x < n) win_store(io->y + (place + x * apart) * io->ldy, acc[x], io->lanes);
}

#define TAPS_TILE(X)                                                                                                   \
    static void taps_tile_##X(const taps_line *l, ptrdiff_t at, const pk_window_io *io, int64_t place, int64_t apart,  \
                              int n) {                                                                                 \
        taps_tile(X, l, at, io, place, apart, n);                                                                      \
    }
TAPS_TILE(7)
#if TAPS_X == 14
TAPS_TILE(14)
#endif

/* The outputs of row q that belong to a phase. */
static void taps_outputs(const taps *t, const taps_line *l, const pk_window_io *io, int q, int phase) {
    const pk_window *p = t->p;
    const int apart = p->stuff_x, count = (p->out_w - phase + apart - 1) / apart;
    for (int x = 0, width; x < count; x += width) {
        const int n = count - x < TAPS_X ? count - x : TAPS_X;
        const int64_t place = (int64_t)q * p->out_w + phase + (int64_t)x * apart;
        width = taps_tile_width(count - x);
        if (width == 7) taps_tile_7(l, x * l->step, io, place, apart, n);
#if TAPS_X == 14
        else taps_tile_14(l, x * l->step, io, place, apart, n);
#endif
    }
}

static void taps_forward(const pk_window *p, const pk_window_io *io) {
    taps t;
    taps_layout(p, io->scratch, &t);
    char used[2 * PK_WINDOW_TAPS];
    pack_weights(p, io, t.weights, used);
    t.used = used;
    for (int q = 0; q < p->out_h; q++) {
        taps_line l;
        taps_see_rows(&t, io, q, &l);
        for (int phase = 0; phase < p->stuff_x && phase < p->out_w; phase++) {
            taps_see_columns(&t, phase, &l);
            taps_outputs(&t, &l, io, q, phase);
        }
    }
}

void PK_NAME(window_forward)(const pk_window *p, const pk_window_io *io) {
    if (p->few) {
        taps_forward(p, io);
        return;
    }
    win_stream s = {0};
    win_layout(p, io->scratch, &s);
    start_output(&s, io);
    if (p->rows && p->cols && pack_weights(p, io, s.weights, s.used)) {
        win_blocks(&s);
        win_pack(&s, io);
        win_stream_rows(&s, win_use);
    }
    const int64_t n = (int64_t)p->out_h * p->out_w;
    for (int64_t i = 0; i < n; i++) {
        WIN_FETCH(io->y + i * io->ldy, io->ldy, 1);
        win_store(io->y + i * io->ldy, v_load(s.other + i * VL), io->lanes);
    }
}

float PK_NAME(peak)(int64_t n) {
    vf a[10];
    const vf half = v_set1(0.5f), one = v_set1(1);
    UNROLL for (int k = 0; k < 10; k++) a[k] = v_set1((float)k);
    for (int64_t i = 0; i < n; i++) {
        _Pragma("GCC unroll 10") for (int k = 0; k < 10; k++) a[k] = v_fma(a[k], half, one);
    }
    vf sum = a[0];
    for (int k = 1; k < 10; k++) sum = v_add(sum, a[k]);
    return v_sum(sum);
}
