/* Windows of single taps, few enough that streaming rows through planes costs more than it saves: small dense, strided
 * and dilated kernels, and their input gradients. A ring of the map's rows, packed with zeros beside them, is in the first
 * cache; each output row is made at once from the rows that it sees, TAPS_X places in registers over all taps. A stuffed
 * map (the gradient of a stride) is taken by phases: outputs `stuff` apart see the same taps, and only those that meet a
 * value. Included by window*.inc.c only. */
#ifndef PK_KERNELS_WINDOW_TAPS_H
#define PK_KERNELS_WINDOW_TAPS_H

#include "kernels/window_stream.h"

/* Places of the widest tile; up to seven weights and a value lie beside them. */
#if VREGS == 32
#define TAPS_X 14
#else
#define TAPS_X 7
#endif

typedef struct taps {
    const pk_window *p;
    int height, width; /* of the map, values only */
    int left;          /* pixels before pixel 0 of a row */
    int held;          /* rows of the ring, a power of two */
    int next;          /* first row that is not packed yet */
    ptrdiff_t pitch;   /* floats from one row of the ring to the next */
    float *weights;    /* [rows][cols] vectors, or their sums */
    const char *used;  /* rows that have a weight other than 0 in this block of channels; null: all have */
    float *ring;
} taps;

/* The rows and columns that an output row sees, in one phase. */
typedef struct taps_line {
    int rows, cols;
    const float *row[PK_WINDOW_TAPS]; /* pixel 0 */
    float *weight[PK_WINDOW_TAPS];    /* of that row */
    ptrdiff_t offset[PK_WINDOW_TAPS]; /* of a column's tap for output 0, floats */
    int col[PK_WINDOW_TAPS];
    ptrdiff_t step;                   /* from one output to the next, floats */
    bool run;                         /* outputs and taps lie side by side: their loads are shared */
} taps_line;

/* Weight gradients of stuffed maps always stream. */
PK_INLINE bool taps_sum_weights(const pk_window *p) { return p->few && p->stuff_x == 1 && p->stuff_y == 1; }

/* a / b for b > 0, rounded down. */
PK_INLINE int taps_floor(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

/* Outputs of a tile for n that are left. */
PK_INLINE int taps_tile_width(int n) { return n > 7 ? TAPS_X : 7; }

static inline int64_t taps_layout(const pk_window *p, char *base, taps *t) {
    const int64_t vector = VL * (int64_t)sizeof(float), weights = win_up((int64_t)p->rows * p->cols * vector);
    int low = 0, high = 0;
    for (int j = 0; j < p->cols; j++) {
        const int at = taps_floor(p->col[j].at, p->stuff_x), last = taps_floor(p->col[j].at + p->stuff_x - 1, p->stuff_x);
        low = at < low ? at : low;
        high = last > high ? last : high;
    }
    *t = (taps){.p = p, .height = p->in_h ? (p->in_h - 1) / p->stuff_y + 1 : 0, .left = -low, .held = 1,
                .width = p->in_w ? (p->in_w - 1) / p->stuff_x + 1 : 0};
    const int outputs = (p->out_w + p->stuff_x - 1) / p->stuff_x + TAPS_X;
    int64_t pixels = (int64_t)(outputs - 1) * p->stride_x + high + 1;
    if (pixels < t->width) pixels = t->width;
    t->pitch = (ptrdiff_t)(t->left + pixels) * VL;
    const int span = p->rows ? (p->row[p->rows - 1].at - p->row[0].at) / p->stuff_y + 2 : 1;
    while (t->held < span) t->held *= 2;
    const int64_t ring = (int64_t)t->held * t->pitch * (int64_t)sizeof(float);
    if (!base) return weights + ring;
    t->weights = (float *)(void *)base;
    t->ring = (float *)(void *)(base + weights) + (ptrdiff_t)t->left * VL;
    memset(base + weights, 0, (size_t)ring);
    return weights + ring;
}

static inline float *taps_row(const taps *t, int row) { return t->ring + (ptrdiff_t)(row & (t->held - 1)) * t->pitch; }

/* Pack the map's rows up to `last`. */
static inline void taps_pack(taps *t, const pk_window_io *io, int last) {
    for (; t->next <= last && t->next < t->height; t->next++) {
        const float *from = io->x + (int64_t)t->next * t->width * io->ldx;
        float *to = taps_row(t, t->next);
        for (int x = 0; x < t->width; x++, from += io->ldx) {
            WIN_FETCH(from, io->ldx, 0);
            v_store(to + (ptrdiff_t)x * VL, win_load(from, io->lanes));
        }
    }
}

/* What output row q sees: rows in the map, packed. */
static inline void taps_see_rows(taps *t, const pk_window_io *io, int q, taps_line *l) {
    const pk_window *p = t->p;
    l->rows = 0;
    for (int i = 0; i < p->rows; i++) {
        const int at = q * p->stride_y + p->row[i].at;
        if (at < 0 || at >= p->in_h || at % p->stuff_y || (t->used && !t->used[i])) continue;
        taps_pack(t, io, at / p->stuff_y);
        l->row[l->rows] = taps_row(t, at / p->stuff_y);
        l->weight[l->rows++] = t->weights + (ptrdiff_t)i * p->cols * VL;
    }
}

/* The columns that outputs phase, phase + stuff ... see. */
static inline void taps_see_columns(const taps *t, int phase, taps_line *l) {
    const pk_window *p = t->p;
    l->cols = 0;
    l->step = (ptrdiff_t)p->stride_x * VL;
    for (int j = 0; j < p->cols; j++) {
        const int at = phase * p->stride_x + p->col[j].at;
        if (taps_floor(at, p->stuff_x) * p->stuff_x != at) continue;
        l->offset[l->cols] = (ptrdiff_t)taps_floor(at, p->stuff_x) * VL;
        l->col[l->cols++] = j;
    }
    const int last = l->cols - 1;
    l->run = l->step == VL && last >= 0 && l->offset[last] - l->offset[0] == (ptrdiff_t)last * VL &&
             l->col[last] - l->col[0] == last;
}

#endif
