/* Mixing the pictures of a batch. */
#include "data/mix.h"

#include <math.h>
#include <string.h>

#include "core/checked.h"
#include "core/pool.h"
#include "core/rng.h"

const pk_field pk_mix_fields[] = {
    {.name = "num_classes", .type = PK_INT, .offset = offsetof(pk_mix, num_classes), .required = true, .min = 1,
     .max = 1e9, .doc = "of the targets that come out"},
    {.name = "mixup_alpha", .type = PK_FLOAT, .offset = offsetof(pk_mix, mixup_alpha), .def = 0.8, .min = 0,
     .max = 1000, .doc = "share of the other picture ~ Beta(alpha, alpha); 0: no mixup"},
    {.name = "cutmix_alpha", .type = PK_FLOAT, .offset = offsetof(pk_mix, cutmix_alpha), .def = 1, .min = 0,
     .max = 1000, .doc = "the same of cutmix, whose share is a rectangle; 0: no cutmix"},
    {.name = "prob", .type = PK_FLOAT, .offset = offsetof(pk_mix, prob), .def = 1, .min = 0, .max = 1,
     .doc = "probability that a batch is mixed"},
    {.name = "switch_prob", .type = PK_FLOAT, .offset = offsetof(pk_mix, switch_prob), .def = 0.5, .min = 0, .max = 1,
     .doc = "probability of cutmix where both are on"},
    {.name = "label_smoothing", .type = PK_FLOAT, .offset = offsetof(pk_mix, label_smoothing), .def = 0.1, .min = 0,
     .max = 1, .doc = "part of each target spread evenly over the classes"},
};
const int pk_mix_nfields = sizeof pk_mix_fields / sizeof *pk_mix_fields;

/* ---- draws ---- */

