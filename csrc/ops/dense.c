/* Dense products over rows of pixels. */
#include "ops/dense.h"

#include "kernels/product.h"

pk_status pk_dense_forward(const pk_pixels *x, const float *w, const float *b, int64_t out, float *y) {
    const pk_product p = {.tb = true, .m = x->count, .n = out, .k = x->channels, .a = x->at, .lda = x->stride,
                          .b = w, .ldb = x->channels, .bias = b, .c = y, .ldc = out};
    return pk_product_run(&p);
}

pk_status pk_dense_backward(const pk_pixels *x, const float *w, int64_t out, const float *dy, float *dx, float *dw,
                            float *db) {
    const pk_product to_x = {.m = x->count, .n = x->channels, .k = out, .a = dy, .lda = out,
                             .b = w, .ldb = x->channels, .c = dx, .ldc = x->channels};
    const pk_product to_w = {.ta = true, .m = out, .n = x->channels, .k = x->count, .a = dy, .lda = out,
                             .b = x->at, .ldb = x->stride, .c = dw, .ldc = x->channels};
    if (dx) PK_TRY(pk_product_run(&to_x));
    if (dw) PK_TRY(pk_product_run(&to_w));
    return db ? pk_bias_grad(dy, x->count, out, db) : PK_OK;
}
