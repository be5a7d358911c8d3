/* The scalar truth of map.inc.c: plain loops over the C library, in double where that is the definition. */
#include <math.h>

#include "kernels/kernels.h"

static double normal_integral(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
static double normal_density(double x) { return exp(-0.5 * x * x) * 0.39894228040143267794; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

#define MAP1(name, value)                                            \
    void PK_NAME(name)(int64_t n, const float *in, float *y) {       \
        for (int64_t i = 0; i < n; i++) {                            \
            double x = in[i];                                        \
            y[i] = (float)(value);                                   \
        }                                                            \
    }
MAP1(map_relu, x < 0 ? 0 : x)
MAP1(map_gelu, x < -40 ? 0 : x * normal_integral(x))
MAP1(map_silu, x * sigmoid(x))
MAP1(map_exp, exp(x))
MAP1(map_log, log(x))
MAP1(map_sigmoid, sigmoid(x))
MAP1(map_tanh, tanh(x))
MAP1(map_sqrt, sqrt(x))
MAP1(map_abs, fabs(x))
MAP1(map_neg, -x)

#define MAP2(name, value)                                                    \
    void PK_NAME(name)(int64_t n, const float *p, const float *q, float *y) { \
        for (int64_t i = 0; i < n; i++) {                                    \
            float a = p[i], b = q[i];                                        \
            y[i] = (value);                                                  \
        }                                                                    \
    }
MAP2(map_add, a + b)
MAP2(map_sub, a - b)
MAP2(map_mul, a *b)
MAP2(map_div, a / b)
MAP2(map_max, a > b || isnan(a) ? a : b)
MAP2(map_min, a < b || isnan(a) ? a : b)

#define GRAD(name, slope)                                                     \
    void PK_NAME(name)(int64_t n, const float *v, const float *g, float *dx) { \
        for (int64_t i = 0; i < n; i++) {                                     \
            double x = v[i], y = v[i];                                        \
            (void)x, (void)y;                                                 \
            dx[i] = (float)(g[i] * (slope));                                  \
        }                                                                     \
    }
GRAD(grad_relu, y > 0 ? 1 : 0)
GRAD(grad_gelu, normal_integral(x) + x * normal_density(x))
GRAD(grad_silu, sigmoid(x) * (1 + x * (1 - sigmoid(x))))
GRAD(grad_sigmoid, y *(1 - y))
GRAD(grad_tanh, 1 - y * y)
GRAD(grad_sqrt, 0.5 / y)
GRAD(grad_abs, x > 0 ? 1 : x < 0 ? -1 : 0)

void PK_NAME(gelu_and_grad)(int64_t n, const float *v, const float *g, float *y, float *dx) {
    for (int64_t i = 0; i < n; i++) {
        double x = v[i], integral = normal_integral(x);
        dx[i] = (float)(g[i] * (integral + x * normal_density(x)));
        y[i] = (float)(x < -40 ? 0 : x * integral);
    }
}

double PK_NAME(sum)(int64_t n, const float *x) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += x[i];
    return s;
}
double PK_NAME(dot)(int64_t n, const float *a, const float *b) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += (double)a[i] * b[i];
    return s;
}
double PK_NAME(sum_squares)(int64_t n, const float *x) { return PK_NAME(dot)(n, x, x); }

void PK_NAME(scale)(int64_t n, float *x, float a) {
    for (int64_t i = 0; i < n; i++) x[i] *= a;
}
void PK_NAME(add_to)(int64_t n, float *y, const float *x) {
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}
