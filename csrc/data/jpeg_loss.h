/* What JPEG takes away from a picture, without a file: the steps of the format that lose something. */
#ifndef PK_DATA_JPEG_LOSS_H
#define PK_DATA_JPEG_LOSS_H

#include <stdint.h>

/* Floats that pk_jpeg_loss needs for a picture of h x w x c. */
int64_t pk_jpeg_loss_scratch(int64_t h, int64_t w, int64_t c);

/* in, out: values 0..255, {h,w,c} with c of 1 or 3, whole numbers come out. Colours to YCbCr, chroma halved each way,
 * blocks of 8 x 8 through the cosine transform, coefficients divided by the tables of the standard's annex K for that
 * quality (1..100, libjpeg's scale) and rounded, and all the way back with chroma interpolated as libjpeg does. */
void pk_jpeg_loss(const float *in, float *out, int64_t h, int64_t w, int64_t c, int quality, float *scratch);

#endif
