/* Counting right answers, and what each answer costs. */
#include "train/metrics.h"

#include "kernels/kernels.h"

static bool hit(const float *row, int64_t classes, int64_t label, int64_t k) {
    float mine = row[label];
    int64_t before = 0;
    if (mine != mine) return false;
    for (int64_t c = 0; c < classes; c++) {
        if (row[c] != row[c]) return false;
        before += row[c] > mine || (row[c] == mine && c < label);
    }
    return before < k;
}

/* Are these logits {N,K} and their labels? */
static pk_status check_pair(const char *owner, const pk_tensor *logits, const pk_tensor *labels) {
    PK_RETURN_IF(logits->dtype != PK_FLOAT32 || logits->ndim != 2, PK_EINVAL, "%s: logits must be float32 {N,K}, got %s %s",
                 owner, pk_dtype_name(logits->dtype), pk_shape_text(logits));
    PK_RETURN_IF(labels->dtype != PK_INT32 || labels->ndim != 1 || labels->shape[0] != logits->shape[0], PK_EINVAL,
                 "%s: labels must be int32 {%lld}, got %s %s", owner, (long long)logits->shape[0],
                 pk_dtype_name(labels->dtype), pk_shape_text(labels));
    for (int64_t i = 0; i < labels->shape[0]; i++) {
        int64_t label = pk_i32(labels)[i * labels->stride[0]];
        PK_RETURN_IF(label < 1 || label > logits->shape[1], PK_EINVAL, "%s: label %lld of row %lld is not in 1..%lld", owner,
                     (long long)label, (long long)i + 1, (long long)logits->shape[1]);
    }
    return PK_OK;
}

pk_status pk_topk_hits(pk_tensor *logits, pk_tensor *labels, int64_t k, int64_t *hits) {
    PK_TRY(check_pair("topk_hits", logits, labels));
    pk_tensor *rows;
    PK_TRY(pk_tensor_contiguous(logits, &rows));
    int64_t classes = logits->shape[1], count = 0;
    for (int64_t i = 0; i < logits->shape[0]; i++)
        count += hit(pk_f32(rows) + i * classes, classes, pk_i32(labels)[i * labels->stride[0]] - 1, k);
    pk_tensor_release(rows);
    *hits = count;
    return PK_OK;
}

static int64_t largest(const float *row, int64_t n) {
    int64_t best = 0;
    for (int64_t c = 0; c < n; c++) {
        if (row[c] != row[c]) return -1;
        if (row[c] > row[best]) best = c;
    }
    return best;
}

pk_status pk_confusion(pk_tensor *logits, pk_tensor *labels, pk_tensor *matrix) {
    PK_TRY(check_pair("confusion", logits, labels));
    int64_t classes = logits->shape[1];
    PK_RETURN_IF(matrix->dtype != PK_INT32 || matrix->ndim != 2 || matrix->shape[0] != classes ||
                     matrix->shape[1] != classes || !pk_is_contiguous(matrix),
                 PK_EINVAL, "confusion: the matrix must be int32 {%lld,%lld}, contiguous, got %s %s", (long long)classes,
                 (long long)classes, pk_dtype_name(matrix->dtype), pk_shape_text(matrix));
    pk_tensor *rows;
    PK_TRY(pk_tensor_contiguous(logits, &rows));
    for (int64_t i = 0; i < logits->shape[0]; i++) {
        int64_t guess = classes ? largest(pk_f32(rows) + i * classes, classes) : -1;
        if (guess >= 0) pk_i32(matrix)[(pk_i32(labels)[i * labels->stride[0]] - 1) * classes + guess]++;
    }
    pk_tensor_release(rows);
    pk_tensor_written(matrix);
    return PK_OK;
}

pk_status pk_row_losses(pk_tensor *logits, pk_tensor *labels, pk_tensor **losses) {
    PK_TRY(check_pair("row_losses", logits, labels));
    pk_tensor *rows;
    PK_TRY(pk_tensor_contiguous(logits, &rows));
    int64_t n = logits->shape[0], classes = logits->shape[1];
    pk_status status = pk_tensor_zeros(PK_FLOAT32, 1, &n, losses);
    for (int64_t i = 0; i < n && status == PK_OK; i++) {
        const float *row = pk_f32(rows) + i * classes;
        int64_t label = pk_i32(labels)[i * labels->stride[0]] - 1;
        pk_f32(*losses)[i] = (float)(pk_k()->log_sum_exp(classes, row) - (double)row[label]);
    }
    pk_tensor_release(rows);
    return status;
}
