/* Counting right answers. */
#include "train/metrics.h"

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

pk_status pk_topk_hits(pk_tensor *logits, pk_tensor *labels, int64_t k, int64_t *hits) {
    PK_RETURN_IF(logits->dtype != PK_FLOAT32 || logits->ndim != 2, PK_EINVAL, "topk_hits: logits must be float32 {N,K}, got %s %s",
                 pk_dtype_name(logits->dtype), pk_shape_text(logits));
    PK_RETURN_IF(labels->dtype != PK_INT32 || labels->ndim != 1 || labels->shape[0] != logits->shape[0], PK_EINVAL,
                 "topk_hits: labels must be int32 {%lld}, got %s %s", (long long)logits->shape[0],
                 pk_dtype_name(labels->dtype), pk_shape_text(labels));
    pk_tensor *rows;
    PK_TRY(pk_tensor_contiguous(logits, &rows));
    int64_t classes = logits->shape[1], count = 0;
    pk_status status = PK_OK;
    for (int64_t i = 0; i < logits->shape[0] && status == PK_OK; i++) {
        int64_t label = pk_i32(labels)[i * labels->stride[0]];
        if (label < 1 || label > classes)
            status = pk_fail(PK_EINVAL, "topk_hits: label %lld of row %lld is not in 1..%lld", (long long)label,
                             (long long)i + 1, (long long)classes);
        else
            count += hit(pk_f32(rows) + i * classes, classes, label - 1, k);
    }
    pk_tensor_release(rows);
    *hits = count;
    return status;
}
