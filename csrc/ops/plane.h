/* The geometry of a window that slides over images {N,H,W,C}: convolution and pooling. */
#ifndef PK_OPS_PLANE_H
#define PK_OPS_PLANE_H

#include "ops/pixels.h"

typedef struct pk_plane {
    int64_t n, h, w, c;       /* images */
    int64_t kh, kw;           /* taps */
    int64_t sy, sx;           /* stride */
    int64_t py, px;           /* padding above and left */
    int64_t dy, dx;           /* dilation */
    int64_t oh, ow;           /* output */
    int64_t pixel;            /* distance of two pixels of the input, in floats */
} pk_plane;

/* From x = in[0] {N,H,W,C}; padding may be PK_SAME. Fails when the window does not fit in the padded image. */
pk_status pk_plane_of(const pk_call *c, int64_t kh, int64_t kw, const int64_t stride[2], const int64_t padding[2],
                      const int64_t dilation[2], pk_plane *out);
/* Output pixel number i -> image, row, column. */
static inline void pk_plane_place(const pk_plane *p, int64_t i, int64_t *n, int64_t *y, int64_t *x) {
    *x = i % p->ow;
    *y = i / p->ow % p->oh;
    *n = i / (p->ow * p->oh);
}
/* Input row of tap ky of output row oy; outside 0..h-1 in the padding. */
static inline int64_t pk_plane_row(const pk_plane *p, int64_t oy, int64_t ky) {
    return oy * p->sy - p->py + ky * p->dy;
}
static inline int64_t pk_plane_col(const pk_plane *p, int64_t ox, int64_t kx) {
    return ox * p->sx - p->px + kx * p->dx;
}
/* Taps of all outputs of one image that lie in it. */
double pk_plane_taps_inside(const pk_plane *p);

#endif
