/* Sums and affine maps over pixels by channels, and layer norm over rows: what the normalisations are made of.
 * Channels lie in the lanes; a block of four vectors of channels stays in registers while the pixels go by. */
#include "kernels/kernels.h"
#include "kernels/vec.h"

enum { BLOCK = 4 * VL };

/* ---- layer norm: one row at a time ---- */

PK_INLINE float row_sum(int64_t c, const float *x) {
    vf s0 = v_zero(), s1 = v_zero(), s2 = v_zero(), s3 = v_zero();
    int64_t i = 0;
    for (; i + BLOCK <= c; i += BLOCK) {
        s0 = v_add(s0, v_load(x + i));
        s1 = v_add(s1, v_load(x + i + VL));
        s2 = v_add(s2, v_load(x + i + 2 * VL));
        s3 = v_add(s3, v_load(x + i + 3 * VL));
    }
    for (; i + VL <= c; i += VL) s0 = v_add(s0, v_load(x + i));
    if (i < c) s1 = v_add(s1, v_load_n(x + i, (int)(c - i)));
    return v_sum(v_add(v_add(s0, s1), v_add(s2, s3)));
}

/* The sum of (x - mean)^2. The lanes past the end would count mean^2: they are loaded as the mean. */
PK_INLINE float row_spread(int64_t c, const float *x, float mean) {
    vf s0 = v_zero(), s1 = v_zero(), m = v_set1(mean);
    int64_t i = 0;
    for (; i + 2 * VL <= c; i += 2 * VL) {
        vf d0 = v_sub(v_load(x + i), m), d1 = v_sub(v_load(x + i + VL), m);
        s0 = v_fma(d0, d0, s0);
        s1 = v_fma(d1, d1, s1);
    }
    float rest = 0;
    for (; i + VL <= c; i += VL) {
        vf d = v_sub(v_load(x + i), m);
        s0 = v_fma(d, d, s0);
    }
    for (; i < c; i++) rest += (x[i] - mean) * (x[i] - mean);
    return v_sum(v_add(s0, s1)) + rest;
}

PK_INLINE vf load_or(const float *p, int64_t i, int n, float value) { return p ? v_load_n(p + i, n) : v_set1(value); }
PK_INLINE int lanes(int64_t i, int64_t c) { return c - i < VL ? (int)(c - i) : VL; }

void PK_NAME(layer_norm_rows)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *w, const float *b,
                              float eps, float *y, float *mean, float *rstd) {
    for (int64_t r = 0; r < rows; r++, x += stride, y += c) {
        float m = row_sum(c, x) / (float)c;
        float s = 1.0f / sqrtf(row_spread(c, x, m) / (float)c + eps);
        if (mean) mean[r] = m;
        if (rstd) rstd[r] = s;
        vf vmean = v_set1(m), vs = v_set1(s);
        int64_t i = 0;
        for (; i + VL <= c; i += VL) {
            vf n = v_mul(v_sub(v_load(x + i), vmean), vs);
            if (w) n = v_mul(n, v_load(w + i));
            if (b) n = v_add(n, v_load(b + i));
            v_store(y + i, n);
        }
        if (i == c) continue;
        int n = (int)(c - i);
        vf last = v_mul(v_sub(v_load_n(x + i, n), vmean), vs);
        v_store_n(y + i, v_fma(last, load_or(w, i, n, 1), load_or(b, i, n, 0)), n);
    }
}

/* dx = rstd * (g - mean(g) - xn * mean(g * xn)), g = dy * w, xn = (x - mean) * rstd. */
PK_INLINE void layer_norm_dx(int64_t c, const float *x, const float *w, float mean, float rstd, const float *dy,
                             float *dx) {
    vf m = v_set1(mean), s = v_set1(rstd), sum = v_zero(), dot = v_zero();
    for (int64_t i = 0; i < c; i += VL) {
        int n = lanes(i, c);
        vf g = v_mul(v_load_n(dy + i, n), load_or(w, i, n, 1));
        sum = v_add(sum, g);
        dot = v_fma(g, v_mul(v_sub(v_load_n(x + i, n), m), s), dot);
    }
    vf a = v_set1(v_sum(sum) / (float)c), b = v_set1(v_sum(dot) / (float)c);
    for (int64_t i = 0; i < c; i += VL) {
        int n = lanes(i, c);
        vf g = v_mul(v_load_n(dy + i, n), load_or(w, i, n, 1));
        vf xn = v_mul(v_sub(v_load_n(x + i, n), m), s);
        v_store_n(dx + i, v_mul(s, v_fnma(xn, b, v_sub(g, a))), n);
    }
}

void PK_NAME(layer_norm_grad)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *w,
                              const float *mean, const float *rstd, const float *dy, float *dx, float *dw, float *db) {
    for (int64_t r = 0; r < rows; r++) {
        const float *xr = x + r * stride, *g = dy + r * c;
        if (dx) layer_norm_dx(c, xr, w, mean[r], rstd[r], g, dx + r * c);
        vf m = v_set1(mean[r]), s = v_set1(rstd[r]);
        for (int64_t i = 0; dw && i < c; i += VL) {
            int n = lanes(i, c);
            vf xn = v_mul(v_sub(v_load_n(xr + i, n), m), s);
            v_store_n(dw + i, v_fma(v_load_n(g + i, n), xn, v_load_n(dw + i, n)), n);
        }
        for (int64_t i = 0; db && i < c; i += VL) {
            int n = lanes(i, c);
            v_store_n(db + i, v_add(v_load_n(g + i, n), v_load_n(db + i, n)), n);
        }
    }
}

