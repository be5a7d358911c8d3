/* The register tile of the window kernels, for forward (WIN_WGRAD 0) and for the weight gradient (1). Included by
 * window*.inc.c only.
 *
 * A tile is R rows (bands with the output rows that see the streamed row through them) by X places. In registers stay
 * the outputs, and the weights come by column; or the output's gradients, and the columns' sums come by. Loads are what
 * limits it, so each kind of column loads what its neighbouring places share only once. */
#ifndef PK_KERNELS_WINDOW_TILE_H
#define PK_KERNELS_WINDOW_TILE_H

#include "kernels/window_stream.h"

/* One product: b is the box at place x of row r. */
#define WIN_PRODUCT(tile, weight, b)            \
    do {                                        \
        if (WIN_WGRAD) weight = v_fma(b, tile, weight); \
        else tile = v_fma(b, weight, tile);     \
    } while (0)

/* The vector at place x of a column. Its address stays a sum of two registers in the load itself: adding them first
 * makes what follows wait for one more step after the pointer's own load, which costs far more than it should. */
#define WIN_SEE(to, from, at, x)                      \
    do {                                              \
        WIN_POINT(at);                                \
        to = v_load((from) + (at) + (x) * step);      \
    } while (0)

/* Columns [first, last) of `parts` parts; by: the shift between the first two that shares loads, or 0. */
PK_INLINE void win_columns(vf tile[TILE_R][TILE_WIDE], const int R, const int X, const int parts, const int by,
                           const float *const *src, ptrdiff_t at, ptrdiff_t step, int first, int last,
                           float *const *w) {
    for (int j = first; j < last; j++) {
        const float *const *from = src + j * PK_PARTS;
        const float *one = from[0], *two = parts > 1 && !by ? from[1] : NULL, *three = parts > 2 ? from[2] : NULL;
        vf weight[TILE_R], seen[TILE_WIDE + 4], other;
        UNROLL for (int r = 0; r < R; r++) weight[r] = v_load(w[r] + j * VL);
        UNROLL for (int x = 0; x < by; x++) WIN_SEE(seen[x], one, at, x);
        UNROLL for (int x = 0; x < X; x++) {
            vf b;
            if (by) {
                WIN_SEE(seen[x + by], one, at, x + by);
                V_HOLD(seen[x + by]);
                b = v_add(seen[x], seen[x + by]);
            } else {
                WIN_SEE(b, one, at, x);
                if (parts > 1) {
                    WIN_SEE(other, two, at, x);
                    b = v_add(b, other);
                }
            }
            if (parts > 2) {
                WIN_SEE(other, three, at, x);
                b = v_add(b, other);
            }
            if (R > 1 && parts == 1) V_HOLD(b);
            UNROLL for (int r = 0; r < R; r++) WIN_PRODUCT(tile[r][x], weight[r], b);
        }
        UNROLL for (int r = 0; WIN_WGRAD && r < R; r++) v_store(w[r] + j * VL, weight[r]);
    }
}

