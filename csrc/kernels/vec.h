/* The vector vocabulary: what a kernel body may say. One header a level defines it for float lanes.
 *
 *   VL                    lanes of a vector (generic 4, avx2 8, avx512 16, neon 4)
 *   VREGS                 vector registers
 *   vf, vi                VL floats, VL int32
 *   V_HOLD(v)             keep a loaded vector in a register: compilers like to load it again for each of its uses
 *   v_load(p) v_store(p, v)          unaligned
 *   v_load_u8(p)          VL bytes as floats
 *   v_load_n(p, n) v_store_n(p, v, n)  the first n (0..VL) lanes; loaded lanes past n are 0; nothing else is touched
 *   v_set1(x) v_zero()
 *   v_add v_sub v_mul v_div v_max v_min (a, b)
 *   v_fma(a, b, c)        a * b + c (fused where the level has it)
 *   v_fnma(a, b, c)       c - a * b
 *   v_sqrt(a) v_abs(a) v_neg(a) v_round(a) (to nearest even)
 *   v_lt(a, b)            mask; v_select(mask, yes, no)
 *   v_pow2(a)             2^a for a holding whole numbers in [-126, 127]
 *   v_exponent(a)         floor(log2 a) as float for positive normal a; v_mantissa(a): a / 2^that, in [1, 2)
 *   v_load_turned(p, pitch, to)   VL rows of VL floats, pitch floats apart: to[j] is their column j
 *   v_sum(a) v_hmax(a)    over the lanes, in a fixed order
 *
 * max and min: the second operand where either is NaN (x86's rule); bodies that care select for themselves. */
#ifndef PK_KERNELS_VEC_H
#define PK_KERNELS_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PK_INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__) || defined(PK_VEC_AVX512)
#include "kernels/vec_avx512.h"
#elif defined(__AVX2__)
#include "kernels/vec_avx2.h"
#elif defined(PK_VEC_NEON)
#include "kernels/vec_neon.h"
#else
#include "kernels/vec_generic.h"
#endif

#ifdef V_ZIPS /* levels that have v_zip_lo(a, b) and v_zip_hi(a, b), a0 b0 a1 b1 ... of the lower and the upper halves */
/* Zipping the first half of the rows with the second, log2(VL) times, is a transposition. */
PK_INLINE void v_load_turned(const float *p, ptrdiff_t pitch, vf to[VL]) {
    vf next[VL];
    for (int j = 0; j < VL; j++) to[j] = v_load(p + j * pitch);
    for (int round = 1; round < VL; round *= 2) {
        for (int j = 0; j < VL / 2; j++) {
            next[2 * j] = v_zip_lo(to[j], to[j + VL / 2]);
            next[2 * j + 1] = v_zip_hi(to[j], to[j + VL / 2]);
        }
        for (int j = 0; j < VL; j++) to[j] = next[j];
    }
}
#endif

#endif