/* Gamma(a, 1), a >= 1, by Marsaglia and Tsang (2000). */
static double gamma_above_one(uint64_t stream, double a) {
    double d = a - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (uint64_t i = 0; i < 256; i++) {
        double x = (double)pk_random_normal(stream, 2 * i), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        double u = ((double)(pk_random_bits(stream, 2 * i + 1) >> 11) + 0.5) * 0x1p-53;
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
    return d; /* never: each try succeeds with probability 0.95 */
}

/* The logarithm of a draw of Gamma(a, 1): small a gives numbers that double cannot hold. */
static double log_gamma_draw(uint64_t stream, double a) {
    if (a >= 1) return log(gamma_above_one(stream, a));
    double u = ((double)(pk_random_bits(stream, 1u << 20) >> 11) + 0.5) * 0x1p-53;
    return log(gamma_above_one(stream, a + 1)) + log(u) / a;
}

double pk_random_beta(uint64_t stream, double a) {
    double x = log_gamma_draw(pk_random_bits(stream, 0), a), y = log_gamma_draw(pk_random_bits(stream, 1), a);
    if (isinf(x) && isinf(y)) return (double)(pk_random_bits(stream, 2) >> 63); /* a so small: one or the other */
    return 1 / (1 + exp(y - x));
}

/* ---- pictures ---- */

typedef struct mixing {
    float *x;
    int64_t n, h, w, c;
    float keep;                       /* of the picture's own */
    bool cut;
    int64_t top, left, bottom, right; /* the rectangle that is exchanged */
} mixing;

static void blend_pair(const mixing *m, float *a, float *b) {
    float keep = m->keep, give = 1 - m->keep;
    for (int64_t i = 0; i < m->h * m->w * m->c; i++) {
        float one = a[i], other = b[i];
        a[i] = one * keep + other * give;
        b[i] = other * keep + one * give;
    }
}

static void swap_pair(const mixing *m, float *a, float *b) {
    for (int64_t y = m->top; y < m->bottom; y++)
        for (int64_t i = (y * m->w + m->left) * m->c; i < (y * m->w + m->right) * m->c; i++) {
            float kept = a[i];
            a[i] = b[i];
            b[i] = kept;
        }
}

static void mix_pair(void *context, int64_t i, int worker) {
    const mixing *m = context;
    int64_t size = m->h * m->w * m->c;
    (void)worker;
    float *a = m->x + i * size, *b = m->x + (m->n - 1 - i) * size;
    if (m->cut)
        swap_pair(m, a, b);
    else
        blend_pair(m, a, b);
}

static int64_t clip(int64_t v, int64_t high) { return v < 0 ? 0 : v > high ? high : v; }

/* A rectangle of 1 - lam of the picture about a random middle, cut at the border; lam becomes what is left. */
static void draw_rectangle(mixing *m, uint64_t stream, double *lam) {
    double side = sqrt(1 - *lam);
    int64_t h = (int64_t)((double)m->h * side), w = (int64_t)((double)m->w * side);
    int64_t y = pk_random_below(stream, 4, (uint32_t)m->h), x = pk_random_below(stream, 5, (uint32_t)m->w);
    m->top = clip(y - h / 2, m->h);
    m->bottom = clip(y + h / 2, m->h);
    m->left = clip(x - w / 2, m->w);
    m->right = clip(x + w / 2, m->w);
    *lam = 1 - (double)((m->bottom - m->top) * (m->right - m->left)) / (double)(m->h * m->w);
}

/* Does the batch get mixed, how, and how much of each picture stays its own? */
static double draw(const pk_mix *o, uint64_t stream, mixing *m) {
    bool mixup = o->mixup_alpha > 0, cutmix = o->cutmix_alpha > 0;
    if ((!mixup && !cutmix) || (double)pk_random_uniform(stream, 0) >= o->prob) return 1;
    m->cut = cutmix && (!mixup || (double)pk_random_uniform(stream, 1) < o->switch_prob);
    double lam = pk_random_beta(pk_random_bits(stream, 2), m->cut ? o->cutmix_alpha : o->mixup_alpha);
    if (m->cut) draw_rectangle(m, stream, &lam);
    m->keep = (float)lam;
    return lam;
}

/* ---- targets ---- */

static pk_status check_labels(const pk_tensor *y, int64_t classes) {
    PK_RETURN_IF(y->dtype != PK_INT32 || y->ndim != 1 || !pk_is_contiguous(y), PK_EINVAL,
                 "soft targets: wants labels int32 {N}, got %s %s", pk_dtype_name(y->dtype), pk_shape_text(y));
    for (int64_t i = 0; i < y->shape[0]; i++)
        PK_RETURN_IF(pk_i32(y)[i] < 1 || pk_i32(y)[i] > classes, PK_EINVAL,
                     "soft targets: label %d of row %lld, there are "
                     "1 to %lld",
                     pk_i32(y)[i], (long long)i + 1, (long long)classes);
    return PK_OK;
}

pk_status pk_soft_targets(const pk_tensor *y, int64_t classes, double smoothing, const pk_tensor *weight,
                          pk_tensor **out) {
    *out = NULL;
    PK_TRY(check_labels(y, classes));
    PK_RETURN_IF(weight && (weight->dtype != PK_FLOAT32 || weight->ndim != 1 || weight->shape[0] != classes ||
                            !pk_is_contiguous(weight)),
                 PK_EINVAL, "soft targets: weights must be float32 {%lld}, got %s", (long long)classes,
                 pk_shape_text(weight));
    const int64_t shape[2] = {y->shape[0], classes};
    PK_TRY(pk_tensor_new(PK_FLOAT32, 2, shape, out));
    for (int64_t i = 0; i < shape[0]; i++) {
        float *row = pk_f32(*out) + i * classes;
        int32_t label = pk_i32(y)[i] - 1;
        double w = weight ? (double)pk_f32(weight)[label] : 1;
        for (int64_t k = 0; k < classes; k++) row[k] = (float)(w * smoothing / (double)classes);
        row[label] = (float)(w * (1 - smoothing + smoothing / (double)classes));
    }
    return PK_OK;
}

static void mix_targets(pk_tensor *t, float keep) {
    int64_t n = t->shape[0], classes = t->shape[1];
    for (int64_t i = 0; i < (n + 1) / 2; i++) {
        float *a = pk_f32(t) + i * classes, *b = pk_f32(t) + (n - 1 - i) * classes;
        for (int64_t k = 0; k < classes; k++) {
            float one = a[k], other = b[k];
            a[k] = one * keep + other * (1 - keep);
            b[k] = other * keep + one * (1 - keep);
        }
    }
}

pk_status pk_mix_apply(const pk_mix *o, uint64_t stream, pk_tensor *x, const pk_tensor *y, pk_tensor **targets) {
    *targets = NULL;
    PK_RETURN_IF(x->dtype != PK_FLOAT32 || x->ndim != 4 || !pk_is_contiguous(x), PK_EINVAL,
                 "mixup: wants float32 pictures {N,H,W,C}, got %s %s", pk_dtype_name(x->dtype), pk_shape_text(x));
    PK_RETURN_IF(y->ndim != 1 || y->shape[0] != x->shape[0], PK_EINVAL, "mixup: %lld pictures, labels %s",
                 (long long)x->shape[0], pk_shape_text(y));
    PK_RETURN_IF(x->shape[1] < 1 || x->shape[2] < 1, PK_EINVAL, "mixup: empty pictures");
    PK_TRY(pk_soft_targets(y, o->num_classes, o->label_smoothing, NULL, targets));
    mixing m = {.x = pk_f32(x), .n = x->shape[0], .h = x->shape[1], .w = x->shape[2], .c = x->shape[3], .keep = 1};
    if (draw(o, stream, &m) == 1) return PK_OK;
    pk_parallel(m.n / 2, mix_pair, &m); /* the middle one of an odd number is mixed with itself */
    mix_targets(*targets, m.keep);
    pk_tensor_written(x);
    return PK_OK;
}
