/* One block of a matrix product, as one thread computes it: the packed kernel's contract. */
#ifndef PK_KERNELS_GEMM_BLOCK_H
#define PK_KERNELS_GEMM_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum { PK_GEMM_STRIP = 48 /* columns that every level takes as whole strips */ };

/* c[m][n] = sum over p of a[i * a_row + p * a_k] * b[p][j] (+ bias[j]) (+ c). */
typedef struct pk_gemm_block {
    int64_t m, n, k;
    const float *a;
    int64_t a_row, a_k;
    const float *b;       /* [k][n], or [n][k] when b_turned; row stride ldb */
    int64_t ldb;
    bool b_turned;
    const float *bias;    /* n of them (c_turned: m, by row), or null */
    bool accumulate;      /* add to what c holds */
    float *c;             /* row stride ldc */
    int64_t ldc;
    bool c_turned;        /* c is [n][m] */
    float *scratch;       /* gemm_scratch() floats, 64-byte aligned */
} pk_gemm_block;

#endif
