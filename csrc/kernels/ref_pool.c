/* Maxima and where they were, the scalar truth. */
#include <math.h>

#include "kernels/kernels.h"

void PK_NAME(max_take)(int64_t n, const float *x, int32_t place, float *y, int32_t *best) {
    for (int64_t i = 0; i < n; i++) {
        if (!(x[i] > y[i]) && !isnan(x[i])) continue;
        y[i] = x[i];
        best[i] = place;
    }
}

void PK_NAME(max_give)(int64_t n, const int32_t *best, int32_t place, const float *dy, float *dx) {
    for (int64_t i = 0; i < n; i++)
        if (best[i] == place) dx[i] += dy[i];
}
