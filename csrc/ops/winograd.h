/* 3x3 convolutions of stride 1 with a quarter of the products, or a third where tiles hang over the edge: Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308).
 * A tile of 4x4 outputs sees 6x6 pixels; both are transformed (kernels/winograd.inc.c), and each of the 36 places of the
 * domain is a matrix product of tiles by channels. Rounding errors are some times those of direct sums: up to 1e-5 of the
 * outputs' deviation, 1e-6 on average. An infinity or a NaN reaches the whole tiles that see it. */
#ifndef PK_OPS_WINOGRAD_H
#define PK_OPS_WINOGRAD_H

#include "ops/plane.h"

/* Does it pay for this window, from `in` channels of a group to `out`: forward, back to x, back to the weights? One group,
 * no stride, no dilation, padding of 2 at most, 16 channels or more, enough tiles (winograd.c). Depends on sizes only. */
bool pk_winograd_pays(const pk_plane *plane, int64_t in, int64_t out);
bool pk_winograd_pays_dx(const pk_plane *plane, int64_t in, int64_t out);
bool pk_winograd_pays_dw(const pk_plane *plane, int64_t in, int64_t out);
/* Products that a forward executes. */
double pk_winograd_macs(const pk_plane *plane, int64_t out);

/* x {n,h,w} pixels plane->pixel apart; w {out,3,3,in}; b {out} or null; y {n,oh,ow,out} packed. */
pk_status pk_winograd_forward(const pk_plane *plane, const float *x, const float *w, const float *b, int64_t out, float *y);
/* dx {n,h,w,in} packed, from dy {n,oh,ow,out} packed. */
pk_status pk_winograd_dx(const pk_plane *plane, const float *dy, const float *w, int64_t out, float *dx);
/* dw {out,3,3,in} */
pk_status pk_winograd_dw(const pk_plane *plane, const float *x, const float *dy, int64_t out, float *dw);

#endif
