/* Maps over a picture: other sizes, the range 0..1, the share of a border. */
#ifndef PK_VIZ_MAP_H
#define PK_VIZ_MAP_H

#include "core/tensor.h"

/* float32 {H,W} at another size by cubic convolution (Keys 1981) with a = -0.75, pixel centres at halves, edges
 * repeated, no averaging when it shrinks: as OpenCV's INTER_CUBIC, which localisation is measured with. */
pk_status pk_map_resize(const pk_tensor *map, int64_t h, int64_t w, pk_tensor **out);

/* (map - min) / (max - min); zeros when all values are the same or one is no number, as MaxBoxAcc's code. */
pk_status pk_map_normalize(const pk_tensor *map, pk_tensor **out);

/* The part of the outermost ring of pixels, 2 (H + W) - 4 of them, where the map is above its mean. published: as the
 * code of "CAM Back Again" counts it, which keeps the last two rows and columns instead of the last, and divides by
 * 2 (H + W) - 4 all the same: it may exceed 1. */
pk_status pk_map_border(const pk_tensor *map, bool published, double *share);

#endif
