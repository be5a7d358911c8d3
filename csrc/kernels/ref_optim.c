/* The scalar truth of optim.inc.c: PyTorch's formulas in double, one element at a time. */
#include <math.h>

#include "kernels/kernels.h"

void PK_NAME(adamw_step)(int64_t n, float *w, const float *g, float *m, float *v, float lr, float fresh1, float fresh2,
                         float eps, float decay, float correction1, float correction2) {
    for (int64_t i = 0; i < n; i++) {
        double mi = (1 - (double)fresh1) * m[i] + (double)fresh1 * g[i];
        double vi = (1 - (double)fresh2) * v[i] + (double)fresh2 * g[i] * g[i];
        double wi = w[i] * (1 - (double)lr * decay);
        w[i] = (float)(wi - lr * (mi / correction1) / (sqrt(vi / correction2) + eps));
        m[i] = (float)mi;
        v[i] = (float)vi;
    }
}

void PK_NAME(lamb_moments)(int64_t n, const float *w, const float *g, float *m, float *v, float scale, float fresh1,
                           float fresh2, float eps, float decay, float correction1, float correction2, double *sums) {
    sums[0] = sums[1] = 0;
    for (int64_t i = 0; i < n; i++) {
        double gi = (double)scale * g[i];
        m[i] = (float)((1 - (double)fresh1) * m[i] + (double)fresh1 * gi);
        v[i] = (float)((1 - (double)fresh2) * v[i] + (double)fresh2 * gi * gi);
        double update = ((double)m[i] / correction1) / (sqrt((double)v[i] / correction2) + eps) + (double)decay * w[i];
        sums[0] += (double)w[i] * w[i];
        sums[1] += update * update;
    }
}

void PK_NAME(lamb_step)(int64_t n, float *w, const float *m, const float *v, float lr, float eps, float decay,
                        float correction1, float correction2) {
    for (int64_t i = 0; i < n; i++)
        w[i] = (float)(w[i] - lr * (((double)m[i] / correction1) / (sqrt((double)v[i] / correction2) + eps) + (double)decay * w[i]));
}

void PK_NAME(sgd_step)(int64_t n, float *w, const float *g, float *buf, float lr, float momentum, float dampening,
                       float decay, bool nesterov, bool first) {
    for (int64_t i = 0; i < n; i++) {
        double gi = g[i] + (double)decay * w[i], step = gi;
        if (buf) {
            double b = first ? gi : (double)momentum * buf[i] + (1 - (double)dampening) * gi;
            buf[i] = (float)b;
            step = nesterov ? gi + (double)momentum * b : b;
        }
        w[i] = (float)(w[i] - lr * step);
    }
}

void PK_NAME(ema_step)(int64_t n, float *avg, const float *w, float decay) {
    for (int64_t i = 0; i < n; i++) avg[i] = (float)(avg[i] + (1 - (double)decay) * ((double)w[i] - avg[i]));
}

void PK_NAME(ema_step_masked)(int64_t n, float *avg, const float *w, const uint8_t *mask, float decay) {
    for (int64_t i = 0; i < n; i++) {
        double fresh = avg[i] == 0 ? (double)decay * w[i] : 0; /* SLaK's rule: a new weight begins at w */
        avg[i] = mask[i] ? (float)((double)decay * avg[i] + (1 - (double)decay) * w[i] + fresh) : 0;
    }
}

void PK_NAME(mask_apply)(int64_t n, float *w, const uint8_t *mask) {
    for (int64_t i = 0; i < n; i++)
        if (!mask[i]) w[i] = 0;
}
