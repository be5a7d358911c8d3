/* What is done to a whole batch: mixup (Zhang et al. 2018), cutmix (Yun et al. 2019), one or the other by chance, as
 * timm's Mixup in mode "batch"; and labels made into soft targets. */
#ifndef PK_DATA_MIX_H
#define PK_DATA_MIX_H

#include "core/schema.h"
#include "core/tensor.h"

typedef struct pk_mix {
    double mixup_alpha, cutmix_alpha, prob, switch_prob, label_smoothing;
    int64_t num_classes;
} pk_mix;
extern const pk_field pk_mix_fields[];
extern const int pk_mix_nfields;

/* Picture i is mixed with picture n+1-i, in place: x float32 {N,H,W,C}, contiguous. targets: float32 {N,num_classes}
 * from y, int32 {N} of 1 .. num_classes. All draws are functions of stream. */
pk_status pk_mix_apply(const pk_mix *m, uint64_t stream, pk_tensor *x, const pk_tensor *y, pk_tensor **targets);
/* (1 - smoothing) one-hot + smoothing / classes, each row times weight[label] (float32 {classes}, or null). */
pk_status pk_soft_targets(const pk_tensor *y, int64_t classes, double smoothing, const pk_tensor *weight,
                          pk_tensor **out);

/* A draw of Beta(a, a). */
double pk_random_beta(uint64_t stream, double a);

#endif
