/* Softmax over one row: exponentials less the row's maximum, so that nothing overflows. */
#include "kernels/kernels.h"
#include "kernels/vec_math.h"

/* The maximum; rows with a NaN come to NaN through the sum. */
PK_INLINE float row_max(int64_t n, const float *x) {
    vf m = v_set1(-INFINITY);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) m = v_max(v_load(x + i), m);
    float best = v_hmax(m);
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

/* y (where given) = e^(x - top); returns the sum of that. */
PK_INLINE double exp_sum(int64_t n, const float *x, float top, float *y) {
    double sum = 0;
    vf t = v_set1(top);
    for (int64_t i = 0; i < n; i += 16 * VL) { /* float lanes for at most 16 values, then double */
        vf s = v_zero();
        for (int64_t j = i; j < n && j < i + 16 * VL; j += VL) {
            int k = n - j < VL ? (int)(n - j) : VL;
            vf e = v_exp(v_sub(v_load_n(x + j, k), t));
            if (y) v_store_n(y + j, e, k);
            float lane[VL] = {0};
            if (k < VL) { /* lanes past the end do not count */
                v_store_n(lane, e, k);
                e = v_load(lane);
            }
            s = v_add(s, e);
        }
        sum += (double)v_sum(s);
    }
    return sum;
}

float PK_NAME(log_sum_exp)(int64_t n, const float *x) {
    float top = row_max(n, x);
    if (isinf(top)) top = top > 0 ? top : 0; /* all -inf: log 0 */
    return top + (float)log(exp_sum(n, x, top, 0));
}

void PK_NAME(softmax_row)(int64_t n, const float *x, float *y) {
    float share = (float)(1 / exp_sum(n, x, row_max(n, x), y));
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, v_mul(v_load(y + i), v_set1(share)));
    for (; i < n; i++) y[i] *= share;
}

void PK_NAME(log_softmax_row)(int64_t n, const float *x, float *y) {
    float top = row_max(n, x), rest = (float)log(exp_sum(n, x, top, 0));
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - top) - rest;
}
