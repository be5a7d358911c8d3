/* Elementwise maps over arrays, their derivatives, and sums over arrays. */
#include "kernels/kernels.h"
#include "kernels/vec_math.h"

typedef vf map1(vf x);
typedef vf map2(vf a, vf b);

PK_INLINE void each1(int64_t n, const float *x, float *y, map1 *f) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, f(v_load(x + i)));
    if (i < n) v_store_n(y + i, f(v_load_n(x + i, (int)(n - i))), (int)(n - i));
}
PK_INLINE void each2(int64_t n, const float *a, const float *b, float *y, map2 *f) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, f(v_load(a + i), v_load(b + i)));
    if (i < n) v_store_n(y + i, f(v_load_n(a + i, (int)(n - i)), v_load_n(b + i, (int)(n - i))), (int)(n - i));
}

/* x where it is NaN or not negative: relu lets NaN through. */
static inline vf relu1(vf x) { return v_select(v_lt(x, v_zero()), v_zero(), x); }
static inline vf gelu1(vf x) {
    vf density, integral = v_normal(x, &density);
    return v_mul(v_max(v_set1(-14.0f), x), integral); /* below, the integral is 0: of -infinity too */
}
static inline vf silu1(vf x) { return v_mul(x, v_sigmoid(x)); }
static inline vf exp1(vf x) { return v_exp(x); }
static inline vf log1(vf x) { return v_log(x); }
static inline vf sigmoid1(vf x) { return v_sigmoid(x); }
static inline vf tanh1(vf x) { return v_tanh(x); }
static inline vf sqrt1(vf x) { return v_sqrt(x); }
static inline vf abs1(vf x) { return v_abs(x); }
static inline vf neg1(vf x) { return v_neg(x); }

void PK_NAME(map_relu)(int64_t n, const float *x, float *y) { each1(n, x, y, relu1); }
void PK_NAME(map_gelu)(int64_t n, const float *x, float *y) { each1(n, x, y, gelu1); }
void PK_NAME(map_silu)(int64_t n, const float *x, float *y) { each1(n, x, y, silu1); }
void PK_NAME(map_exp)(int64_t n, const float *x, float *y) { each1(n, x, y, exp1); }
void PK_NAME(map_log)(int64_t n, const float *x, float *y) { each1(n, x, y, log1); }
void PK_NAME(map_sigmoid)(int64_t n, const float *x, float *y) { each1(n, x, y, sigmoid1); }
void PK_NAME(map_tanh)(int64_t n, const float *x, float *y) { each1(n, x, y, tanh1); }
void PK_NAME(map_sqrt)(int64_t n, const float *x, float *y) { each1(n, x, y, sqrt1); }
void PK_NAME(map_abs)(int64_t n, const float *x, float *y) { each1(n, x, y, abs1); }
void PK_NAME(map_neg)(int64_t n, const float *x, float *y) { each1(n, x, y, neg1); }

/* Larger and smaller of two, NaN if either is: where neither comparison holds they are equal, or one is NaN. */
static inline vf equal_or_nan(vf a, vf b) { return v_select(v_lt(v_abs(a), v_set1(INFINITY)), b, v_add(a, b)); }
static inline vf max2(vf a, vf b) { return v_select(v_lt(b, a), a, v_select(v_lt(a, b), b, equal_or_nan(a, b))); }
static inline vf min2(vf a, vf b) { return v_select(v_lt(a, b), a, v_select(v_lt(b, a), b, equal_or_nan(a, b))); }
static inline vf add2(vf a, vf b) { return v_add(a, b); }
static inline vf sub2(vf a, vf b) { return v_sub(a, b); }
static inline vf mul2(vf a, vf b) { return v_mul(a, b); }
static inline vf div2(vf a, vf b) { return v_div(a, b); }

void PK_NAME(map_add)(int64_t n, const float *a, const float *b, float *y) { each2(n, a, b, y, add2); }
void PK_NAME(map_sub)(int64_t n, const float *a, const float *b, float *y) { each2(n, a, b, y, sub2); }
void PK_NAME(map_mul)(int64_t n, const float *a, const float *b, float *y) { each2(n, a, b, y, mul2); }
void PK_NAME(map_div)(int64_t n, const float *a, const float *b, float *y) { each2(n, a, b, y, div2); }
void PK_NAME(map_max)(int64_t n, const float *a, const float *b, float *y) { each2(n, a, b, y, max2); }
void PK_NAME(map_min)(int64_t n, const float *a, const float *b, float *y) { each2(n, a, b, y, min2); }

