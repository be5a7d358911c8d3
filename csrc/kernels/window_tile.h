/* The register tile of the window kernels, for forward (WIN_WGRAD 0) and for the weight gradient (1). Included by
 * window*.inc.c only.
 *
 * A tile is R rows (bands with the output rows that see the streamed row through them) by X places. In registers stay
 * the outputs, and the weights come by column; or the output's gradients, and the columns' sums come by. Loads are what
 * limits it, so each kind of column loads what its neighbouring places share only once. */
#ifndef PK_KERNELS_WINDOW_TILE_H
#define PK_KERNELS_WINDOW_TILE_H

#include "kernels/window_stream.h"

#define UNROLL_ALL _Pragma("GCC unroll 16")

/* One product: b is the box at place x of row r. */
#define WIN_PRODUCT(tile, weight, b)            \
    do {                                        \
        if (WIN_WGRAD) weight = v_fma(b, tile, weight); \
        else tile = v_fma(b, weight, tile);     \
    } while (0)

/* Columns [first, last) of `parts` parts; by: the shift between the first two that shares loads, or 0. */
PK_INLINE void win_columns(vf tile[TILE_R][TILE_X], const int R, const int X, const int parts, const int by,
                           const float *const *src, ptrdiff_t at, ptrdiff_t step, int first, int last,
                           float *const *w) {
    for (int j = first; j < last; j++) {
        const float *from[PK_PARTS];
        vf weight[TILE_R], seen[TILE_X + 4];
        UNROLL for (int n = 0; n < parts; n++) {
            from[n] = src[j * PK_PARTS + n] + at;
            WIN_POINT(from[n]);
        }
        UNROLL for (int r = 0; r < R; r++) weight[r] = v_load(w[r] + j * VL);
        UNROLL for (int x = 0; x < by; x++) seen[x] = v_load(from[0] + x * step);
        UNROLL for (int x = 0; x < X; x++) {
            vf b;
            if (by) {
                seen[x + by] = v_load(from[0] + (x + by) * step);
                WIN_HOLD(seen[x + by]);
                b = v_add(seen[x], seen[x + by]);
            } else {
                b = v_load(from[0] + x * step);
                if (parts > 1) b = v_add(b, v_load(from[1] + x * step));
            }
            if (parts > 2) b = v_add(b, v_load(from[2] + x * step));
            if (R > 1 && parts == 1) WIN_HOLD(b);
            UNROLL for (int r = 0; r < R; r++) WIN_PRODUCT(tile[r][x], weight[r], b);
        }
        UNROLL for (int r = 0; WIN_WGRAD && r < R; r++) v_store(w[r] + j * VL, weight[r]);
    }
}

/* Runs of J single taps side by side: X + J - 1 loads for all of them. Returns the first column left over. */
PK_INLINE int win_runs(vf tile[TILE_R][TILE_X], const int R, const int X, const int J, const float *const *src,
                       ptrdiff_t at, int first, int last, float *const *w) {
    for (; last - first >= J; first += J) {
        const float *from = src[first * PK_PARTS] + at;
        vf weight[TILE_R][5];
        WIN_POINT(from);
        UNROLL for (int r = 0; r < R; r++) {
            UNROLL for (int j = 0; j < J; j++) weight[r][j] = v_load(w[r] + (first + j) * VL);
        }
        UNROLL_ALL for (int i = 0; i < X + J - 1; i++) {
            vf b = v_load(from + i * VL);
            WIN_HOLD(b);
            UNROLL for (int j = 0; j < J; j++) {
                const int x = i - j;
                if (x < 0 || x >= X) continue;
                UNROLL for (int r = 0; r < R; r++) WIN_PRODUCT(tile[r][x], weight[r][j], b);
            }
        }
        UNROLL for (int r = 0; WIN_WGRAD && r < R; r++) {
            UNROLL for (int j = 0; j < J; j++) v_store(w[r] + (first + j) * VL, weight[r][j]);
        }
    }
    return first;
}

