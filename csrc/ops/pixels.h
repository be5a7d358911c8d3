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

/* What things begin..end-1 add to `width` sums: partial is all zeros when called. */
typedef void pk_partial_sum(void *context, int64_t begin, int64_t end, int worker, float *partial);
/* How to sum n things, `groups` times over (group g holds the things g*n .. g*n+n-1). A group is cut in chunks; a chunk
 * goes in blocks of `block` things (0: at once) whose sums are floats; chunks are added in order in double. */
typedef struct pk_sum {
    int64_t groups, n, chunks, block, width;
    pk_partial_sum *add;
    void *context;
} pk_sum;
enum { PK_SUM_BLOCK = 256 }; /* pixels a block: float sums of that many keep about 1e-7 */
/* out[groups][width] */
pk_status pk_sum_run(const pk_sum *sum, float *out);

/* out[c] over rows packed pixels g of `width` channels: the gradient of a bias. */
pk_status pk_bias_grad(const float *g, int64_t rows, int64_t width, float *out);

#endif
