/* Drawing on a picture, a uint8 tensor {H,W,3}: boxes and small text. What falls outside is cut off. */
#ifndef PK_VIZ_CANVAS_H
#define PK_VIZ_CANVAS_H

#include "core/tensor.h"

enum { PK_GLYPH_W = 6, PK_GLYPH_H = 7 }; /* advance and height of a letter at scale 1 */

/* White. PK_EINVAL past PK_MAX_PIXELS. */
pk_status pk_canvas_new(int64_t h, int64_t w, pk_tensor **out);
void pk_canvas_box(pk_tensor *canvas, int64_t top, int64_t left, int64_t h, int64_t w, const uint8_t rgb[3]);
/* Letters (shown as capitals), digits and a few signs; others are left blank. */
void pk_canvas_text(pk_tensor *canvas, int64_t top, int64_t left, int scale, const char *text, const uint8_t rgb[3]);
int64_t pk_text_width(const char *text, int scale);

#endif
