/* Rows: the order of an epoch, and those of labels. */
#include "data/epoch.h"

#include <string.h>

#include "core/checked.h"
#include "core/rng.h"
#include "data/feed.h"

#define SHUFFLE_KEY 0x73687566666c65u /* so that order and pictures draw from different streams */

pk_status pk_epoch_order(int64_t n, const pk_tensor *subset, bool shuffle, uint64_t seed, uint64_t epoch,
                         pk_tensor **out) {
    *out = NULL;
    PK_RETURN_IF(n < 0 || n > INT32_MAX, PK_EINVAL, "an epoch has 0 to %d rows, not %lld", INT32_MAX, (long long)n);
    PK_RETURN_IF(subset && (subset->dtype != PK_INT32 || subset->ndim != 1 || subset->shape[0] != n ||
                            !pk_is_contiguous(subset)),
                 PK_EINVAL, "the rows of a subset must be int32 {%lld}", (long long)n);
    PK_TRY(pk_tensor_new(PK_INT32, 1, &n, out));
    int32_t *order = pk_i32(*out);
    if (shuffle)
        pk_random_permutation(pk_random_bits(seed ^ SHUFFLE_KEY, epoch), (int32_t)n, order);
    else
        for (int64_t i = 0; i < n; i++) order[i] = (int32_t)i;
    for (int64_t i = 0; i < n; i++) order[i] = subset ? pk_i32(subset)[order[i]] : order[i] + 1;
    return PK_OK;
}

pk_status pk_rows_take(const pk_tensor *y, const int32_t *row, int64_t count, pk_tensor **out) {
    int64_t shape[PK_MAX_DIMS];
    memcpy(shape, y->shape, sizeof shape);
    shape[0] = count;
    PK_TRY(pk_tensor_new(y->dtype, y->ndim, shape, out));
    int64_t bytes = count > 0 ? pk_numel(*out) / count * pk_dtype_size(y->dtype) : 0;
    uint8_t *to = pk_bytes(*out);
    const uint8_t *from = pk_bytes(y);
    for (int64_t i = 0; i < count && bytes > 0; i++) memcpy(to + i * bytes, from + (row[i] - 1) * bytes, (size_t)bytes);
    return PK_OK;
}
