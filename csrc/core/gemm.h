/* Matrix products, row-major float32, through OpenBLAS (gemm.c is the only file that knows it). */
#ifndef PK_CORE_GEMM_H
#define PK_CORE_GEMM_H

#include "core/status.h"

/* c[m][n] = beta * c + op(a)[m][k] * op(b)[k][n]; ta: a is stored [k][m]; tb: b is stored [n][k]. Leading dimensions
 * in elements. beta 0 does not read c. One thread: call it from a task, or as it is. */
void pk_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
             float beta, float *c, int64_t ldc);

/* The same on all threads; the split depends on the sizes only. Long sums over k (weight gradients) are split too,
 * with partial results added in order: that needs scratch, hence a status. */
pk_status pk_gemm_parallel(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                           int64_t ldb, float beta, float *c, int64_t ldc);

const char *pk_gemm_library(void); /* for config(): "OpenBLAS 0.3.21 ..." */

#endif
