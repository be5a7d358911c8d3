/* Elementary functions over the vector vocabulary, each within about two units in the last place. The polynomials are
 * Chebyshev fits made for this file, summed in halves (Estrin), for what limits a loop over them is one value's latency;
 * NaN stays NaN, and infinities give the limits. */
#ifndef PK_KERNELS_VEC_MATH_H
#define PK_KERNELS_VEC_MATH_H

#include "kernels/vec.h"

/* e^x = 2^n * e^r with n = round(x / ln 2) and |r| <= ln2 / 2; 2^n goes on in two halves, so that results down to the
 * smallest subnormal and up to infinity come out. */
PK_INLINE vf v_exp(vf x) {
    x = v_max(v_set1(-105.0f), v_min(v_set1(90.0f), x));
    vf n = v_round(v_mul(x, v_set1(1.44269504f)));
    vf r = v_fnma(n, v_set1(0.693145751953125f), x); /* ln 2 in two parts: n times the first is exact */
    r = v_fnma(n, v_set1(1.42860682031e-6f), r);
    const vf r2 = v_mul(r, r), low = v_fma(v_set1(0.166665760623f), r, v_set1(0.5f));
    vf p = v_fma(v_set1(0.00836333308218f), r, v_set1(0.0416665534587f));
    p = v_fma(v_fma(v_set1(0.00139263759958f), r2, p), r2, low);
    p = v_add(v_set1(1.0f), v_fma(r2, p, r));
    vf half = v_round(v_mul(n, v_set1(0.5f)));
    return v_mul(v_mul(p, v_pow2(half)), v_pow2(v_sub(n, half)));
}

/* log x = e * ln2 + log(m), m in [1/sqrt2, sqrt2). Subnormals are scaled up first. */
PK_INLINE vf v_log(vf x) {
    vf tiny = v_select(v_lt(x, v_set1(1.17549435e-38f)), v_set1(23.0f), v_zero());
    vf s = v_select(v_lt(x, v_set1(1.17549435e-38f)), v_mul(x, v_set1(8388608.0f)), x);
    vf e = v_sub(v_exponent(s), tiny), m = v_mantissa(s);
    vf big = v_select(v_lt(v_set1(1.41421356f), m), v_set1(1.0f), v_zero());
    m = v_fnma(v_mul(big, v_set1(0.5f)), m, m);
    e = v_add(e, big);
    vf f = v_sub(m, v_set1(1.0f));
    vf p = v_set1(-0.0790274377239f);
    p = v_fma(p, f, v_set1(0.126223198492f));
    p = v_fma(p, f, v_set1(-0.129981837637f));
    p = v_fma(p, f, v_set1(0.142144959239f));
    p = v_fma(p, f, v_set1(-0.166412814631f));
    p = v_fma(p, f, v_set1(0.200010450942f));
    p = v_fma(p, f, v_set1(-0.250003064226f));
    p = v_fma(p, f, v_set1(0.333333307282f));
    vf f2 = v_mul(f, f);
    vf y = v_fma(v_mul(f2, f), p, v_fma(e, v_set1(1.42860682031e-6f), v_mul(f2, v_set1(-0.5f))));
    y = v_fma(e, v_set1(0.693145751953125f), v_add(y, f));
    y = v_select(v_lt(v_set1(3.40282347e38f), x), x, y);
    y = v_select(v_lt(v_abs(x), v_set1(1e-45f)), v_set1(-INFINITY), y);
    return v_select(v_lt(x, v_zero()), v_set1(NAN), v_select(v_lt(v_set1(-1.0f), x), y, x));
}

/* 1 / (1 + e^-x). */
PK_INLINE vf v_sigmoid(vf x) { return v_div(v_set1(1.0f), v_add(v_set1(1.0f), v_exp(v_neg(x)))); }

/* An odd polynomial near 0, else 1 - 2 / (e^2|x| + 1) with the sign of x. */
PK_INLINE vf v_tanh(vf x) {
    vf s = v_mul(x, x), a = v_abs(x);
    vf p = v_set1(-0.00604516509652f);
    p = v_fma(p, s, v_set1(0.0209613291086f));
    p = v_fma(p, s, v_set1(-0.0538432631753f));
    p = v_fma(p, s, v_set1(0.133327188456f));
    p = v_fma(p, s, v_set1(-0.333333284333f));
    vf near = v_fma(v_mul(x, s), p, x);
    vf e = v_exp(v_add(a, a));
    vf far = v_sub(v_set1(1.0f), v_div(v_set1(2.0f), v_add(e, v_set1(1.0f))));
    far = v_select(v_lt(x, v_zero()), v_neg(far), far);
    return v_select(v_lt(a, v_set1(0.625f)), near, far);
}

/* The normal distribution: *density = e^(-x^2/2) / sqrt(2 pi), returned is its integral from -infinity to x. The upper
 * tail is e^(-a^2/2) * t * P(t) with a = |x| and t = 1 / (1 + a/4). */
PK_INLINE vf v_normal(vf x, vf *density) {
    vf a = v_min(v_set1(14.0f), v_abs(x));
    vf e = v_exp(v_mul(v_mul(a, a), v_set1(-0.5f)));
    vf t = v_div(v_set1(1.0f), v_fma(a, v_set1(0.25f), v_set1(1.0f)));
    const vf t2 = v_mul(t, t), t4 = v_mul(t2, t2);
    const vf p0 = v_fma(v_set1(0.0981827782146f), t, v_set1(0.0998168106979f));
    const vf p2 = v_fma(v_set1(0.0233047751364f), t, v_set1(0.106168300136f));
    const vf p4 = v_fma(v_set1(-0.239553376002f), t, v_set1(0.224722430228f));
    const vf p6 = v_fma(v_set1(-0.167508097551f), t, v_set1(0.326081635628f));
    const vf high = v_fma(v_set1(0.028784735971f), t4, v_fma(p6, t2, p4));
    const vf tail = v_mul(v_mul(e, t), v_fma(high, t4, v_fma(p2, t2, p0)));
    *density = v_mul(e, v_set1(0.398942280401f));
    return v_select(v_lt(x, v_zero()), tail, v_sub(v_set1(1.0f), tail));
}

#endif
