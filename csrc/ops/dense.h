/* y = x * w^T + b over rows of pixels: what linear and the 1x1 convolution are. */
#ifndef PK_OPS_DENSE_H
#define PK_OPS_DENSE_H

#include "ops/pixels.h"

/* x: count rows of `in` floats; w {out,in}; b {out} or null; y {count,out} packed. */
pk_status pk_dense_forward(const pk_pixels *x, const float *w, const float *b, int64_t out, float *y);
/* dx {count,in} packed, dw {out,in}, db {out}: each may be null. dy {count,out} packed. x->at is needed for dw only. */
pk_status pk_dense_backward(const pk_pixels *x, const float *w, int64_t out, const float *dy, float *dx, float *dw,
                            float *db);

#endif
