/* Changes of uint8 pictures of 1 or 3 channels, as Pillow 9 makes them: ImageOps and ImageEnhance to the last bit,
 * Image.transform but for a few values that differ by one. in and out never overlap. */
#ifndef PK_DATA_ENHANCE_H
#define PK_DATA_ENHANCE_H

#include "data/transform.h"

typedef struct pk_bytes_map { /* a picture and where it goes */
    const uint8_t *in;
    uint8_t *out;
    int64_t h, w, c;
} pk_bytes_map;

void pk_bytes_autocontrast(const pk_bytes_map *p); /* each channel stretched to 0..255 */
void pk_bytes_equalize(const pk_bytes_map *p);     /* each channel's histogram made flat */
void pk_bytes_invert(const pk_bytes_map *p);
void pk_bytes_posterize(const pk_bytes_map *p, int bits); /* the upper bits, 0..8, are kept */
void pk_bytes_solarize(const pk_bytes_map *p, int threshold);            /* from threshold on: inverted */
void pk_bytes_solarize_add(const pk_bytes_map *p, int add, int threshold); /* below threshold: brighter */
/* factor 1: nothing changes; 0: black, mean grey, grey, smooth. */
void pk_bytes_brightness(const pk_bytes_map *p, double factor);
void pk_bytes_contrast(const pk_bytes_map *p, double factor);
void pk_bytes_saturation(const pk_bytes_map *p, double factor);
void pk_bytes_sharpness(const pk_bytes_map *p, double factor);

/* out(x, y) = in(a x + b y + c, d x + e y + f), between pixel centres; fill where that is outside. */
typedef struct pk_affine {
    double a, b, c, d, e, f;
} pk_affine;
void pk_bytes_affine(const pk_bytes_map *p, const pk_affine *m, pk_filter filter, const uint8_t *fill);
pk_affine pk_affine_rotation(double degrees, int64_t h, int64_t w); /* about the middle, counter-clockwise */

#endif
