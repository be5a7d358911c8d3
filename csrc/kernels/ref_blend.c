/* Weighted sums of rows, the scalar truth: double precision, rounded once. */
#include "kernels/kernels.h"

void PK_NAME(blend_rows)(int64_t n, int64_t taps, const float *w, const float *x, int64_t stride, float *y) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t t = 0; t < taps; t++) sum += (double)w[t] * (double)x[t * stride + i];
        y[i] = (float)sum;
    }
}

void PK_NAME(blend_rows_u8)(int64_t n, int64_t taps, const float *w, const uint8_t *x, int64_t stride, float *y) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t t = 0; t < taps; t++) sum += (double)w[t] * x[t * stride + i];
        y[i] = (float)sum;
    }
}
