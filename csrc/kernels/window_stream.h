/* What the window kernels share: the map, packed, streamed as box rows. Included by window*.inc.c only.
 *
 * The map's block of channels is packed to a plane of vectors. For each distinct band height, ascending, vertical sums
 * of that many rows are at hand as a plane, which grows by doubling: T_2h[s] = T_h[s] + T_h[s-h], s being a sum's last
 * row. Each of its rows gets its box rows, horizontal sums of 4, 16 ... pixels, of which every band width is composed
 * (window.c); whoever streams then uses them for all bands that look at that row. Sums are made by adding alone: nothing
 * is ever taken away again, so a huge value stays within its windows, and rounding within a few ulp of the sum. */
#ifndef PK_KERNELS_WINDOW_STREAM_H
#define PK_KERNELS_WINDOW_STREAM_H

#include <string.h>

#include "kernels/kernels.h"
#include "kernels/vec.h"

/* Register tiles: TILE_R rows share a loaded box, TILE_X places of it each; one row takes TILE_WIDE places. */
#if VREGS == 32
#define TILE_R 3
#define TILE_X 8
#define TILE_WIDE 14
#else
#define TILE_R 2
#define TILE_X 6
#define TILE_WIDE 9
#endif
#define UNROLL _Pragma("GCC unroll 20")

/* Keep a pointer as it is, so that places are constant displacements from it and not a register each. */
#if defined(__GNUC__)
#define WIN_POINT(p) __asm__("" : "+r"(p))
#else
#define WIN_POINT(p) (void)(p)
#endif

/* Pixels of a tensor lie a cache line or more apart: ask for them early. A fetch beyond the end does no harm. */
#define WIN_AHEAD 12
#define WIN_FETCH(p, pixel, write)                                                                                     \
    __builtin_prefetch((const void *)((uintptr_t)(p) + (uintptr_t)(pixel)*WIN_AHEAD * 4), write)

/* A run of outputs of a row, and of the columns of each kind those that reach it: [first, last). */
typedef struct win_block {
    int32_t x, n, first[PK_KINDS], last[PK_KINDS];
} win_block;

/* A row of outputs as runs of at most so many. */
typedef struct win_split {
    win_block *block;
    int blocks, wide; /* the first `wide` are one place wider than the others */
} win_split;

/* src[at] is the row that is streamed, so many floats further. */
typedef struct win_move {
    int32_t at, offset;
} win_move;

/* The scratch of a task. Pointers to rows point at pixel 0; what is read beside a row (up to `pad`) holds zeros. */
typedef struct win_stream {
    const pk_window *p;
    const pk_window_io *io;
    int pad;            /* pixels */
    ptrdiff_t pitch;    /* floats from one plane row to the next */
    float *x;           /* plane of the map; the same as t, which soon holds sums, where single rows are not wanted later or
                         * can be read from the tensor */
    float *t;           /* plane of vertical sums of two rows and more */
    int t_rows;         /* of that plane */
    int height;         /* of the vertical sums at hand; 1: the map itself */
    float *sum;         /* one row: heights that are no power of two */
    float *boxes;       /* box rows */
    int box_pad;        /* pixels before pixel 0 of a box row */
    ptrdiff_t box_pitch; /* pixels from one box row to the next */
    const float **box;  /* box[b]: row of box b; box[0] changes with each row streamed */
    const float **src;  /* src[j * PK_PARTS + n]: part n of column j's sums, where output 0 looks */
    win_move *move;     /* the parts in src that the row itself holds, not a stored box row */
    int moves;
    float *other;       /* plane of the output or its gradient: out_h x out_w, without pad */
    float *weights;     /* rows x cols vectors */
    char *used;         /* rows, then columns: has it a weight other than 0 in this block of channels? null: all have */
    win_block *block;
    win_split split[2]; /* into runs of TILE_X, and of TILE_WIDE for tiles of one row */
} win_stream;

