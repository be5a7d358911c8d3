/* Pictures from pictures, all uint8 {H,W,3}: one over another, rectangles, sheets of many. */
#ifndef PK_VIZ_MONTAGE_H
#define PK_VIZ_MONTAGE_H

#include "core/tensor.h"

/* (1 - alpha) a + alpha b, of equal size. */
pk_status pk_picture_blend(const pk_tensor *a, const pk_tensor *b, double alpha, pk_tensor **out);

/* The outline of the rectangle of pixels x0..x1, y0..y1 (from 0), `thickness` inward; what is outside is cut off. */
pk_status pk_picture_outline(pk_tensor *picture, const int64_t box[4], int64_t thickness, const uint8_t rgb[3]);

#define PK_MAX_SHEET 4096
/* count pictures, `columns` a row, each in a cell as large as the largest of its column and row, with its caption
 * (null or with null entries: none) below. */
pk_status pk_picture_sheet(pk_tensor *const *picture, const char *const *caption, int count, int columns,
                           pk_tensor **out);

#endif
