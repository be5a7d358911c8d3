/* The vector vocabulary in AArch64 Advanced SIMD. Included by vec.h only. */
#include <arm_neon.h>

#define VL 4
#define VREGS 32
#define V_HOLD(v) __asm__("" : "+w"(v))
typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vm;

PK_INLINE vf v_load(const float *p) { return vld1q_f32(p); }
PK_INLINE void v_store(float *p, vf v) { vst1q_f32(p, v); }
PK_INLINE vf v_load_u8(const uint8_t *p) { return (vf){p[0], p[1], p[2], p[3]}; }
PK_INLINE vf v_load_n(const float *p, int n) {
    float lane[4] = {0, 0, 0, 0};
    for (int i = 0; i < n; i++) lane[i] = p[i];
    return vld1q_f32(lane);
}
PK_INLINE void v_store_n(float *p, vf v, int n) {
    float lane[4];
    vst1q_f32(lane, v);
    for (int i = 0; i < n; i++) p[i] = lane[i];
}
PK_INLINE vf v_set1(float x) { return vdupq_n_f32(x); }
PK_INLINE vf v_zero(void) { return vdupq_n_f32(0); }
PK_INLINE vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
PK_INLINE vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
PK_INLINE vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
PK_INLINE vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
PK_INLINE vm v_lt(vf a, vf b) { return vcltq_f32(a, b); }
PK_INLINE vf v_select(vm m, vf yes, vf no) { return vbslq_f32(m, yes, no); }
PK_INLINE vf v_max(vf a, vf b) { return v_select(vcgtq_f32(a, b), a, b); }
PK_INLINE vf v_min(vf a, vf b) { return v_select(vcltq_f32(a, b), a, b); }
PK_INLINE vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
PK_INLINE vf v_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
PK_INLINE vf v_sqrt(vf a) { return vsqrtq_f32(a); }
PK_INLINE vf v_abs(vf a) { return vabsq_f32(a); }
PK_INLINE vf v_neg(vf a) { return vnegq_f32(a); }
PK_INLINE vf v_round(vf a) { return vrndnq_f32(a); }
PK_INLINE vf v_pow2(vf a) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(a), vdupq_n_s32(127)), 23));
}
PK_INLINE vf v_exponent(vf a) {
    return vcvtq_f32_s32(vsubq_s32(vshrq_n_s32(vreinterpretq_s32_f32(a), 23), vdupq_n_s32(127)));
}
PK_INLINE vf v_mantissa(vf a) {
    vi m = vandq_s32(vreinterpretq_s32_f32(a), vdupq_n_s32(0x007fffff));
    return vreinterpretq_f32_s32(vorrq_s32(m, vdupq_n_s32(0x3f800000)));
}
PK_INLINE vf v_zip_lo(vf a, vf b) { return vzip1q_f32(a, b); }
PK_INLINE vf v_zip_hi(vf a, vf b) { return vzip2q_f32(a, b); }
#define V_ZIPS
PK_INLINE float v_sum(vf a) { return vaddvq_f32(a); }
PK_INLINE float v_hmax(vf a) { return vmaxvq_f32(a); }
