/* Weighted sums of the rows of a picture: the vertical half of resizing. */
#include "kernels/kernels.h"
#include "kernels/vec.h"

#define WIDE (4 * VL)

#define BLEND(name, type, load)                                                                               \
    void PK_NAME(name)(int64_t n, int64_t taps, const float *w, const type *x, int64_t stride, float *y) {    \
        int64_t i = 0;                                                                                        \
        for (; i + WIDE <= n; i += WIDE) {                                                                    \
            vf a = v_zero(), b = v_zero(), c = v_zero(), d = v_zero();                                        \
            for (int64_t t = 0; t < taps; t++) {                                                              \
                const type *row = x + t * stride + i;                                                         \
                vf by = v_set1(w[t]);                                                                         \
                a = v_fma(by, load(row), a);                                                                  \
                b = v_fma(by, load(row + VL), b);                                                             \
                c = v_fma(by, load(row + 2 * VL), c);                                                         \
                d = v_fma(by, load(row + 3 * VL), d);                                                         \
            }                                                                                                 \
            v_store(y + i, a);                                                                                \
            v_store(y + i + VL, b);                                                                           \
            v_store(y + i + 2 * VL, c);                                                                       \
            v_store(y + i + 3 * VL, d);                                                                       \
        }                                                                                                     \
        for (; i + VL <= n; i += VL) {                                                                        \
            vf a = v_zero();                                                                                  \
            for (int64_t t = 0; t < taps; t++) a = v_fma(v_set1(w[t]), load(x + t * stride + i), a);          \
            v_store(y + i, a);                                                                                \
        }                                                                                                     \
        for (; i < n; i++) {                                                                                  \
            float sum = 0;                                                                                    \
            for (int64_t t = 0; t < taps; t++) sum += w[t] * (float)x[t * stride + i];                        \
            y[i] = sum;                                                                                       \
        }                                                                                                     \
    }

BLEND(blend_rows, float, v_load)
BLEND(blend_rows_u8, uint8_t, v_load_u8)