PK_INLINE int win_power(int n) {
    int p = 1;
    while (p <= n / 2) p *= 2;
    return p;
}
PK_INLINE int64_t win_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/* Lay out the scratch from `base` (null: only measure). Returns its bytes. */
static inline int64_t win_layout(const pk_window *p, char *base, win_stream *s) {
    const int64_t vector = VL * (int64_t)sizeof(float);
    const int margin = p->out_w > 0 ? ((p->out_w < TILE_WIDE ? p->out_w : TILE_WIDE) - 1) * p->stride_x : 0;
    int64_t at = 0, tallest = 1, composite = 0, wide = 0;
    for (int h = 0; h < p->heights; h++) {
        int power = win_power(p->height[h].size);
        tallest = power > tallest ? power : tallest;
        composite |= power != p->height[h].size;
    }
    s->p = p;
    s->pad = margin + p->near_col > p->near_box ? margin + p->near_col : p->near_box;
    s->t_rows = (int)(p->in_h + tallest - 1);
    int64_t pitch = (p->in_w + s->pad) * vector;
    s->pitch = pitch / (int64_t)sizeof(float);
#define WIN_TAKE(field, bytes, offset) (s->field = base ? (void *)(base + at + (offset)) : NULL, at += win_up(bytes))
    WIN_TAKE(t, s->t_rows * pitch + s->pad * vector, s->pad * vector);
    s->x = s->t;
    if (composite && (p->stuff_y > 1 || p->stuff_x > 1)) WIN_TAKE(x, p->in_h * pitch + s->pad * vector, s->pad * vector);
    if (composite) WIN_TAKE(sum, pitch + s->pad * vector, s->pad * vector);
    s->box_pad = margin + p->widest;
    s->box_pitch = p->in_w + 2 * s->box_pad;
    wide = (p->boxes - 1) * s->box_pitch;
    WIN_TAKE(boxes, wide * vector, 0);
    WIN_TAKE(box, p->boxes * (int64_t)sizeof(float *), 0);
    WIN_TAKE(src, (p->cols + 1) * PK_PARTS * (int64_t)sizeof(float *), 0);
    WIN_TAKE(move, p->cols * PK_PARTS * (int64_t)sizeof(win_move), 0);
    WIN_TAKE(other, (int64_t)p->out_h * p->out_w * vector, 0);
    WIN_TAKE(weights, (int64_t)p->rows * p->cols * vector, 0);
    WIN_TAKE(used, (int64_t)p->rows + p->cols, 0);
    WIN_TAKE(block, (p->out_w / TILE_X + p->out_w / TILE_WIDE + 4) * (int64_t)sizeof(win_block), 0);
#undef WIN_TAKE
    s->height = 1;
    if (!base) return at;
    for (int b = 1; b < p->boxes; b++)
        s->box[b] = s->boxes + ((b - 1) * s->box_pitch + s->box_pad) * VL;
    memset(s->boxes, 0, (size_t)(wide * vector));
    if (s->sum) memset(s->sum - s->pad * VL, 0, (size_t)(pitch + s->pad * vector));
    return at;
}

/* Columns of a kind that reach the block: those at the ends that are all zero are left out. */
static inline void win_reach(const win_stream *s, win_block *b, int kind) {
    const pk_window *p = s->p;
    const char *used = s->used ? s->used + p->rows : NULL;
    const int left = b->x * p->stride_x, right = (b->x + b->n - 1) * p->stride_x;
    int first = p->group[kind], last = p->group[kind + 1];
    while (first < last &&
           ((used && !used[first]) || p->col[first].at + p->col[first].size - 1 + right < 0))
        first++;
    while (last > first && ((used && !used[last - 1]) || p->col[last - 1].at + left > p->in_w - 1)) last--;
    b->first[kind] = first;
    b->last[kind] = last;
}

/* Split the output row in nearly equal blocks of at most `most` places, kept from block on. */
static inline void win_split_row(const win_stream *s, win_split *split, win_block *block, int most) {
    const int out_w = s->p->out_w, n = (out_w + most - 1) / most;
    *split = (win_split){.block = block, .blocks = n, .wide = n ? out_w % n : 0};
    for (int k = 0; k < n; k++) {
        block[k].n = out_w / n + (k < split->wide);
        block[k].x = out_w / n * k + (k < split->wide ? k : split->wide);
        for (int kind = 0; kind < PK_KINDS; kind++) win_reach(s, &block[k], kind);
    }
}

static inline void win_blocks(win_stream *s) {
    win_split_row(s, &s->split[0], s->block, TILE_X);
    win_split_row(s, &s->split[1], s->block + s->split[0].blocks, TILE_WIDE);
}

PK_INLINE vf win_load(const float *p, int lanes) { return lanes == VL ? v_load(p) : v_load_n(p, lanes); }
PK_INLINE void win_store(float *p, vf v, int lanes) {
    if (lanes == VL) v_store(p, v);
    else v_store_n(p, v, lanes);
}

