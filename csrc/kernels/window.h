/* A depthwise window: one partition of the kernel's rows and one of its columns, one weight a rectangle. Peripheral
 * kernels, dense kernels, stripes and dilated kernels are all windows; they differ in the partitions only.
 *
 *     y[q][p] = sum_i sum_j w[i][j] * (sum of x over band i's rows and band j's columns, seen from (q, p))
 *
 * Pixels outside the map read zero. Works on one image and one block of channels at a time. */
#ifndef PK_KERNELS_WINDOW_H
#define PK_KERNELS_WINDOW_H

#include "core/status.h"

/* One axis as an op states it. Band b begins at tap `at` + the sizes before it (at + b * dilation when size is null:
 * single taps); output q looks at input q * stride + at + ... */
typedef struct pk_axis {
    const int32_t *size; /* of the bands, or null: all 1 */
    int32_t count;       /* bands */
    int32_t at;          /* first tap relative to the output's place: -padding */
    int32_t dilation;    /* distance of single taps; 1 with sizes */
    int32_t in, out;     /* extent of the map read and of the map written */
    int32_t stride;
    int32_t stuff;       /* the map read has its values at multiples of this, zeros between; in counts both */
    bool reversed;       /* bands count from the far end: the input gradient's view */
} pk_axis;

typedef struct pk_band {
    int32_t at;    /* first tap, relative to the output's place (negative: above / left of it) */
    int32_t size;  /* taps in the band, at least 1 */
    int32_t index; /* its row / column in the weight array */
    int32_t kind;         /* of columns: pk_column_kind */
    int32_t first, parts; /* of columns: which box rows add up to its sums, 1 to PK_PARTS of pk_window.part */
} pk_band;

/* A box row, read `shift` pixels further right. */
typedef struct pk_part {
    int32_t box, shift;
} pk_part;

/* A stored row of horizontal sums of `size` pixels: what its parts add up to. Box 0 is the row itself. */
typedef struct pk_box {
    int32_t size, first, parts;
} pk_box;

enum { PK_PARTS = 3, PK_WINDOW_TAPS = 13 };

/* How a column's sums are read, which says how few loads do: columns are sorted by it. By 4: part 1 is part 0 shifted
 * by 4, so that neighbouring places share loads. The last two kinds and ONE serve any stride. */
typedef enum pk_column_kind {
    PK_RUN,         /* single taps side by side */
    PK_ONE,         /* one part */
    PK_TWO_BY_1, PK_TWO_BY_4, PK_THREE_BY_4,
    PK_TWO, PK_THREE,
    PK_KINDS
} pk_column_kind;

/* Rows of one height: order[first .. first + count) are their places in row. */
typedef struct pk_height {
    int32_t size, first, count;
} pk_height;

/* Bands do not overlap; gaps are allowed (dilation). Rows ascend in `at`; columns by kind, then in `at`. Bands that
 * no output can reach are left out, so that a kernel never costs more than one of 2H-1; those partly out of reach take
 * any convenient size out there. */
typedef struct pk_window {
    int32_t rows, cols;  /* bands kept */
    int32_t weight_cols; /* columns of the weight array: weight (i, j) is w[(i * weight_cols + j) * ldw] */
    int32_t in_h, in_w, out_h, out_w;
    int32_t stride_y, stride_x, stuff_y, stuff_x;
    pk_band *row, *col;
    int32_t group[PK_KINDS + 1]; /* columns of kind k are group[k] .. group[k+1]-1 */
    int32_t heights, boxes;
    pk_height *height;   /* distinct, ascending */
    int32_t *order;
    pk_box *box;         /* each after those it is made of */
    pk_part *part;
    int32_t parts;
    int32_t near_col, near_box; /* pixels past its end that columns and boxes read of the row itself */
    int32_t widest;             /* the largest size among columns */
    bool few;            /* single taps only, at most PK_WINDOW_TAPS rows and columns of them: see window_taps.h */
    double products;     /* multiply-adds of one channel of one image: what is executed, clipping counted */
} pk_window;

/* Plan a window. One block: pk_free it. Weights of the axes: rows->count x cols->count. */
pk_status pk_window_new(const pk_axis *rows, const pk_axis *cols, pk_window **out);

/* The axis of the input gradient: reads the output's gradient, writes the input's. */
pk_axis pk_axis_back(const pk_axis *axis);

/* What a window kernel works on: a block of `lanes` channels, all pointers at its first channel. */
typedef struct pk_window_io {
    const float *x;     /* pixels of in_h x in_w (of the stuffed map: only those that hold values), stride ldx */
    const float *w;     /* stride ldw from one weight to the next */
    const float *bias;  /* one a channel, or null */
    const float *map;   /* out_h x out_w pixels that are added, stride ldmap, or null */
    float *y;           /* forward: written. wgrad: the output's gradient, read */
    float *dw;          /* wgrad: added to, stride ldw */
    int64_t ldx, ldw, ldmap, ldy;
    int32_t lanes;      /* 1 .. window_lanes() */
    void *scratch;      /* window_scratch bytes, 64-byte aligned */
} pk_window_io;

/* The window's position term: taps of a k x k map h (stride ldh from tap to tap: channels of it, 0 when shared) that
 * lie in the image, each times the weight of its region. */
typedef struct pk_position {
    int32_t kernel;          /* k */
    const int32_t *size;     /* the partition, both axes */
    int32_t count;
    int32_t h, w;            /* extent of the map */
    const float *weight;     /* {count, count} with stride ldw */
    const float *position;   /* {k, k} with stride ldp; shared: one value for all channels */
    int64_t ldw, ldp, ldmap;
    bool shared;
    int32_t lanes;
    float *map;              /* position_map: written, h x w pixels of stride ldmap */
    const float *dmap;       /* position_grad: gradient of the map, summed over images, stride ldmap */
    float *dweight;          /* position_grad: added to, stride ldw; or null */
    float *dposition;        /* position_grad: added to, stride ldp (shared: summed over the lanes); or null */
    void *scratch;           /* position_scratch bytes */
} pk_position;

#endif
