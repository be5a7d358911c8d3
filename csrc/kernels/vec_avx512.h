/* The vector vocabulary in AVX-512 (F, DQ, BW, VL). Included by vec.h only. */
#include <immintrin.h>

#define VL 16
#define VREGS 32
#ifndef V_HOLD /* spec/avx512 has its own */
#define V_HOLD(v) __asm__("" : "+v"(v))
#endif
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

PK_INLINE vm v_first(int n) { return (vm)_bzhi_u32(0xffffu, (unsigned)n); }
PK_INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
PK_INLINE void v_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
PK_INLINE vf v_load_u8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
PK_INLINE vf v_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps(v_first(n), p); }
PK_INLINE void v_store_n(float *p, vf v, int n) { _mm512_mask_storeu_ps(p, v_first(n), v); }
PK_INLINE vf v_set1(float x) { return _mm512_set1_ps(x); }
PK_INLINE vf v_zero(void) { return _mm512_setzero_ps(); }
PK_INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
PK_INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
PK_INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
PK_INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
PK_INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
PK_INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
PK_INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
PK_INLINE vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
PK_INLINE vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
PK_INLINE vf v_abs(vf a) { return _mm512_abs_ps(a); }
PK_INLINE vf v_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
PK_INLINE vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
PK_INLINE vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
PK_INLINE vf v_select(vm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
PK_INLINE vf v_pow2(vf a) {
    vi e = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}
PK_INLINE vf v_exponent(vf a) { return _mm512_getexp_ps(a); }
PK_INLINE vf v_mantissa(vf a) { return _mm512_getmant_ps(a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero); }
PK_INLINE vf v_zip_lo(vf a, vf b) {
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
PK_INLINE vf v_zip_hi(vf a, vf b) {
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}
#define V_ZIPS
PK_INLINE float v_sum(vf a) { return _mm512_reduce_add_ps(a); }
PK_INLINE float v_hmax(vf a) { return _mm512_reduce_max_ps(a); }