/* The map into the plane, stuffed with zeros, pads zeroed; T after it. */
static inline void win_pack(win_stream *s, const pk_window_io *io) {
    const pk_window *p = s->p;
    const float *from = io->x;
    s->io = io;
    memset(s->x - s->pad * VL, 0, (size_t)s->pad * VL * sizeof(float));
    for (int y = 0; y < p->in_h; y++) {
        float *to = s->x + y * s->pitch;
        if (y % p->stuff_y || p->stuff_x > 1) memset(to, 0, (size_t)p->in_w * VL * sizeof(float));
        memset(to + p->in_w * VL, 0, (size_t)s->pad * VL * sizeof(float));
        if (y % p->stuff_y) continue;
        for (int x = 0; x < p->in_w; x += p->stuff_x, from += io->ldx) {
            WIN_FETCH(from, io->ldx, 0);
            v_store(to + x * VL, win_load(from, io->lanes));
        }
    }
    for (int y = s->x == s->t ? p->in_h : -1; y < s->t_rows; y++) /* what lies between T's rows stays zero */
        memset(s->t + y * s->pitch + p->in_w * VL, 0, (size_t)s->pad * VL * sizeof(float));
}

PK_INLINE void win_add_rows(float *to, const float *a, const float *b, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += VL) v_store(to + i, v_add(v_load(a + i), v_load(b + i)));
}

/* T from sums of h rows to sums of 2h, the last row first. */
static inline void win_double(win_stream *s) {
    const int h = s->height, rows = s->p->in_h + h - 1; /* rows there are */
    const ptrdiff_t n = (ptrdiff_t)s->p->in_w * VL;
    const float *from = h == 1 ? s->x : s->t;
    for (int r = rows + h - 1; r >= 0; r--) {
        float *to = s->t + r * s->pitch;
        const float *here = from + r * s->pitch, *back = here - h * s->pitch;
        if (r >= rows) memcpy(to, back, (size_t)n * sizeof(float));
        else if (r >= h) win_add_rows(to, here, back, n);
        else if (to != here) memcpy(to, here, (size_t)n * sizeof(float));
    }
    s->height = 2 * h;
}

/* The row of sums of rows [last - size + 1, last] of the map: T's row and single rows, those of the plane where it is
 * kept, else of the tensor, whose values then are the map. */
static inline const float *win_row(win_stream *s, int size, int last) {
    const int h = s->height, in_w = s->p->in_w, in_h = s->p->in_h;
    const float *sums = h == 1 ? s->x : s->t;
    if (size == h) return sums + last * s->pitch;
    const int low = last - size + 1 > 0 ? last - size + 1 : 0, high = last - h < in_h - 1 ? last - h : in_h - 1;
    const float *top = last < in_h + h - 1 ? sums + last * s->pitch : NULL;
    const bool plane = s->x != s->t;
    const int64_t step = plane ? VL : s->io->ldx, down = plane ? s->pitch : in_w * step;
    const int lanes = plane ? VL : s->io->lanes;
    const float *from = (plane ? s->x : s->io->x) + low * down;
    for (int x = 0; x < in_w; x++, from += step) {
        const float *single = from;
        vf sum = top ? v_load(top + x * VL) : v_zero();
        for (int r = low; r <= high; r++, single += down) sum = v_add(sum, win_load(single, lanes));
        v_store(s->sum + x * VL, sum);
    }
    return s->sum;
}

/* to[i] = sum of n parts, for `count` pixels. */
PK_INLINE void win_sum_parts(float *to, const float *const *part, const int n, int count) {
    for (ptrdiff_t i = 0; i < (ptrdiff_t)count * VL; i += VL) {
        vf sum = v_load(part[0] + i);
        UNROLL for (int k = 1; k < n; k++) sum = v_add(sum, v_load(part[k] + i));
        v_store(to + i, sum);
    }
}

