/* The geometry of sliding windows. */
#include "ops/plane.h"

/* One axis: taps reach over `reach` pixels; returns the output's size, or -1 when they do not fit. */
static int64_t axis(int64_t size, int64_t reach, int64_t stride, int64_t padding, int64_t *before) {
    int64_t around = padding == PK_SAME ? reach - 1 : 2 * padding;
    *before = padding == PK_SAME ? (reach - 1) / 2 : padding;
    return size + around < reach ? -1 : (size + around - reach) / stride + 1;
}

pk_status pk_plane_of(const pk_call *c, int64_t kh, int64_t kw, const int64_t stride[2], const int64_t padding[2],
                      const int64_t dilation[2], pk_plane *out) {
    PK_TRY(pk_want_ndim(c, 0, 4));
    const pk_tensor *x = c->in[0];
    pk_plane p = {.n = x->shape[0], .h = x->shape[1], .w = x->shape[2], .c = x->shape[3], .kh = kh, .kw = kw,
                  .sy = stride[0], .sx = stride[1], .dy = dilation[0], .dx = dilation[1]};
    PK_RETURN_IF(kh < 1 || kw < 1, PK_EINVAL, "%s: a kernel of %lld x %lld taps", c->op->name, (long long)kh,
                 (long long)kw);
    PK_RETURN_IF(kh > 65536 || kw > 65536, PK_EINVAL, "%s: a kernel of %lld x %lld, 65536 is the most", c->op->name,
                 (long long)kh, (long long)kw);
    p.oh = axis(p.h, (kh - 1) * p.dy + 1, p.sy, padding[0], &p.py);
    p.ow = axis(p.w, (kw - 1) * p.dx + 1, p.sx, padding[1], &p.px);
    PK_RETURN_IF(p.oh < 0 || p.ow < 0, PK_EINVAL,
                 "%s: x %s is too small for a kernel of %lld x %lld with dilation {%lld,%lld} and padding {%lld,%lld}",
                 c->op->name, pk_shape_text(x), (long long)kh, (long long)kw, (long long)p.dy, (long long)p.dx,
                 (long long)p.py, (long long)p.px);
    p.pixel = pk_pixels_of(x).stride;
    *out = p;
    return PK_OK;
}

double pk_plane_taps_inside(const pk_plane *p) {
    return pk_taps_inside(p->h, p->oh, p->kh, p->sy, p->py, p->dy) * pk_taps_inside(p->w, p->ow, p->kw, p->sx, p->px, p->dx);
}
