/* The vector vocabulary in AVX2 with FMA. Included by vec.h only. */
#include <immintrin.h>

#define VL 8
#define VREGS 16
#define V_HOLD(v) __asm__("" : "+x"(v))
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

PK_INLINE vi v_first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
PK_INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
PK_INLINE void v_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
PK_INLINE vf v_load_u8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
PK_INLINE vf v_load_n(const float *p, int n) { return n == VL ? v_load(p) : _mm256_maskload_ps(p, v_first(n)); }
/* By halves: a masked store takes 42 operations on the first Zen, and many on its successors. */
PK_INLINE void v_store_n(float *p, vf v, int n) {
    if (n == VL) {
        v_store(p, v);
        return;
    }
    __m128 left = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, left);
        left = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, left);
        left = _mm_movehl_ps(left, left);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, left);
}
PK_INLINE vf v_set1(float x) { return _mm256_set1_ps(x); }
PK_INLINE vf v_zero(void) { return _mm256_setzero_ps(); }
PK_INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
PK_INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
PK_INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
PK_INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
PK_INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
PK_INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
PK_INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
PK_INLINE vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
PK_INLINE vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
PK_INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
PK_INLINE vf v_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
PK_INLINE vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
PK_INLINE vm v_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
PK_INLINE vf v_select(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
PK_INLINE vf v_pow2(vf a) {
    vi e = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
PK_INLINE vf v_exponent(vf a) {
    vi e = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(127)));
}
PK_INLINE vf v_mantissa(vf a) {
    vi m = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x007fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(m, _mm256_set1_epi32(0x3f800000)));
}
/* Rows j and j + 4 go into the halves of a vector as they are loaded: what crosses the halves is slow on the first Zen. */
PK_INLINE void v_load_turned(const float *p, ptrdiff_t pitch, vf to[VL]) {
    for (int h = 0; h < VL; h += 4) {
        vf row[4];
        for (int j = 0; j < 4; j++) {
            const vf upper = _mm256_castps128_ps256(_mm_loadu_ps(p + j * pitch + h));
            row[j] = _mm256_insertf128_ps(upper, _mm_loadu_ps(p + (j + 4) * pitch + h), 1);
        }
        for (int j = 0; j < 4; j += 2) { /* columns h + j, h + j + 1 */
            const vf first = j ? _mm256_unpackhi_ps(row[0], row[1]) : _mm256_unpacklo_ps(row[0], row[1]);
            const vf second = j ? _mm256_unpackhi_ps(row[2], row[3]) : _mm256_unpacklo_ps(row[2], row[3]);
            to[h + j] = _mm256_shuffle_ps(first, second, 0x44);
            to[h + j + 1] = _mm256_shuffle_ps(first, second, 0xee);
        }
    }
}
PK_INLINE float v_sum(vf a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
PK_INLINE float v_hmax(vf a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
