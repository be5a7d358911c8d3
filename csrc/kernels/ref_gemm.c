/* The scalar truth of gemm.inc.c. */
#include "kernels/kernels.h"

int64_t PK_NAME(gemm_scratch)(void) { return 16; }

void PK_NAME(gemm_block)(const pk_gemm_block *g) {
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            float *c = g->c_turned ? g->c + j * g->ldc + i : g->c + i * g->ldc + j;
            double sum = g->accumulate ? (double)*c : 0;
            for (int64_t p = 0; p < g->k; p++)
                sum += (double)g->a[i * g->a_row + p * g->a_k] *
                       (double)(g->b_turned ? g->b[j * g->ldb + p] : g->b[p * g->ldb + j]);
            if (g->bias) sum += (double)g->bias[g->c_turned ? i : j];
            *c = (float)sum;
        }
}
