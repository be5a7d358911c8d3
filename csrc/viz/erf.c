/* Effective receptive fields: logarithm and squares that grow. */
#include "viz/erf.h"

#include <math.h>

#include "core/checked.h"

static double value(const pk_tensor *t, int64_t y, int64_t x) {
    return (double)((const float *)t->storage->data)[t->offset + y * t->stride[0] + x * t->stride[1]];
}

static pk_status check(const pk_tensor *map) {
    PK_RETURN_IF(map->ndim != 2 || map->dtype != PK_FLOAT32 || pk_numel(map) == 0, PK_EINVAL,
                 "receptive field: wants float32 {H,W}, got %s %s", pk_dtype_name(map->dtype), pk_shape_text(map));
    for (int64_t y = 0; y < map->shape[0]; y++)
        for (int64_t x = 0; x < map->shape[1]; x++) {
            double v = value(map, y, x);
            PK_RETURN_IF(!isfinite(v) || v < 0, PK_EINVAL, "receptive field: the map holds %g, wants values from 0 on",
                         v);
        }
    return PK_OK;
}

pk_status pk_erf_normalize(const pk_tensor *map, pk_tensor **out) {
    *out = NULL;
    PK_TRY(check(map));
    PK_TRY(pk_tensor_new(PK_FLOAT32, 2, map->shape, out));
    float *to = pk_f32(*out);
    int64_t n = pk_numel(map), i = 0;
    float most = 0;
    for (int64_t y = 0; y < map->shape[0]; y++)
        for (int64_t x = 0; x < map->shape[1]; x++) {
            to[i] = (float)(log1p(value(map, y, x)) / log(10.0));
            most = fmaxf(most, to[i++]);
        }
    for (i = 0; most > 0 && i < n; i++) to[i] /= most;
    return PK_OK;
}

/* The sum over the border of the square of side 2r+1. */
static double ring(const pk_tensor *t, int64_t cy, int64_t cx, int64_t r) {
    double sum = 0;
    for (int64_t d = -r; d <= r; d++) sum += value(t, cy - r, cx + d) + value(t, cy + r, cx + d);
    for (int64_t d = 1 - r; d < r; d++) sum += value(t, cy + d, cx - r) + value(t, cy + d, cx + r);
    return sum;
}

pk_status pk_erf_side(const pk_tensor *map, double share, int64_t *side) {
    *side = 0;
    PK_TRY(check(map));
    PK_RETURN_IF(!(share > 0 && share < 1), PK_EINVAL, "receptive field: a share lies between 0 and 1, got %g", share);
    int64_t cy = map->shape[0] / 2, cx = map->shape[1] / 2, half = pk_min(map->shape[0], map->shape[1]) / 2;
    double all = 0, inside = value(map, cy, cx);
    for (int64_t y = 0; y < map->shape[0]; y++)
        for (int64_t x = 0; x < map->shape[1]; x++) all += value(map, y, x);
    for (int64_t r = 1; r < half && *side == 0; r++) {
        inside += ring(map, cy, cx, r);
        if (inside > share * all) *side = 2 * r + 1;
    }
    return PK_OK;
}
