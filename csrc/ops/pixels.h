/* Tensors seen as pixels by channels, and sums over pixels that do not depend on the number of threads. */
#ifndef PK_OPS_PIXELS_H
#define PK_OPS_PIXELS_H

#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"
#include "ops/op.h"

/* {...,C} as `count` rows of `channels` floats, `stride` apart. */
typedef struct pk_pixels {
    int64_t count, channels, stride;
    float *at;
} pk_pixels;

/* t is float32 and pk_is_rows (or only a shape: then `at` is null). */
pk_pixels pk_pixels_of(const pk_tensor *t);
/* Elements of the dimensions from..to-1. */
int64_t pk_span(const pk_tensor *t, int from, int to);
/* Chunks of about 32K floats, of at least one pixel: enough work for a task, small enough for a cache. */
int64_t pk_pixel_chunks(const pk_pixels *p);

/* What a chunk of pixels adds to `width` sums: partial is all zeros when called. */
typedef void pk_partial_sum(void *context, int64_t begin, int64_t end, float *partial);
/* out[width] = the sum over the chunks of n things, each chunk in floats, chunks added in order in double. */
pk_status pk_sum_chunks(int64_t n, int64_t chunks, int64_t width, pk_partial_sum *add, void *context, float *out);

/* sum[c] over rows packed pixels g of `width` channels: the gradient of a bias. */
pk_status pk_bias_grad(const float *g, int64_t rows, int64_t width, float *sum);

#endif