/* ---- sums over pixels, one a channel ---- */

/* sum over r of (x[r] - shift) * g[r] for the n lanes from channel i; no shift: 0; no g: 1. */
PK_INLINE vf lane_dot(int64_t rows, const float *x, int64_t stride, const float *shift, const float *g, int64_t gstride,
                      int64_t i, int n) {
    vf s0 = v_zero(), s1 = v_zero(), m = load_or(shift, i, n, 0);
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2) {
        vf d0 = v_sub(v_load_n(x + r * stride + i, n), m), d1 = v_sub(v_load_n(x + (r + 1) * stride + i, n), m);
        s0 = g ? v_fma(d0, v_load_n(g + r * gstride + i, n), s0) : v_add(s0, d0);
        s1 = g ? v_fma(d1, v_load_n(g + (r + 1) * gstride + i, n), s1) : v_add(s1, d1);
    }
    if (r < rows) {
        vf d = v_sub(v_load_n(x + r * stride + i, n), m);
        s0 = g ? v_fma(d, v_load_n(g + r * gstride + i, n), s0) : v_add(s0, d);
    }
    return v_add(s0, s1);
}

void PK_NAME(channel_sum)(int64_t rows, int64_t c, const float *x, int64_t stride, float *sum) {
    int64_t i = 0;
    for (; i + VL <= c; i += VL) v_store(sum + i, lane_dot(rows, x, stride, 0, 0, 0, i, VL));
    if (i < c) v_store_n(sum + i, lane_dot(rows, x, stride, 0, 0, 0, i, (int)(c - i)), (int)(c - i));
}

void PK_NAME(channel_dot)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *shift, const float *g,
                          int64_t gstride, float *sum) {
    int64_t i = 0;
    for (; i + VL <= c; i += VL) v_store(sum + i, lane_dot(rows, x, stride, shift, g, gstride, i, VL));
    if (i < c) v_store_n(sum + i, lane_dot(rows, x, stride, shift, g, gstride, i, (int)(c - i)), (int)(c - i));
}

void PK_NAME(channel_moments)(int64_t rows, int64_t c, const float *x, int64_t stride, float *mean, float *m2) {
    const vf share = v_set1(1.0f / (float)rows);
    for (int64_t i = 0; i < c; i += VL) {
        int n = lanes(i, c);
        vf m = v_mul(lane_dot(rows, x, stride, 0, 0, 0, i, n), share), s = v_zero();
        for (int64_t r = 0; r < rows; r++) {
            vf d = v_sub(v_load_n(x + r * stride + i, n), m);
            s = v_fma(d, d, s);
        }
        v_store_n(mean + i, m, n);
        v_store_n(m2 + i, s, n);
    }
}

/* ---- affine maps, coefficients by channel ---- */

void PK_NAME(affine_rows)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *shift, const float *a,
                          const float *b, float *y) {
    for (int64_t r = 0; r < rows; r++, x += stride, y += c) {
        int64_t i = 0;
        for (; i + VL <= c; i += VL) {
            vf d = v_load(x + i);
            if (shift) d = v_sub(d, v_load(shift + i));
            v_store(y + i, b ? v_fma(d, v_load(a + i), v_load(b + i)) : v_mul(d, v_load(a + i)));
        }
        if (i == c) continue;
        int n = (int)(c - i);
        vf d = v_sub(v_load_n(x + i, n), load_or(shift, i, n, 0));
        v_store_n(y + i, v_fma(d, v_load_n(a + i, n), load_or(b, i, n, 0)), n);
    }
}

void PK_NAME(affine_grad)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *shift, const float *k,
                          const float *dy, const float *a, const float *d, float *dx) {
    for (int64_t r = 0; r < rows; r++, x += stride, dy += c, dx += c)
        for (int64_t i = 0; i < c; i += VL) {
            int n = lanes(i, c);
            vf v = v_sub(v_load_n(x + i, n), load_or(shift, i, n, 0));
            vf g = v_fma(v_load_n(dy + i, n), v_load_n(a + i, n), load_or(d, i, n, 0));
            v_store_n(dx + i, v_fma(v, v_load_n(k + i, n), g), n);
        }
}

void PK_NAME(residual_rows)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *a, float scale,
                            const float *shortcut, int64_t sstride, float *y) {
    const vf s = v_set1(scale);
    for (int64_t r = 0; r < rows; r++, x += stride, shortcut += sstride, y += c)
        for (int64_t i = 0; i < c; i += VL) {
            int n = lanes(i, c);
            vf k = a ? v_mul(s, v_load_n(a + i, n)) : s;
            v_store_n(y + i, v_fma(v_load_n(x + i, n), k, v_load_n(shortcut + i, n)), n);
        }
}