/* Runs of J single taps side by side: X + J - 1 loads for all of them. Returns the first column left over. */
PK_INLINE int win_runs(vf tile[TILE_R][TILE_WIDE], const int R, const int X, const int J, const float *const *src,
                       ptrdiff_t at, int first, int last, float *const *w) {
    const ptrdiff_t step = VL;
    for (; last - first >= J; first += J) {
        const float *from = src[first * PK_PARTS];
        vf weight[TILE_R][5];
        UNROLL for (int r = 0; r < R; r++) {
            UNROLL for (int j = 0; j < J; j++) weight[r][j] = v_load(w[r] + (first + j) * VL);
        }
        UNROLL for (int i = 0; i < X + J - 1; i++) {
            vf b;
            WIN_SEE(b, from, at, i);
            V_HOLD(b);
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

/* Do the loads that places `by` apart share fit in the registers beside the tile? */
#define WIN_BY(R, X, by) ((R) * (X) + (by) + (R) + 1 <= VREGS ? (by) : 0)

/* All columns that reach block b, for `count` blocks of X places. near: stride 1. */
PK_INLINE void win_tile(const int R, const int X, const bool near, const float *const *src, ptrdiff_t step,
                        const win_block *b, int count, float *const *w, float *const *rows) {
    for (; count > 0; count--, b++) {
        const ptrdiff_t at = b->x * step, place = (ptrdiff_t)b->x * VL;
        vf tile[TILE_R][TILE_WIDE];
        float *row[TILE_R];
        UNROLL for (int r = 0; r < R; r++) {
            row[r] = rows[r] + place;
            WIN_POINT(row[r]);
            UNROLL for (int x = 0; x < X; x++) tile[r][x] = v_load(row[r] + x * VL);
        }
        if (near) {
            const int by_1 = WIN_BY(R, X, 1), by_4 = WIN_BY(R, X, 4);
            int first = b->first[PK_RUN], last = b->last[PK_RUN];
            if (R * (X + 5) < VREGS) first = win_runs(tile, R, X, 5, src, at, first, last, w);
            if (R * (X + 2) < VREGS) first = win_runs(tile, R, X, 2, src, at, first, last, w);
            win_columns(tile, R, X, 1, 0, src, at, step, first, last, w);
            win_columns(tile, R, X, 2, by_1, src, at, step, b->first[PK_TWO_BY_1], b->last[PK_TWO_BY_1], w);
            win_columns(tile, R, X, 2, by_4, src, at, step, b->first[PK_TWO_BY_4], b->last[PK_TWO_BY_4], w);
            win_columns(tile, R, X, 3, by_4, src, at, step, b->first[PK_THREE_BY_4], b->last[PK_THREE_BY_4], w);
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

/* Places side by side (stride 1), and places of any stride: those have one row, for their rows seldom meet. */
#define WIN_NEAR(R, X)                                                                                                 \
    static void tile_##R##x##X(const float *const *src, ptrdiff_t step, const win_block *b, int count,                 \
                               float *const *w, float *const *rows) {                                                  \
        (void)step;                                                                                                    \
        win_tile(R, X, true, src, VL, b, count, w, rows);                                                              \
    }
#define WIN_ANY(R, X)                                                                                                  \
    static void tile_any_##X(const float *const *src, ptrdiff_t step, const win_block *b, int count, float *const *w,  \
                             float *const *rows) {                                                                     \
        win_tile(1, X, false, src, step, b, count, w, rows);                                                           \
    }
#define WIN_NAME(R, X) tile_##R##x##X,
#define WIN_ANY_NAME(R, X) tile_any_##X,

#define WIN_6(F, R) F(R, 1) F(R, 2) F(R, 3) F(R, 4) F(R, 5) F(R, 6)
#define WIN_8(F, R) WIN_6(F, R) F(R, 7) F(R, 8)
#define WIN_9(F, R) WIN_8(F, R) F(R, 9)
#define WIN_14(F, R) WIN_9(F, R) F(R, 10) F(R, 11) F(R, 12) F(R, 13) F(R, 14)
#if TILE_R == 3
#define WIN_TALL WIN_8
#define WIN_FLAT WIN_14
WIN_TALL(WIN_NEAR, 3)
#else
#define WIN_TALL WIN_6
#define WIN_FLAT WIN_9
#endif
WIN_FLAT(WIN_ANY, 1)
WIN_FLAT(WIN_NEAR, 1)
WIN_TALL(WIN_NEAR, 2)

static win_tile_fn *const win_tiles[TILE_R + 1][TILE_WIDE] = { /* any stride; 1, 2 ... rows */
    {WIN_FLAT(WIN_ANY_NAME, 1)}, {WIN_FLAT(WIN_NAME, 1)}, {WIN_TALL(WIN_NAME, 2)},
#if TILE_R == 3
    {WIN_TALL(WIN_NAME, 3)},
#endif
};

/* Everything a streamed row adds, for a group of bands that see it. */
static void win_use(win_stream *s, const win_group *g) {
    const pk_window *p = s->p;
    const win_split *split = &s->split[g->n == 1];
    win_tile_fn *const *tiles = win_tiles[p->stride_x > 1 ? 0 : g->n];
    float *w[TILE_R], *rows[TILE_R];
    for (int r = 0; r < g->n; r++) {
        w[r] = s->weights + (ptrdiff_t)g->band[r] * p->cols * VL;
        rows[r] = s->other + (ptrdiff_t)g->out[r] * p->out_w * VL;
    }
    for (int k = 0; k < split->blocks;) {
        const win_block *block = split->block + k;
        const int count = k < split->wide ? split->wide : split->blocks - split->wide;
        tiles[block->n - 1](s->src, (ptrdiff_t)p->stride_x * VL, block, count, w, rows);
        k += count;
    }
}

#endif
