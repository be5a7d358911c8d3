/* The scalar truth of softmax.inc.c. */
#include <math.h>

#include "kernels/kernels.h"

static double top_of(int64_t n, const float *x) {
    double top = -INFINITY;
    for (int64_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

static double exp_sum(int64_t n, const float *x, double top) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] - top);
    return sum;
}

float PK_NAME(log_sum_exp)(int64_t n, const float *x) {
    double top = top_of(n, x);
    if (isinf(top)) top = top > 0 ? top : 0;
    return (float)(top + log(exp_sum(n, x, top)));
}

void PK_NAME(softmax_row)(int64_t n, const float *x, float *y) {
    double top = top_of(n, x), sum = exp_sum(n, x, top);
    for (int64_t i = 0; i < n; i++) y[i] = (float)(exp(x[i] - top) / sum);
}

void PK_NAME(log_softmax_row)(int64_t n, const float *x, float *y) {
    double top = top_of(n, x), sum = exp_sum(n, x, top);
    for (int64_t i = 0; i < n; i++) y[i] = (float)(x[i] - top - log(sum));
}
