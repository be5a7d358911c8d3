/* The vector vocabulary for any machine: the compiler's vectors, of four floats. Included by vec.h only. */
#define VL 4
#define VREGS 16
#define V_HOLD(v) (void)(v)
typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef vi vm;

PK_INLINE vf v_load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
PK_INLINE void v_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
PK_INLINE vf v_load_n(const float *p, int n) {
    vf v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}
PK_INLINE void v_store_n(float *p, vf v, int n) {
    for (int i = 0; i < n; i++) p[i] = v[i];
}
PK_INLINE vf v_load_u8(const uint8_t *p) {
    vf v = {0};
    for (int i = 0; i < VL; i++) v[i] = p[i];
    return v;
}
PK_INLINE vf v_zero(void) { return (vf){0}; }
PK_INLINE vf v_set1(float x) { return x - v_zero(); } /* x - 0 is x, -0 too */
PK_INLINE vf v_add(vf a, vf b) { return a + b; }
PK_INLINE vf v_sub(vf a, vf b) { return a - b; }
PK_INLINE vf v_mul(vf a, vf b) { return a * b; }
PK_INLINE vf v_div(vf a, vf b) { return a / b; }
PK_INLINE vm v_lt(vf a, vf b) { return a < b; }
PK_INLINE vf v_select(vm m, vf yes, vf no) { return (vf)(((vi)yes & m) | ((vi)no & ~m)); }
PK_INLINE vf v_max(vf a, vf b) { return v_select(a > b, a, b); }
PK_INLINE vf v_min(vf a, vf b) { return v_select(a < b, a, b); }
PK_INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
PK_INLINE vf v_fnma(vf a, vf b, vf c) { return c - a * b; }
PK_INLINE vf v_sqrt(vf a) {
    for (int i = 0; i < VL; i++) a[i] = sqrtf(a[i]);
    return a;
}
PK_INLINE vf v_abs(vf a) { return (vf)((vi)a & 0x7fffffff); }
PK_INLINE vf v_neg(vf a) { return -a; }
PK_INLINE vf v_round(vf a) { /* adding 1.5 * 2^23 rounds to nearest even where |a| < 2^22; larger stay */
    const vf magic = v_set1(12582912.0f), big = v_set1(4194304.0f);
    return v_select(v_abs(a) < big, (a + magic) - magic, a);
}
PK_INLINE vf v_pow2(vf a) { return (vf)((__builtin_convertvector(a, vi) + 127) << 23); }
PK_INLINE vf v_exponent(vf a) { return __builtin_convertvector(((vi)a >> 23) - 127, vf); }
PK_INLINE vf v_mantissa(vf a) { return (vf)(((vi)a & 0x007fffff) | 0x3f800000); }
PK_INLINE void v_load_turned(const float *p, ptrdiff_t pitch, vf to[VL]) {
    for (int j = 0; j < VL; j++) {
        vf column = {0};
        for (int i = 0; i < VL; i++) column[i] = p[i * pitch + j];
        to[j] = column;
    }
}
PK_INLINE float v_sum(vf a) {
    for (int half = VL / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a[i] += a[half + i];
    return a[0];
}
PK_INLINE float v_hmax(vf a) {
    float m = a[0];
    for (int i = 1; i < VL; i++) m = a[i] > m ? a[i] : m;
    return m;
}
