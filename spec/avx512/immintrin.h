/* The intrinsics of AVX-512 that csrc/kernels/vec_avx512.h uses, by the definitions in Intel's manual, for AVX2: `make
 * wide` compiles that header and the bodies over it with this file in front of the compiler's own, so that they are
 * checked on machines without AVX-512. Slow: no vector of sixteen floats stays in a register. */
#ifndef PELK_SPEC_AVX512_IMMINTRIN_H
#define PELK_SPEC_AVX512_IMMINTRIN_H

#include_next <immintrin.h>
#include <math.h>
#include <string.h>

#define V_HOLD(v) (void)(v)

typedef union wide_ps {
    __m256 half[2];
    float lane[16];
} wide_ps;
typedef union wide_epi32 {
    __m256i half[2];
    int lane[16];
} wide_epi32;
#define __m512 wide_ps
#define __m512i wide_epi32

#define EMULATED(result) static inline __attribute__((always_inline, unused)) result

/* By halves: what AVX2 has too. */
#define EMULATED_ONE(to, name, from, expression)                    \
    EMULATED(to) wide_##name(from a) {                              \
        to r;                                                   \
        for (int h = 0; h < 2; h++) r.half[h] = expression;     \
        return r;                                               \
    }
#define EMULATED_TWO(type, name, expression)                        \
    EMULATED(type) wide_##name(type a, type b) {                    \
        type r;                                                 \
        for (int h = 0; h < 2; h++) r.half[h] = expression;     \
        return r;                                               \
    }
#define EMULATED_THREE(name, expression)                            \
    EMULATED(wide_ps) wide_##name(wide_ps a, wide_ps b, wide_ps c) { \
        wide_ps r;                                              \
        for (int h = 0; h < 2; h++) r.half[h] = expression;     \
        return r;                                               \
    }
