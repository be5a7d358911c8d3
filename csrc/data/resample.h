/* Resizing a rectangle of a picture with a filter as wide as the reduction (antialiased, as Pillow does): separable,
 * the sums in float32. */
#ifndef PK_DATA_RESAMPLE_H
#define PK_DATA_RESAMPLE_H

#include "io/image.h"

typedef enum pk_filter { PK_BILINEAR, PK_BICUBIC } pk_filter; /* in the order of PK_FILTERS */
#define PK_FILTERS "bilinear|bicubic"

/* Which part becomes the result. */
typedef struct pk_cut {
    pk_rect box; /* in pixels; it need not be whole ones */
    pk_filter filter;
} pk_cut;

/* A picture in memory: uint8 or float32, channels last. */
typedef struct pk_pixels {
    const void *at;
    int64_t h, w, c;
    bool bytes;
} pk_pixels;

/* Bytes of scratch for the call below. */
int64_t pk_resample_scratch(const pk_cut *cut, int64_t out_h, int64_t out_w, int64_t channels);
/* out: {out_h, out_w, c} of in's type; bytes are rounded and clamped. Nothing outside the cut is looked at. */
void pk_resample(const pk_pixels *in, const pk_cut *cut, int64_t out_h, int64_t out_w, void *out, void *scratch);

#endif