/* to[i] = sum of the four pixels from[i], from[i + apart] ...: pairs stay in registers, one load a pixel. */
PK_INLINE void win_sum_four(float *to, const float *from, const int apart, int count) {
    vf first[4], second[4], last[4];
    int i = 0;
    UNROLL for (int k = 0; k < apart; k++) {
        vf a = v_load(from + k * VL), b = v_load(from + (k + apart) * VL);
        last[k] = v_load(from + (k + 2 * apart) * VL);
        first[k] = v_add(a, b);
        second[k] = v_add(b, last[k]);
    }
    for (; i + 4 <= count; i += 4, from += 4 * VL, to += 4 * VL) {
        UNROLL for (int n = 0; n < 4; n++) {
            const int k = n % apart;
            vf next = v_load(from + (n + 3 * apart) * VL), third = v_add(last[k], next);
            v_store(to + n * VL, v_add(first[k], third));
            first[k] = second[k], second[k] = third, last[k] = next;
        }
    }
    for (; i < count; i++, from += VL, to += VL) {
        vf low = v_add(v_load(from), v_load(from + apart * VL));
        v_store(to, v_add(low, v_add(v_load(from + 2 * apart * VL), v_load(from + 3 * apart * VL))));
    }
}

/* Where the columns' parts lie, for output 0. Stored box rows stay where they are; parts of the row itself follow it. */
static inline void win_point_all(win_stream *s) {
    s->moves = 0;
    for (int j = 0; j < s->p->cols; j++)
        for (int n = 0; n < s->p->col[j].parts; n++) {
            const pk_part *part = &s->p->part[s->p->col[j].first + n];
            const int at = j * PK_PARTS + n, offset = (s->p->col[j].at + part->shift) * VL;
            if (part->box) s->src[at] = s->box[part->box] + offset;
            else s->move[s->moves++] = (win_move){.at = at, .offset = offset};
        }
}

/* The stored box rows of one row, and src of the columns that read the row itself. */
static inline void win_box_rows(win_stream *s, const float *row) {
    const pk_window *p = s->p;
    s->box[0] = row;
    for (int b = 1; b < p->boxes; b++) {
        const pk_box *box = &p->box[b];
        const pk_part *from = p->part + box->first;
        const int begin = 1 - box->size, count = p->in_w + box->size - 1;
        const float *part[48];
        float *to = s->boxes + ((b - 1) * s->box_pitch + s->box_pad + begin) * VL;
        for (int k = 0; k < box->parts; k++) part[k] = s->box[from[k].box] + (begin + from[k].shift) * VL;
        if (box->size == 4) win_sum_four(to, part[0], 1, count);
        else if (box->size == 16 && from[1].shift == 4) win_sum_four(to, part[0], 4, count);
        else if (box->parts == 4) win_sum_parts(to, part, 4, count);
        else win_sum_parts(to, part, box->parts, count);
    }
    for (int i = 0; i < s->moves; i++) s->src[s->move[i].at] = row + s->move[i].offset;
}

/* Up to TILE_R bands that look at one row, and the output rows they look from. */
typedef struct win_group {
    int n, band[TILE_R], out[TILE_R];
} win_group;

/* Is there a band of this height with a weight? */
static inline bool win_any_used(const win_stream *s, const pk_height *h) {
    for (int i = 0; i < h->count; i++)
        if (!s->used || s->used[s->p->order[h->first + i]]) return true;
    return false;
}

/* The output row that sees map row `top` as the first of a band that begins at `at`; negative: none. */
PK_INLINE int win_seen_from(const pk_window *p, int top, int at) {
    int row = top - at;
    if (p->stride_y > 1) {
        if (row % p->stride_y) return -1;
        row /= p->stride_y;
    }
    return row < p->out_h ? row : -1;
}

/* Stream all rows of all heights: use(s, group) for bands and output rows that share the boxes of a row. Bands whose
 * weights are all zero are left out. */
PK_INLINE void win_stream_rows(win_stream *s, void (*use)(win_stream *s, const win_group *g)) {
    const pk_window *p = s->p;
    const int most = p->stride_x > 1 ? 1 : TILE_R;
    win_point_all(s);
    for (int k = 0; k < p->heights; k++) {
        const pk_height *h = &p->height[k];
        if (!win_any_used(s, h)) continue;
        while (s->height <= h->size / 2) win_double(s);
        for (int top = 1 - h->size; top < p->in_h; top++) {
            win_group g = {.n = 0};
            bool ready = false;
            for (int i = 0; i < h->count; i++) {
                const int band = p->order[h->first + i], out = win_seen_from(p, top, p->row[band].at);
                if (out >= 0 && (!s->used || s->used[band])) {
                    g.band[g.n] = band;
                    g.out[g.n++] = out;
                }
                if (g.n == most || (g.n && i == h->count - 1)) {
                    if (!ready) win_box_rows(s, win_row(s, h->size, top + h->size - 1));
                    ready = true;
                    use(s, &g);
                    g.n = 0;
                }
            }
        }
    }
}

#endif