EMULATED_TWO(wide_ps, add_ps, _mm256_add_ps(a.half[h], b.half[h]))
EMULATED_TWO(wide_ps, sub_ps, _mm256_sub_ps(a.half[h], b.half[h]))
EMULATED_TWO(wide_ps, mul_ps, _mm256_mul_ps(a.half[h], b.half[h]))
EMULATED_TWO(wide_ps, div_ps, _mm256_div_ps(a.half[h], b.half[h]))
EMULATED_TWO(wide_ps, max_ps, _mm256_max_ps(a.half[h], b.half[h]))
EMULATED_TWO(wide_ps, min_ps, _mm256_min_ps(a.half[h], b.half[h]))
EMULATED_TWO(wide_ps, xor_ps, _mm256_xor_ps(a.half[h], b.half[h]))
EMULATED_TWO(wide_epi32, add_epi32, _mm256_add_epi32(a.half[h], b.half[h]))
EMULATED_THREE(fmadd_ps, _mm256_fmadd_ps(a.half[h], b.half[h], c.half[h]))
EMULATED_THREE(fnmadd_ps, _mm256_fnmadd_ps(a.half[h], b.half[h], c.half[h]))
EMULATED_ONE(wide_ps, sqrt_ps, wide_ps, _mm256_sqrt_ps(a.half[h]))
EMULATED_ONE(wide_ps, abs_ps, wide_ps, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.half[h]))
EMULATED_ONE(wide_ps, nearest_ps, wide_ps, _mm256_round_ps(a.half[h], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
EMULATED_ONE(wide_epi32, cvtps_epi32, wide_ps, _mm256_cvtps_epi32(a.half[h]))
EMULATED_ONE(wide_ps, cvtepi32_ps, wide_epi32, _mm256_cvtepi32_ps(a.half[h]))
EMULATED_ONE(wide_ps, castsi512_ps, wide_epi32, _mm256_castsi256_ps(a.half[h]))
EMULATED_ONE(wide_ps, set1_ps, float, _mm256_set1_ps(a))
EMULATED_ONE(wide_epi32, set1_epi32, int, _mm256_set1_epi32(a))

/* Lane by lane. */
EMULATED(wide_ps) wide_loadu_ps(const void *p) {
    wide_ps r;
    memcpy(&r, p, sizeof r);
    return r;
}
EMULATED(void) wide_storeu_ps(void *p, wide_ps a) { memcpy(p, &a, sizeof a); }
EMULATED(wide_ps) wide_maskz_loadu_ps(__mmask16 m, const void *p) {
    wide_ps r = {.lane = {0}};
    for (int i = 0; i < 16; i++)
        if (m >> i & 1) memcpy(&r.lane[i], (const float *)p + i, sizeof(float));
    return r;
}
EMULATED(void) wide_mask_storeu_ps(void *p, __mmask16 m, wide_ps a) {
    for (int i = 0; i < 16; i++)
        if (m >> i & 1) memcpy((float *)p + i, &a.lane[i], sizeof(float));
}
EMULATED(wide_ps) wide_mask_blend_ps(__mmask16 m, wide_ps a, wide_ps b) {
    for (int i = 0; i < 16; i++)
        if (m >> i & 1) a.lane[i] = b.lane[i];
    return a;
}
EMULATED(wide_epi32) wide_setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l,
                                     int m, int n, int o, int p) {
    return (wide_epi32){.lane = {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p}};
}
EMULATED(wide_epi32) wide_slli_epi32(wide_epi32 a, unsigned count) {
    for (int i = 0; i < 16; i++) a.lane[i] = count > 31 ? 0 : (int)((unsigned)a.lane[i] << count);
    return a;
}
EMULATED(wide_epi32) wide_cvtepu8_epi32(__m128i bytes) {
    unsigned char b[16];
    wide_epi32 r;
    memcpy(b, &bytes, sizeof b);
    for (int i = 0; i < 16; i++) r.lane[i] = b[i];
    return r;
}
EMULATED(wide_ps) wide_permutex2var_ps(wide_ps a, wide_epi32 index, wide_ps b) {
    wide_ps r;
    for (int i = 0; i < 16; i++) r.lane[i] = (index.lane[i] & 16 ? &b : &a)->lane[index.lane[i] & 15];
    return r;
}
EMULATED(wide_ps) wide_getexp_ps(wide_ps a) {
    for (int i = 0; i < 16; i++) a.lane[i] = logbf(a.lane[i]);
    return a;
}
EMULATED(wide_ps) wide_mantissa_ps(wide_ps a) { /* in [1, 2), without sign; of 0 and infinity 1 */
    for (int i = 0, e; i < 16; i++) {
        const float x = fabsf(a.lane[i]);
        a.lane[i] = x == 0 || isinf(x) ? 1 : isnan(x) ? x : 2 * frexpf(x, &e);
    }
    return a;
}
/* The order of the compiler's own: halves upon halves. */
EMULATED(float) wide_reduce_add_ps(wide_ps a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.lane[i] += a.lane[half + i];
    return a.lane[0];
}
EMULATED(float) wide_reduce_max_ps(wide_ps a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.lane[i] = a.lane[i] > a.lane[half + i] ? a.lane[i] : a.lane[half + i];
    return a.lane[0];
}
EMULATED(__mmask16) wide_less_ps(wide_ps a, wide_ps b) {
    unsigned m = 0;
    for (int i = 0; i < 16; i++) m |= (unsigned)(a.lane[i] < b.lane[i]) << i;
    return (__mmask16)m;
}

#define _mm512_loadu_ps wide_loadu_ps
#define _mm512_storeu_ps wide_storeu_ps
#define _mm512_maskz_loadu_ps wide_maskz_loadu_ps
#define _mm512_mask_storeu_ps wide_mask_storeu_ps
#define _mm512_mask_blend_ps wide_mask_blend_ps
#define _mm512_set1_ps wide_set1_ps
#define _mm512_set1_epi32 wide_set1_epi32
#define _mm512_setzero_ps() wide_set1_ps(0)
#undef _mm512_setr_epi32
#define _mm512_setr_epi32 wide_setr_epi32
#define _mm512_add_ps wide_add_ps
#define _mm512_sub_ps wide_sub_ps
#define _mm512_mul_ps wide_mul_ps
#define _mm512_div_ps wide_div_ps
#define _mm512_max_ps wide_max_ps
#define _mm512_min_ps wide_min_ps
#define _mm512_xor_ps wide_xor_ps
#define _mm512_abs_ps wide_abs_ps
#define _mm512_sqrt_ps wide_sqrt_ps
#define _mm512_fmadd_ps wide_fmadd_ps
#define _mm512_fnmadd_ps wide_fnmadd_ps
#define _mm512_add_epi32 wide_add_epi32
#define _mm512_slli_epi32 wide_slli_epi32
#define _mm512_cvtps_epi32 wide_cvtps_epi32
#define _mm512_cvtepi32_ps wide_cvtepi32_ps
#define _mm512_cvtepu8_epi32 wide_cvtepu8_epi32
#define _mm512_castsi512_ps wide_castsi512_ps
#define _mm512_permutex2var_ps wide_permutex2var_ps
#define _mm512_getexp_ps wide_getexp_ps
#define _mm512_reduce_add_ps wide_reduce_add_ps
#define _mm512_reduce_max_ps wide_reduce_max_ps
/* With the one choice that is made of each: another does not compile. */
#define _mm512_cmp_ps_mask(a, b, how) EMULATED_CHOICE(how, _CMP_LT_OQ, wide_less_ps(a, b))
#define _mm512_roundscale_ps(a, how) \
    EMULATED_CHOICE(how, (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), wide_nearest_ps(a))
#define _mm512_getmant_ps(a, interval, sign) \
    EMULATED_CHOICE((interval) * 4 + (sign), _MM_MANT_NORM_1_2 * 4 + _MM_MANT_SIGN_zero, wide_mantissa_ps(a))
#define EMULATED_CHOICE(given, wanted, value) \
    __extension__({ _Static_assert((given) == (wanted), "not emulated"); value; })

#endif
