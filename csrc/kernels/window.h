/* A depthwise window: one partition of the kernel's rows and one of its columns, one weight a rectangle. Peripheral
 * kernels, dense kernels, stripes and dilated kernels are all windows; they differ in the partitions only. */
#ifndef PK_KERNELS_WINDOW_H
#define PK_KERNELS_WINDOW_H

#include <stdint.h>

typedef struct pk_band {
    int32_t at;    /* first tap, relative to the output's place (negative: above / left of it) */
    int32_t size;  /* taps in the band, at least 1 */
    int32_t index; /* its row / column in the weight array */
} pk_band;

/* Bands ascend in `at` and do not overlap; gaps are allowed (dilation). Bands that no output of the map can reach are
 * left out, and those partly out of reach are cut (pk_window_crop), so that a kernel never costs more than 2H-1. */
typedef struct pk_window {
    int32_t rows, cols;   /* bands kept */
    int32_t weight_cols;  /* columns of the weight array: weight (i, j) of channel c is w[(i * weight_cols + j) * C + c] */
    const pk_band *row, *col;
    int32_t stride_y, stride_x;
} pk_window;

#endif
