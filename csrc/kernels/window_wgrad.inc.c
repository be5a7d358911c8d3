/* The window's weight gradient: the same stream of box rows as forward. TILE_R bands x TILE_X columns of sums stay in
 * registers along a block of the output row. */
#include "kernels/window_stream.h"

/* sum[r][j] += sum over n places x of dy[r][x] * sums of column j, whose parts are src[j * PK_PARTS ...]. */
PK_INLINE void tile(const int R, const int J, const int parts, const float *const *src, ptrdiff_t at, ptrdiff_t step, int n,
                    const float *const *dy, float *const *sum) {
    vf acc[TILE_R][TILE_X];
    UNROLL for (int r = 0; r < R; r++) {
        UNROLL for (int j = 0; j < J; j++) acc[r][j] = v_load(sum[r] + j * VL);
    }
    for (int x = 0; x < n; x++) {
        vf g[TILE_R];
        UNROLL for (int r = 0; r < R; r++) g[r] = v_load(dy[r] + x * VL);
        UNROLL for (int j = 0; j < J; j++) {
            vf b = win_box(src + j * PK_PARTS, at + x * step, parts);
            if (R > 1 && parts == 1) WIN_HOLD(b);
            UNROLL for (int r = 0; r < R; r++) acc[r][j] = v_fma(b, g[r], acc[r][j]);
        }
    }
    UNROLL for (int r = 0; r < R; r++) {
        UNROLL for (int j = 0; j < J; j++) v_store(sum[r] + j * VL, acc[r][j]);
    }
}

typedef void tile_fn(int parts, const float *const *src, ptrdiff_t at, ptrdiff_t step, int n, const float *const *dy,
                     float *const *sum);

#define TILE(R, J)                                                                                                     \
    static void tile_##R##x##J(int parts, const float *const *src, ptrdiff_t at, ptrdiff_t step, int n,                \
                               const float *const *dy, float *const *sum) {                                            \
        if (parts == 1) tile(R, J, 1, src, at, step, n, dy, sum);                                                      \
        else if (parts == 2) tile(R, J, 2, src, at, step, n, dy, sum);                                                 \
        else tile(R, J, 3, src, at, step, n, dy, sum);                                                                 \
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
    const ptrdiff_t step = (ptrdiff_t)p->stride_x * VL;
    const float *dy[TILE_R];
    float *sum[TILE_R];
    for (int k = 0; k < s->blocks; k++) {
        const win_block *b = &s->block[k];
        for (int r = 0; r < g->n; r++) dy[r] = s->other + ((ptrdiff_t)g->out[r] * p->out_w + b->x) * VL;
        for (int parts = 1; parts <= PK_PARTS; parts++) {
            const int cols = b->last[parts - 1] - b->first[parts - 1], pieces = (cols + TILE_X - 1) / TILE_X;
            for (int piece = 0; piece < pieces; piece++) {
                int first = b->first[parts - 1] + cols * piece / pieces, last = b->first[parts - 1] + cols * (piece + 1) / pieces;
                for (int r = 0; r < g->n; r++) sum[r] = s->weights + ((ptrdiff_t)g->band[r] * p->cols + first) * VL;
                tiles[g->n - 1][last - first - 1](parts, s->src + first * PK_PARTS, b->x * step, step, b->n, dy, sum);
            }
        }
    }
}

void PK_NAME(window_wgrad)(const pk_window *p, const pk_window_io *io) {
    win_stream s = {0};
    if (!p->rows || !p->cols) return;
    win_layout(p, io->scratch, &s);
    win_blocks(&s);
    win_pack(&s, io);
    memset(s.weights, 0, (size_t)p->rows * (size_t)p->cols * VL * sizeof(float));
    const int64_t n = (int64_t)p->out_h * p->out_w;
    for (int64_t i = 0; i < n; i++) v_store(s.other + i * VL, win_load(io->y + i * io->ldy, io->lanes));
    win_stream_rows(&s, use);
    const float *sum = s.weights;
    for (int i = 0; i < p->rows; i++)
        for (int j = 0; j < p->cols; j++, sum += VL) {
            float *dw = io->dw + ((int64_t)p->row[i].index * p->weight_cols + p->col[j].index) * io->ldw;
            win_store(dw, v_add(win_load(dw, io->lanes), v_load(sum)), io->lanes);
        }
}
