/* Maxima and where they were: plain loops without branches, which the compiler turns into vectors. */
#include "kernels/kernels.h"

void PK_NAME(max_take)(int64_t n, const float *restrict x, int32_t place, float *restrict y, int32_t *restrict best) {
    for (int64_t i = 0; i < n; i++) {
        const bool taken = (x[i] > y[i]) | (x[i] != x[i]);
        y[i] = taken ? x[i] : y[i];
        best[i] = taken ? place : best[i];
    }
}

void PK_NAME(max_give)(int64_t n, const int32_t *restrict best, int32_t place, const float *restrict dy,
                       float *restrict dx) {
    for (int64_t i = 0; i < n; i++) dx[i] += best[i] == place ? dy[i] : 0.0f;
}
