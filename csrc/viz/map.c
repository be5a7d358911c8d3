/* Maps: resizing, normalising, looking at borders. */
#include "viz/map.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"

static float value(const pk_tensor *t, int64_t y, int64_t x) {
    return ((const float *)t->storage->data)[t->offset + y * t->stride[0] + x * t->stride[1]];
}

static pk_status check(const pk_tensor *map) {
    PK_RETURN_IF(map->ndim != 2 || map->dtype != PK_FLOAT32 || pk_numel(map) == 0, PK_EINVAL,
                 "map: wants float32 {H,W}, got %s %s", pk_dtype_name(map->dtype), pk_shape_text(map));
    return PK_OK;
}

/* ---- resizing ---- */

typedef struct taps {
    int64_t at[4];
    float weight[4];
} taps;

static taps taps_of(int64_t o, int64_t in, int64_t out) {
    const double a = -0.75;
    double at = ((double)o + 0.5) * (double)in / (double)out - 0.5, low = floor(at), f = at - low;
    double w[4] = {((a * (f + 1) - 5 * a) * (f + 1) + 8 * a) * (f + 1) - 4 * a, ((a + 2) * f - (a + 3)) * f * f + 1,
                   ((a + 2) * (1 - f) - (a + 3)) * (1 - f) * (1 - f) + 1, 0};
    w[3] = 1 - w[0] - w[1] - w[2];
    taps t;
    for (int i = 0; i < 4; i++) {
        t.at[i] = pk_max(0, pk_min(in - 1, (int64_t)low - 1 + i));
        t.weight[i] = (float)w[i];
    }
    return t;
}

pk_status pk_map_resize(const pk_tensor *map, int64_t h, int64_t w, pk_tensor **out) {
    *out = NULL;
    PK_TRY(check(map));
    PK_RETURN_IF(h < 1 || w < 1 || h > 65536 || w > 65536, PK_EINVAL, "map: a size is 1..65536, got %lld x %lld",
                 (long long)h, (long long)w);
    int64_t rows = map->shape[0];
    float *half = pk_alloc(rows * w * (int64_t)sizeof *half);
    if (!half) return pk_no_memory(rows * w * (int64_t)sizeof *half);
    pk_status status = pk_tensor_new(PK_FLOAT32, 2, (int64_t[]){h, w}, out);
    for (int64_t x = 0; status == PK_OK && x < w; x++) {
        taps t = taps_of(x, map->shape[1], w);
        for (int64_t y = 0; y < rows; y++) {
            float sum = 0;
            for (int i = 0; i < 4; i++) sum += t.weight[i] * value(map, y, t.at[i]);
            half[y * w + x] = sum;
        }
    }
    for (int64_t y = 0; status == PK_OK && y < h; y++) {
        taps t = taps_of(y, rows, h);
        for (int64_t x = 0; x < w; x++) {
            float sum = 0;
            for (int i = 0; i < 4; i++) sum += t.weight[i] * half[t.at[i] * w + x];
            pk_f32(*out)[y * w + x] = sum;
        }
    }
    pk_free(half);
    return status;
}

/* ---- values ---- */

pk_status pk_map_normalize(const pk_tensor *map, pk_tensor **out) {
    *out = NULL;
    PK_TRY(check(map));
    PK_TRY(pk_tensor_new(PK_FLOAT32, 2, map->shape, out));
    float low = INFINITY, high = -INFINITY, *to = pk_f32(*out);
    bool finite = true;
    int64_t n = pk_numel(map);
    for (int64_t i = 0; i < n; i++) {
        to[i] = value(map, i / map->shape[1], i % map->shape[1]);
        finite = finite && isfinite(to[i]);
        low = fminf(low, to[i]);
        high = fmaxf(high, to[i]);
    }
    bool flat = !finite || !(high > low);
    for (int64_t i = 0; i < n; i++) to[i] = flat ? 0 : (to[i] - low) / (high - low);
    return PK_OK;
}

pk_status pk_map_border(const pk_tensor *map, bool published, double *share) {
    *share = 0;
    PK_TRY(check(map));
    int64_t h = map->shape[0], w = map->shape[1], high = 0, kept = published ? 2 : 1;
    double sum = 0;
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) sum += (double)value(map, y, x);
    float mean = (float)(sum / (double)(h * w));
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            bool border = y == 0 || x == 0 || y >= h - kept || x >= w - kept;
            high += border && value(map, y, x) > mean;
        }
    *share = (double)high / (double)pk_max(1, h == 1 || w == 1 ? h * w : 2 * (h + w) - 4);
    return PK_OK;
}
