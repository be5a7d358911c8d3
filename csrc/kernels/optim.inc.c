/* Steps of the optimisers over flat arrays: one pass over parameters, gradients and moments. */
#include "kernels/kernels.h"
#include "kernels/vec.h"

typedef struct adamw { vf keep, b2, c1, c2, step, root, eps; } adamw;

PK_INLINE vf adamw_lane(const adamw *a, vf w, vf g, vf *m, vf *v) {
    *m = v_fma(a->c1, v_sub(g, *m), *m);
    *v = v_fma(a->c2, v_mul(g, g), v_mul(a->b2, *v));
    vf denominator = v_add(v_mul(v_sqrt(*v), a->root), a->eps);
    return v_fnma(a->step, v_div(*m, denominator), v_mul(w, a->keep));
}

void PK_NAME(adamw_step)(int64_t n, float *w, const float *g, float *m, float *v, float lr, float fresh1, float fresh2,
                         float eps, float decay, float correction1, float correction2) {
    const adamw a = {.keep = v_set1(1 - lr * decay), .b2 = v_set1(1 - fresh2), .c1 = v_set1(fresh1),
                     .c2 = v_set1(fresh2), .step = v_set1(lr / correction1),
                     .root = v_set1(1 / sqrtf(correction2)), .eps = v_set1(eps)};
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf mi = v_load(m + i), vv = v_load(v + i);
        v_store(w + i, adamw_lane(&a, v_load(w + i), v_load(g + i), &mi, &vv));
        v_store(m + i, mi);
        v_store(v + i, vv);
    }
    int rest = (int)(n - i);
    if (rest <= 0) return;
    vf mi = v_load_n(m + i, rest), vv = v_load_n(v + i, rest);
    v_store_n(w + i, adamw_lane(&a, v_load_n(w + i, rest), v_load_n(g + i, rest), &mi, &vv), rest);
    v_store_n(m + i, mi, rest);
    v_store_n(v + i, vv, rest);
}

typedef struct lamb { vf unbias, root, eps, decay; } lamb;

PK_INLINE lamb lamb_constants(float eps, float decay, float correction1, float correction2) {
    return (lamb){v_set1(1 / correction1), v_set1(1 / sqrtf(correction2)), v_set1(eps), v_set1(decay)};
}

PK_INLINE vf lamb_update(const lamb *a, vf w, vf m, vf v) {
    vf denominator = v_add(v_mul(v_sqrt(v), a->root), a->eps);
    return v_fma(a->decay, w, v_div(v_mul(m, a->unbias), denominator));
}

enum { LAMB_BLOCK = 256 }; /* updates that wait for their sum of squares */

void PK_NAME(lamb_moments)(int64_t n, const float *w, const float *g, float *m, float *v, float scale, float fresh1,
                           float fresh2, float eps, float decay, float correction1, float correction2, double *sums) {
    const lamb a = lamb_constants(eps, decay, correction1, correction2);
    const vf b2 = v_set1(1 - fresh2), c1 = v_set1(fresh1), c2 = v_set1(fresh2), s = v_set1(scale);
    float update[LAMB_BLOCK];
    sums[0] = PK_NAME(sum_squares)(n, w);
    sums[1] = 0;
    for (int64_t block = 0; block < n; block += LAMB_BLOCK) {
        int64_t size = n - block < LAMB_BLOCK ? n - block : LAMB_BLOCK;
        for (int64_t j = 0; j < size; j += VL) {
            int64_t i = block + j;
            int rest = size - j < VL ? (int)(size - j) : VL;
            vf gi = v_mul(s, v_load_n(g + i, rest)), mi = v_load_n(m + i, rest), vv = v_load_n(v + i, rest);
            mi = v_fma(c1, v_sub(gi, mi), mi);
            vv = v_fma(c2, v_mul(gi, gi), v_mul(b2, vv));
            v_store_n(m + i, mi, rest);
            v_store_n(v + i, vv, rest);
            v_store_n(update + j, lamb_update(&a, v_load_n(w + i, rest), mi, vv), rest);
        }
        sums[1] += PK_NAME(sum_squares)(size, update);
    }
}

void PK_NAME(lamb_step)(int64_t n, float *w, const float *m, const float *v, float lr, float eps, float decay,
                        float correction1, float correction2) {
    const lamb a = lamb_constants(eps, decay, correction1, correction2);
    const vf rate = v_set1(lr);
    for (int64_t i = 0; i < n; i += VL) {
        int rest = n - i < VL ? (int)(n - i) : VL;
        vf wi = v_load_n(w + i, rest), update = lamb_update(&a, wi, v_load_n(m + i, rest), v_load_n(v + i, rest));
        v_store_n(w + i, v_fnma(rate, update, wi), rest);
    }
}

typedef struct sgd { vf lr, momentum, share, decay; bool nesterov, first; } sgd;

PK_INLINE vf sgd_lane(const sgd *s, vf w, vf g, vf *buf) {
    g = v_fma(s->decay, w, g);
    *buf = s->first ? g : v_fma(s->momentum, *buf, v_mul(s->share, g));
    return v_fnma(s->lr, s->nesterov ? v_fma(s->momentum, *buf, g) : *buf, w);
}

void PK_NAME(sgd_step)(int64_t n, float *w, const float *g, float *buf, float lr, float momentum, float dampening,
                       float decay, bool nesterov, bool first) {
    const sgd s = {v_set1(lr), v_set1(momentum), v_set1(1 - dampening), v_set1(decay), nesterov && buf, first || !buf};
    for (int64_t i = 0; i < n; i += VL) {
        int rest = n - i < VL ? (int)(n - i) : VL;
        vf b = buf && !first ? v_load_n(buf + i, rest) : v_zero();
        v_store_n(w + i, sgd_lane(&s, v_load_n(w + i, rest), v_load_n(g + i, rest), &b), rest);
        if (buf) v_store_n(buf + i, b, rest);
    }
}

void PK_NAME(ema_step)(int64_t n, float *avg, const float *w, float decay) {
    const vf share = v_set1(1 - decay);
    for (int64_t i = 0; i < n; i += VL) {
        int rest = n - i < VL ? (int)(n - i) : VL;
        vf a = v_load_n(avg + i, rest);
        v_store_n(avg + i, v_fma(share, v_sub(v_load_n(w + i, rest), a), a), rest);
    }
}

void PK_NAME(ema_step_masked)(int64_t n, float *avg, const float *w, const uint8_t *mask, float decay) {
    const float share = 1 - decay;
    for (int64_t i = 0; i < n; i++) {
        float next = avg[i] == 0.0f ? w[i] : avg[i] + share * (w[i] - avg[i]);
        avg[i] = mask[i] ? next : 0.0f;
    }
}

void PK_NAME(mask_apply)(int64_t n, float *w, const uint8_t *mask) {
    for (int64_t i = 0; i < n; i++) w[i] = mask[i] ? w[i] : 0.0f;
}