/* All columns that reach block b, for `count` blocks of X places. near: stride 1. */
PK_INLINE void win_tile(const int R, const int X, const bool near, const float *const *src, ptrdiff_t step,
                        const win_block *b, int count, float *const *w, float *const *rows) {
    for (; count > 0; count--, b++) {
        const ptrdiff_t at = b->x * step, place = (ptrdiff_t)b->x * VL;
        vf tile[TILE_R][TILE_X];
        float *row[TILE_R];
        UNROLL for (int r = 0; r < R; r++) {
            row[r] = rows[r] + place;
            WIN_POINT(row[r]);
            UNROLL for (int x = 0; x < X; x++) tile[r][x] = v_load(row[r] + x * VL);
        }
        if (near) {
            int first = b->first[PK_RUN], last = b->last[PK_RUN];
            if (R * (X + 5) < VREGS) first = win_runs(tile, R, X, 5, src, at, first, last, w);
            if (R * (X + 2) < VREGS) first = win_runs(tile, R, X, 2, src, at, first, last, w);
            win_columns(tile, R, X, 1, 0, src, at, step, first, last, w);
            win_columns(tile, R, X, 2, 1, src, at, step, b->first[PK_TWO_BY_1], b->last[PK_TWO_BY_1], w);
            win_columns(tile, R, X, 2, 4, src, at, step, b->first[PK_TWO_BY_4], b->last[PK_TWO_BY_4], w);
            win_columns(tile, R, X, 3, 4, src, at, step, b->first[PK_THREE_BY_4], b->last[PK_THREE_BY_4], w);
        }
        win_columns(tile, R, X, 1, 0, src, at, step, b->first[PK_ONE], b->last[PK_ONE], w);
        win_columns(tile, R, X, 2, 0, src, at, step, b->first[PK_TWO], b->last[PK_TWO], w);
        win_columns(tile, R, X, 3, 0, src, at, step, b->first[PK_THREE], b->last[PK_THREE], w);
        UNROLL for (int r = 0; !WIN_WGRAD && r < R; r++) {
            UNROLL for (int x = 0; x < X; x++) v_store(row[r] + x * VL, tile[r][x]);
        }
    }
}

typedef void win_tile_fn(const float *const *src, ptrdiff_t step, const win_block *b, int count, float *const *w,
                         float *const *rows);

/* One for stride 1, where places lie side by side, one for any stride. */
#define WIN_TILE(R, X)                                                                                                 \
    static void tile_##R##x##X(const float *const *src, ptrdiff_t step, const win_block *b, int count,                 \
                               float *const *w, float *const *rows) {                                                  \
        (void)step;                                                                                                    \
        win_tile(R, X, true, src, VL, b, count, w, rows);                                                              \
    }                                                                                                                  \
    static void tile_##R##x##X##_any(const float *const *src, ptrdiff_t step, const win_block *b, int count,           \
                                     float *const *w, float *const *rows) {                                            \
        win_tile(R, X, false, src, step, b, count, w, rows);                                                           \
    }
#define WIN_TILES_6(R) WIN_TILE(R, 1) WIN_TILE(R, 2) WIN_TILE(R, 3) WIN_TILE(R, 4) WIN_TILE(R, 5) WIN_TILE(R, 6)
#define WIN_NAMES_6(R, _)                                                                                              \
    tile_##R##x1##_, tile_##R##x2##_, tile_##R##x3##_, tile_##R##x4##_, tile_##R##x5##_, tile_##R##x6##_
#if TILE_X == 8
#define WIN_TILES(R) WIN_TILES_6(R) WIN_TILE(R, 7) WIN_TILE(R, 8)
#define WIN_NAMES(R, _) WIN_NAMES_6(R, _), tile_##R##x7##_, tile_##R##x8##_
#else
#define WIN_TILES(R) WIN_TILES_6(R)
#define WIN_NAMES(R, _) WIN_NAMES_6(R, _)
#endif

WIN_TILES(1)
WIN_TILES(2)
#if TILE_R == 3
WIN_TILES(3)
#endif

static win_tile_fn *const win_tiles[2][TILE_R][TILE_X] = {
#if TILE_R == 3
    {{WIN_NAMES(1, )}, {WIN_NAMES(2, )}, {WIN_NAMES(3, )}},
    {{WIN_NAMES(1, _any)}, {WIN_NAMES(2, _any)}, {WIN_NAMES(3, _any)}},
#else
    {{WIN_NAMES(1, )}, {WIN_NAMES(2, )}},
    {{WIN_NAMES(1, _any)}, {WIN_NAMES(2, _any)}},
#endif
};

/* Everything a streamed row adds, for a group of bands that see it. */
static void win_use(win_stream *s, const win_group *g) {
    const pk_window *p = s->p;
    float *w[TILE_R], *rows[TILE_R];
    for (int r = 0; r < g->n; r++) {
        w[r] = s->weights + (ptrdiff_t)g->band[r] * p->cols * VL;
        rows[r] = s->other + (ptrdiff_t)g->out[r] * p->out_w * VL;
    }
    for (int k = 0; k < s->blocks;) {
        int n = s->block[k].n, count = k < s->wide ? s->wide : s->blocks - s->wide;
        win_tiles[p->stride_x > 1][g->n - 1][n - 1](s->src, (ptrdiff_t)p->stride_x * VL, s->block + k, count, w, rows);
        k += count;
    }
}

#endif
