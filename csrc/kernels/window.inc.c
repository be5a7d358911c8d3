/* The window's forward: input-stationary. Every box row, while it is in the first cache, is added into all output rows
 * that look at it; TILE_R output rows x TILE_X places stay in registers over the column bands. */
#include "kernels/window_stream.h"

int PK_NAME(window_lanes)(void) { return VL; }

int64_t PK_NAME(window_scratch)(const pk_window *p) {
    win_stream s = {0};
    return win_layout(p, NULL, &s);
}

/* acc[r][x] += w[r][j] * sums of column j, for the columns [first, last), which are of so many parts. */
PK_INLINE void columns(vf acc[TILE_R][TILE_X], const int R, const int X, const int parts, const float *const *src, ptrdiff_t at,
                       ptrdiff_t step, int first, int last, const float *const *w) {
    for (int j = first; j < last; j++) {
        vf weight[TILE_R];
        UNROLL for (int r = 0; r < R; r++) weight[r] = v_load(w[r] + j * VL);
        UNROLL for (int x = 0; x < X; x++) {
            vf b = win_box(src + j * PK_PARTS, at + x * step, parts);
            if (R > 1 && parts == 1) WIN_HOLD(b);
            UNROLL for (int r = 0; r < R; r++) acc[r][x] = v_fma(b, weight[r], acc[r][x]);
        }
    }
}

/* out[r][x] += sum over the columns that reach block b of w[r][j] * sums. */
PK_INLINE void tile(const int R, const int X, const float *const *src, ptrdiff_t step, const win_block *b, const float *const *w,
                    float *const *out) {
    const ptrdiff_t at = b->x * step;
    vf acc[TILE_R][TILE_X];
    UNROLL for (int r = 0; r < R; r++) {
        UNROLL for (int x = 0; x < X; x++) acc[r][x] = v_load(out[r] + x * VL);
    }
    columns(acc, R, X, 1, src, at, step, b->first[0], b->last[0], w);
    columns(acc, R, X, 2, src, at, step, b->first[1], b->last[1], w);
    columns(acc, R, X, 3, src, at, step, b->first[2], b->last[2], w);
    UNROLL for (int r = 0; r < R; r++) {
        UNROLL for (int x = 0; x < X; x++) v_store(out[r] + x * VL, acc[r][x]);
    }
}

typedef void tile_fn(const float *const *src, ptrdiff_t step, const win_block *b, const float *const *w, float *const *out);

#define TILE(R, X)                                                                                                     \
    static void tile_##R##x##X(const float *const *src, ptrdiff_t step, const win_block *b, const float *const *w,     \
                               float *const *out) {                                                                    \
        if (step == VL) tile(R, X, src, VL, b, w, out);                                                                \
        else tile(R, X, src, step, b, w, out);                                                                         \
    }
#define TILES_6(R) TILE(R, 1) TILE(R, 2) TILE(R, 3) TILE(R, 4) TILE(R, 5) TILE(R, 6)
#define NAMES_6(R) tile_##R##x1, tile_##R##x2, tile_##R##x3, tile_##R##x4, tile_##R##x5, tile_##R##x6
#if TILE_X == 8
#define TILES(R) TILES_6(R) TILE(R, 7) TILE(R, 8)
#define NAMES(R) NAMES_6(R), tile_##R##x7, tile_##R##x8
#else
#define TILES(R) TILES_6(R)
#define NAMES(R) NAMES_6(R)
#endif

TILES(1)
TILES(2)
#if TILE_R == 3
TILES(3)
#endif

static tile_fn *const tiles[TILE_R][TILE_X] = {
    {NAMES(1)},
    {NAMES(2)},
#if TILE_R == 3
    {NAMES(3)},
#endif
};

static void use(win_stream *s, const win_group *g) {
    const pk_window *p = s->p;
    const float *w[TILE_R];
    float *out[TILE_R];
    for (int r = 0; r < g->n; r++) w[r] = s->weights + (ptrdiff_t)g->band[r] * p->cols * VL;
    for (int k = 0; k < s->blocks; k++) {
        const win_block *b = &s->block[k];
        for (int r = 0; r < g->n; r++) out[r] = s->other + ((ptrdiff_t)g->out[r] * p->out_w + b->x) * VL;
        tiles[g->n - 1][b->n - 1](s->src, (ptrdiff_t)p->stride_x * VL, b, w, out);
    }
}

static void pack_weights(win_stream *s, const pk_window_io *io) {
    const pk_window *p = s->p;
    float *to = s->weights;
    for (int i = 0; i < p->rows; i++)
        for (int j = 0; j < p->cols; j++, to += VL)
            v_store(to, win_load(io->w + ((int64_t)p->row[i].index * p->weight_cols + p->col[j].index) * io->ldw, io->lanes));
}

/* Output rows begin as bias plus map. */
static void start_output(win_stream *s, const pk_window_io *io) {
    const vf bias = io->bias ? win_load(io->bias, io->lanes) : v_zero();
    const int64_t n = (int64_t)s->p->out_h * s->p->out_w;
    if (!io->map) {
        for (int64_t i = 0; i < n; i++) v_store(s->other + i * VL, bias);
    } else {
        for (int64_t i = 0; i < n; i++) v_store(s->other + i * VL, v_add(bias, win_load(io->map + i * io->ldmap, io->lanes)));
    }
}

void PK_NAME(window_forward)(const pk_window *p, const pk_window_io *io) {
    win_stream s = {0};
    win_layout(p, io->scratch, &s);
    win_blocks(&s);
    start_output(&s, io);
    if (p->rows && p->cols) {
        win_pack(&s, io);
        pack_weights(&s, io);
        win_stream_rows(&s, use);
    }
    const int64_t n = (int64_t)p->out_h * p->out_w;
    for (int64_t i = 0; i < n; i++) win_store(io->y + i * io->ldy, v_load(s.other + i * VL), io->lanes);
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
