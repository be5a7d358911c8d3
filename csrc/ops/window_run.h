/* Window kernels over whole tensors: a task is one image (or one chunk of images) and one block of channels. What the
 * depthwise ops share. Results do not depend on the number of threads. */
#ifndef PK_OPS_WINDOW_RUN_H
#define PK_OPS_WINDOW_RUN_H

#include "kernels/window.h"
#include "ops/op.h"

/* y {N,H',W',C} (contiguous) = window of x {N,H,W,C} (pk_is_rows) with w {rows,cols,C} + bias {C} + map {H',W',C}; the
 * last two may be null. */
pk_status pk_window_run(const pk_axis *rows, const pk_axis *cols, const pk_tensor *x, const float *w, const float *bias,
                        const float *map, const pk_tensor *y);
/* dx {N,H,W,C} (contiguous) for the gradient dy of y; rows and cols are the forward's. */
pk_status pk_window_run_back(const pk_axis *rows, const pk_axis *cols, const pk_tensor *dy, const float *w,
                             const pk_tensor *dx);
/* dw {rows,cols,C} = gradient of the weights. */
pk_status pk_window_run_weights(const pk_axis *rows, const pk_axis *cols, const pk_tensor *x, const pk_tensor *dy,
                                float *dw);
/* Multiply-adds of one channel of one image. */
pk_status pk_window_products(const pk_axis *rows, const pk_axis *cols, double *products);

/* sum {H,W,C} over the images of t {N,H,W,C}, contiguous. */
void pk_sum_images(const pk_tensor *t, float *sum);

#endif
