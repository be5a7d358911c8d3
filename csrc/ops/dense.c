/* Dense products over rows in tiles that stay in cache, the bias laid into a tile before the product adds to it. */
#include "ops/dense.h"

#include <string.h>

#include "core/gemm.h"

enum { FEW_ROWS = 512, TILE_ROWS = 256 };

typedef struct dense_job {
    const pk_pixels *x;
    const float *w, *b, *dy;
    int64_t out, tiles;
    float *y, *dx;
} dense_job;

static void lay_bias(float *y, int64_t rows, const float *b, int64_t out) {
    for (int64_t r = 0; b && r < rows; r++) memcpy(y + r * out, b, (size_t)out * sizeof *y);
}

static void forward_tile(void *context, int64_t i, int worker) {
    (void)worker;
    const dense_job *j = context;
    int64_t r0 = pk_chunk_begin(j->x->count, j->tiles, i), r1 = pk_chunk_begin(j->x->count, j->tiles, i + 1);
    float *y = j->y + r0 * j->out;
    lay_bias(y, r1 - r0, j->b, j->out);
    pk_gemm(false, true, r1 - r0, j->out, j->x->channels, j->x->at + r0 * j->x->stride, j->x->stride, j->w, j->x->channels,
            j->b ? 1 : 0, y, j->out);
}

pk_status pk_dense_forward(const pk_pixels *x, const float *w, const float *b, int64_t out, float *y) {
    if (x->count < FEW_ROWS) { /* a classifier's head: split over the outputs too */
        lay_bias(y, x->count, b, out);
        return pk_gemm_parallel(false, true, x->count, out, x->channels, x->at, x->stride, w, x->channels, b ? 1 : 0, y, out);
    }
    dense_job j = {.x = x, .w = w, .b = b, .out = out, .y = y, .tiles = pk_chunks(x->count, TILE_ROWS)};
    pk_parallel(j.tiles, forward_tile, &j);
    return PK_OK;
}

static void dx_tile(void *context, int64_t i, int worker) {
    (void)worker;
    const dense_job *j = context;
    int64_t r0 = pk_chunk_begin(j->x->count, j->tiles, i), r1 = pk_chunk_begin(j->x->count, j->tiles, i + 1);
    pk_gemm(false, false, r1 - r0, j->x->channels, j->out, j->dy + r0 * j->out, j->out, j->w, j->x->channels, 0,
            j->dx + r0 * j->x->channels, j->x->channels);
}

pk_status pk_dense_backward(const pk_pixels *x, const float *w, int64_t out, const float *dy, float *dx, float *dw,
                            float *db) {
    dense_job j = {.x = x, .w = w, .out = out, .dy = dy, .dx = dx, .tiles = pk_chunks(x->count, TILE_ROWS)};
    if (dx && x->count < FEW_ROWS)
        PK_TRY(pk_gemm_parallel(false, false, x->count, x->channels, out, dy, out, w, x->channels, 0, dx, x->channels));
    else if (dx)
        pk_parallel(j.tiles, dx_tile, &j);
    if (dw) PK_TRY(pk_gemm_parallel(true, false, out, x->channels, x->count, dy, out, x->at, x->stride, 0, dw, x->channels));
    return db ? pk_bias_grad(dy, x->count, out, db) : PK_OK;
}
