/* The scalar truth of matrix products: one panel, sums in double. */
#include "kernels/kernels.h"

int64_t PK_NAME(gemm_panel_size)(int64_t k, int64_t n) { return k * n; }

void PK_NAME(gemm_pack)(bool transposed, int64_t k, int64_t n, const float *b, int64_t ldb, float *panel) {
    for (int64_t p = 0; p < k; p++)
        for (int64_t j = 0; j < n; j++) panel[p * n + j] = transposed ? b[j * ldb + p] : b[p * ldb + j];
}

void PK_NAME(gemm_packed)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_k, const float *panel,
                          const float *bias, bool accumulate, bool turned, float *c, int64_t ldc) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float *to = turned ? c + j * ldc + i : c + i * ldc + j;
            double sum = (bias ? bias[turned ? i : j] : 0) + (accumulate ? *to : 0);
            for (int64_t p = 0; p < k; p++) sum += (double)a[i * a_row + p * a_k] * panel[p * n + j];
            *to = (float)sum;
        }
}