/* Derivatives: v is what backward keeps (x or y, see kernels.def), g the gradient that arrives. */
static inline vf grad_relu1(vf y, vf g) { return v_select(v_lt(v_zero(), y), g, v_mul(y, v_zero())); }
static inline vf grad_gelu1(vf x, vf g) {
    vf density, integral = v_normal(x, &density);
    vf slope = v_mul(v_max(v_set1(-14.0f), v_min(v_set1(14.0f), x)), density);
    return v_mul(g, v_add(integral, slope));
}
PK_INLINE void gelu_both(const float *x, const float *g, float *y, float *dx, int n) {
    const vf at = v_load_n(x, n), arrived = v_load_n(g, n);
    vf density, integral = v_normal(at, &density);
    const vf slope = v_mul(v_max(v_set1(-14.0f), v_min(v_set1(14.0f), at)), density);
    v_store_n(y, v_mul(v_max(v_set1(-14.0f), at), integral), n);
    v_store_n(dx, v_mul(arrived, v_add(integral, slope)), n);
}
static inline vf grad_silu1(vf x, vf g) { /* s (1 + x (1 - s)), 1 - s = e^-x s */
    x = v_max(v_set1(-80.0f), v_min(v_set1(80.0f), x));
    vf e = v_exp(v_neg(x)), s = v_div(v_set1(1.0f), v_add(v_set1(1.0f), e));
    return v_mul(g, v_fma(v_mul(s, x), v_mul(e, s), s));
}
static inline vf grad_sigmoid1(vf y, vf g) { return v_mul(g, v_fnma(y, y, y)); }
static inline vf grad_tanh1(vf y, vf g) { return v_mul(g, v_fnma(y, y, v_set1(1.0f))); }
static inline vf grad_sqrt1(vf y, vf g) { return v_div(v_mul(g, v_set1(0.5f)), y); }
static inline vf grad_abs1(vf x, vf g) {
    return v_select(v_lt(v_zero(), x), g, v_select(v_lt(x, v_zero()), v_neg(g), v_mul(g, v_zero())));
}

void PK_NAME(grad_relu)(int64_t n, const float *y, const float *g, float *dx) { each2(n, y, g, dx, grad_relu1); }
void PK_NAME(grad_gelu)(int64_t n, const float *x, const float *g, float *dx) { each2(n, x, g, dx, grad_gelu1); }
void PK_NAME(gelu_and_grad)(int64_t n, const float *x, const float *g, float *y, float *dx) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) gelu_both(x + i, g + i, y + i, dx + i, VL);
    if (i < n) gelu_both(x + i, g + i, y + i, dx + i, (int)(n - i));
}
void PK_NAME(grad_silu)(int64_t n, const float *x, const float *g, float *dx) { each2(n, x, g, dx, grad_silu1); }
void PK_NAME(grad_sigmoid)(int64_t n, const float *y, const float *g, float *dx) { each2(n, y, g, dx, grad_sigmoid1); }
void PK_NAME(grad_tanh)(int64_t n, const float *y, const float *g, float *dx) { each2(n, y, g, dx, grad_tanh1); }
void PK_NAME(grad_sqrt)(int64_t n, const float *y, const float *g, float *dx) { each2(n, y, g, dx, grad_sqrt1); }
void PK_NAME(grad_abs)(int64_t n, const float *x, const float *g, float *dx) { each2(n, x, g, dx, grad_abs1); }

/* Sums run in sixteen double lanes, so that length costs no precision. */
enum { LANES = 16 };
PK_INLINE double add_lanes(const double *s) {
    double a[4];
    for (int i = 0; i < 4; i++) a[i] = (s[i] + s[i + 8]) + (s[i + 4] + s[i + 12]);
    return (a[0] + a[2]) + (a[1] + a[3]);
}
double PK_NAME(sum)(int64_t n, const float *x) {
    double s[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += (double)x[i + j];
    for (int j = 0; i < n; i++, j++) s[j] += (double)x[i];
    return add_lanes(s);
}
double PK_NAME(dot)(int64_t n, const float *a, const float *b) {
    double s[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += (double)a[i + j] * (double)b[i + j];
    for (int j = 0; i < n; i++, j++) s[j] += (double)a[i] * (double)b[i];
    return add_lanes(s);
}
double PK_NAME(sum_squares)(int64_t n, const float *x) { return PK_NAME(dot)(n, x, x); }

void PK_NAME(scale)(int64_t n, float *x, float a) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(x + i, v_mul(v_load(x + i), v_set1(a)));
    for (; i < n; i++) x[i] *= a;
}
void PK_NAME(add_to)(int64_t n, float *y, const float *x) { each2(n, y, x, y, add2); }
