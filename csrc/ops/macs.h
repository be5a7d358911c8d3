/* Multiply-adds of a forward, by four conventions that are never to be confused. Products with weights (and of matrices)
 * count, as papers count them; norms, activations, biases and sums do not. */
#ifndef PK_OPS_MACS_H
#define PK_OPS_MACS_H

#include "core/tensor.h"

typedef struct pk_macs {
    double paper;    /* all taps, padding included, times the density of the weights (PeLK's and SLaK's tables) */
    double dense;    /* all taps, padding included */
    double in_image; /* taps inside the image only */
    double run;      /* products that pelk's kernels execute */
    double density;  /* for paper: the density of all weights; NaN: what share of each weight is not zero */
} pk_macs;

/* Add products with weight w; null: with no weight, at density 1. */
void pk_macs_add(pk_macs *m, const pk_tensor *w, double dense, double in_image, double run);

/* Along one axis, over all `out` outputs: taps that lie inside the `in` pixels. */
double pk_taps_inside(int64_t in, int64_t out, int64_t taps, int64_t stride, int64_t padding, int64_t dilation);

/* Elements of a float32 tensor that its mask lets live; without a mask, those that are not zero. */
int64_t pk_count_active(pk_tensor *t);

#endif
