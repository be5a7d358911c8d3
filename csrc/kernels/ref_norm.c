/* The scalar truth of norm.inc.c, sums in double. */
#include <math.h>

#include "kernels/kernels.h"

void PK_NAME(layer_norm_rows)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *w, const float *b,
                              float eps, float *y, float *mean, float *rstd) {
    for (int64_t r = 0; r < rows; r++, x += stride, y += c) {
        double m = 0, s = 0;
        for (int64_t i = 0; i < c; i++) m += x[i];
        m /= (double)c;
        for (int64_t i = 0; i < c; i++) s += (x[i] - m) * (x[i] - m);
        s = 1 / sqrt(s / (double)c + eps);
        if (mean) mean[r] = (float)m;
        if (rstd) rstd[r] = (float)s;
        for (int64_t i = 0; i < c; i++) y[i] = (float)((x[i] - m) * s * (w ? w[i] : 1) + (b ? b[i] : 0));
    }
}

void PK_NAME(layer_norm_grad)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *w,
                              const float *mean, const float *rstd, const float *dy, float *dx, float *dw, float *db) {
    for (int64_t r = 0; r < rows; r++, x += stride, dy += c) {
        double sum = 0, dot = 0;
        for (int64_t i = 0; i < c; i++) {
            double g = (double)dy[i] * (w ? w[i] : 1), xn = ((double)x[i] - mean[r]) * rstd[r];
            sum += g;
            dot += g * xn;
            if (dw) dw[i] = (float)(dw[i] + dy[i] * xn);
            if (db) db[i] += dy[i];
        }
        for (int64_t i = 0; dx && i < c; i++) {
            double g = (double)dy[i] * (w ? w[i] : 1), xn = ((double)x[i] - mean[r]) * rstd[r];
            dx[r * c + i] = (float)(rstd[r] * (g - sum / (double)c - xn * dot / (double)c));
        }
    }
}

void PK_NAME(channel_sum)(int64_t rows, int64_t c, const float *x, int64_t stride, float *sum) {
    for (int64_t i = 0; i < c; i++) {
        double s = 0;
        for (int64_t r = 0; r < rows; r++) s += x[r * stride + i];
        sum[i] = (float)s;
    }
}

void PK_NAME(channel_dot)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *shift, const float *g,
                          int64_t gstride, float *sum) {
    for (int64_t i = 0; i < c; i++) {
        double s = 0;
        for (int64_t r = 0; r < rows; r++)
            s += ((double)x[r * stride + i] - (shift ? shift[i] : 0)) * (g ? g[r * gstride + i] : 1);
        sum[i] = (float)s;
    }
}

void PK_NAME(channel_moments)(int64_t rows, int64_t c, const float *x, int64_t stride, float *mean, float *m2) {
    for (int64_t i = 0; i < c; i++) {
        double m = 0, s = 0;
        for (int64_t r = 0; r < rows; r++) m += x[r * stride + i];
        m /= (double)rows;
        for (int64_t r = 0; r < rows; r++) s += (x[r * stride + i] - m) * (x[r * stride + i] - m);
        mean[i] = (float)m;
        m2[i] = (float)s;
    }
}

void PK_NAME(affine_rows)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *shift, const float *a,
                          const float *b, float *y) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < c; i++) {
            double d = (double)x[r * stride + i] - (shift ? shift[i] : 0);
            y[r * c + i] = (float)(d * a[i] + (b ? b[i] : 0));
        }
}

void PK_NAME(affine_grad)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *shift, const float *k,
                          const float *dy, const float *a, const float *d, float *dx) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < c; i++) {
            double v = (double)x[r * stride + i] - (shift ? shift[i] : 0);
            dx[r * c + i] = (float)((double)dy[r * c + i] * a[i] + v * k[i] + (d ? d[i] : 0));
        }
}

void PK_NAME(residual_rows)(int64_t rows, int64_t c, const float *x, int64_t stride, const float *a, float scale,
                            const float *shortcut, int64_t sstride, float *y) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < c; i++)
            y[r * c + i] = (float)(shortcut[r * sstride + i] + (double)x[r * stride + i] * scale * (a ? a[i] : 1));
}
