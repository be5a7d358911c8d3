/* Matrix products on all threads: our packed kernels where the level has them (ref, avx2, avx512), OpenBLAS elsewhere.
 * The split depends on the sizes only, never on the number of threads. */
#ifndef PK_KERNELS_PRODUCT_H
#define PK_KERNELS_PRODUCT_H

#include "core/status.h"

typedef struct pk_product {
    bool ta, tb;          /* a is stored [k][m]; b is stored [n][k] */
    int64_t m, n, k;
    const float *a, *b;
    int64_t lda, ldb;     /* row strides, elements */
    const float *bias;    /* [n], added to every row; null: none */
    float *c;             /* [m][n], row stride ldc; may not overlap the rest */
    int64_t ldc;
} pk_product;

/* c = op(a) * op(b) + bias. */
pk_status pk_product_run(const pk_product *p);
/* The same on the calling thread alone, for use inside tasks; with accumulate c is added to. scratch:
 * pk_product_scratch() floats, 64-byte aligned. */
void pk_product_here(const pk_product *p, bool accumulate, float *scratch);
int64_t pk_product_scratch(void);

#endif
