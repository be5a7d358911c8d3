/* Counting right answers, and what each answer costs. */
#ifndef PK_TRAIN_METRICS_H
#define PK_TRAIN_METRICS_H

#include "core/tensor.h"

/* How many rows of logits {N,K} have their label (int32 {N}, 1..K) among the k largest. A label ranks after equal
 * logits of smaller index; rows with NaN count as wrong. */
pk_status pk_topk_hits(pk_tensor *logits, pk_tensor *labels, int64_t k, int64_t *hits);
/* matrix {K,K} int32: one more at (label, prediction) for each row; the prediction is the largest logit, the first of
 * equal ones. Rows with NaN are not counted. */
pk_status pk_confusion(pk_tensor *logits, pk_tensor *labels, pk_tensor *matrix);
/* The cross entropy of each row of logits {N,K} with its label: float32 {N}. */
pk_status pk_row_losses(pk_tensor *logits, pk_tensor *labels, pk_tensor **losses);

#endif
