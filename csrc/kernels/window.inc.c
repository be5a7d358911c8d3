/* The window's forward: input-stationary. Every box row, while it is in the first cache, is added into all output rows
 * that look at it; TILE_R output rows x TILE_X places stay in registers over the column bands. */
#define WIN_WGRAD 0
#include "kernels/window_tile.h"

int PK_NAME(window_lanes)(void) { return VL; }

int64_t PK_NAME(window_scratch)(const pk_window *p) {
    win_stream s = {0};
    return win_layout(p, NULL, &s);
}

/* Is a vector of weights other than 0 (or -0)? */
PK_INLINE bool any_weight(const float *w) {
    uint32_t bits[VL], any = 0;
    memcpy(bits, w, sizeof bits);
    for (int l = 0; l < VL; l++) any |= bits[l] << 1;
    return any != 0;
}

/* The block's weights, and which rows and columns of them are not all zero. Is any? */
static bool pack_weights(win_stream *s, const pk_window_io *io) {
    const pk_window *p = s->p;
    float *to = s->weights;
    char all = 0;
    memset(s->used, 0, (size_t)(p->rows + p->cols));
    for (int i = 0; i < p->rows; i++) {
        char row = 0;
        for (int j = 0; j < p->cols; j++, to += VL) {
            v_store(to, win_load(io->w + ((int64_t)p->row[i].index * p->weight_cols + p->col[j].index) * io->ldw,
                                 io->lanes));
            const char any = any_weight(to);
            row |= any;
            s->used[p->rows + j] |= any;
        }
        s->used[i] = row;
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

void PK_NAME(window_forward)(const pk_window *p, const pk_window_io *io) {
    win_stream s = {0};
    win_layout(p, io->scratch, &s);
    start_output(&s, io);
    if (p->rows && p->cols && pack_weights(&s, io)) {
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
