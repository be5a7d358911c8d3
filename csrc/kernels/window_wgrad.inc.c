/* The window's weight gradient: the same stream of box rows as forward. A tile of the output's gradient stays in
 * registers while the columns' sums come by. */
#define WIN_WGRAD 1
#include "kernels/window_taps.h"
#include "kernels/window_tile.h"

/* Add the sums to the weights' gradient. */
static void add_sums(const pk_window *p, const pk_window_io *io, const float *sum) {
    for (int i = 0; i < p->rows; i++)
        for (int j = 0; j < p->cols; j++, sum += VL) {
            float *dw = io->dw + ((int64_t)p->row[i].index * p->weight_cols + p->col[j].index) * io->ldw;
            win_store(dw, v_add(win_load(dw, io->lanes), v_load(sum)), io->lanes);
        }
}

/* J taps side by side: their sums take what X places, whose gradients are d, saw. */
PK_INLINE void taps_sum_run(const int X, const int J, const float *from, float *sums, const vf d[TAPS_X]) {
    vf acc[7];
    WIN_POINT(from);
    UNROLL for (int j = 0; j < J; j++) acc[j] = v_load(sums + j * VL);
    UNROLL for (int i = 0; i < X + J - 1; i++) {
        vf b = v_load(from + i * VL);
        V_HOLD(b);
        UNROLL for (int j = 0; j < J; j++)
            if (i >= j && i - j < X) acc[j] = v_fma(b, d[i - j], acc[j]);
    }
    UNROLL for (int j = 0; j < J; j++) v_store(sums + j * VL, acc[j]);
}

PK_INLINE void taps_sum_runs(const int X, const taps_line *l, ptrdiff_t at, const vf d[TAPS_X]) {
    for (int i = 0; i < l->rows; i++) {
        const float *from = l->row[i] + l->offset[0] + at;
        float *sums = l->weight[i] + l->col[0] * VL;
        int left = l->cols;
        for (; left >= 7; left -= 7, from += 7 * VL, sums += 7 * VL) taps_sum_run(X, 7, from, sums, d);
        for (; left >= 5; left -= 5, from += 5 * VL, sums += 5 * VL) taps_sum_run(X, 5, from, sums, d);
        for (; left >= 3; left -= 3, from += 3 * VL, sums += 3 * VL) taps_sum_run(X, 3, from, sums, d);
        for (; left > 0; left--, from += VL, sums += VL) taps_sum_run(X, 1, from, sums, d);
    }
}

PK_INLINE void taps_sum_singles(const int X, const taps_line *l, ptrdiff_t at, const vf d[TAPS_X]) {
    for (int i = 0; i < l->rows; i++) {
        for (int j = 0; j < l->cols; j++) {
            const float *from = l->row[i] + l->offset[j] + at;
            float *sum = l->weight[i] + l->col[j] * VL;
            vf even = v_load(sum), odd = v_zero();
            UNROLL for (int x = 0; x < X; x++) {
                if (x % 2) odd = v_fma(v_load(from + x * l->step), d[x], odd);
                else even = v_fma(v_load(from + x * l->step), d[x], even);
            }
            v_store(sum, v_add(even, odd));
        }
    }
}

/* X places of an output row's gradient, the first n of them there. */
PK_INLINE void taps_sum_tile(const int X, const taps_line *l, ptrdiff_t at, const float *dy, const pk_window_io *io, int n) {
    vf d[TAPS_X];
    UNROLL for (int x = 0; x < X; x++) d[x] = x < n ? win_load(dy + x * io->ldy, io->lanes) : v_zero();
    if (l->run) taps_sum_runs(X, l, at, d);
    else taps_sum_singles(X, l, at, d);
}

#define TAPS_SUM(X)                                                                                                    \
    static void taps_sum_##X(const taps_line *l, ptrdiff_t at, const float *dy, const pk_window_io *io, int n) {       \
        taps_sum_tile(X, l, at, dy, io, n);                                                                            \
    }
TAPS_SUM(7)
#if TAPS_X == 14
TAPS_SUM(14)
#endif

static void taps_wgrad(const pk_window *p, const pk_window_io *io) {
    taps t;
    taps_line l;
    taps_layout(p, io->scratch, &t);
    memset(t.weights, 0, (size_t)p->rows * (size_t)p->cols * VL * sizeof(float));
    taps_see_columns(&t, 0, &l);
    for (int q = 0; q < p->out_h; q++) {
        taps_see_rows(&t, io, q, &l);
        for (int x = 0, width; x < p->out_w; x += width) {
            const float *dy = io->y + ((int64_t)q * p->out_w + x) * io->ldy;
            width = taps_tile_width(p->out_w - x);
            if (width == 7) taps_sum_7(&l, x * l.step, dy, io, p->out_w - x);
#if TAPS_X == 14
            else taps_sum_14(&l, x * l.step, dy, io, p->out_w - x);
#endif
        }
    }
    add_sums(p, io, t.weights);
}

void PK_NAME(window_wgrad)(const pk_window *p, const pk_window_io *io) {
    win_stream s = {0};
    if (!p->rows || !p->cols) return;
    if (taps_sum_weights(p)) {
        taps_wgrad(p, io);
        return;
    }
    win_layout(p, io->scratch, &s);
    s.used = NULL; /* weights that are zero have gradients too */
    win_blocks(&s);
    win_pack(&s, io);
    memset(s.weights, 0, (size_t)p->rows * (size_t)p->cols * VL * sizeof(float));
    const int64_t n = (int64_t)p->out_h * p->out_w;
    for (int64_t i = 0; i < n; i++) v_store(s.other + i * VL, win_load(io->y + i * io->ldy, io->lanes));
    win_stream_rows(&s, win_use);
    add_sums(p, io, s.weights);
}
