/* Pictures of tensors: single ones and tiles of many. */
#include "viz/picture.h"

#include <math.h>
#include <string.h>

#include "core/checked.h"
#include "viz/canvas.h"

/* ---- values and ranges ---- */

static float value(const pk_tensor *t, int64_t y, int64_t x, int64_t c) {
    int64_t i = t->offset + y * t->stride[0] + x * t->stride[1] + (t->ndim == 3 ? c * t->stride[2] : 0);
    if (t->dtype == PK_UINT8) return (float)((const uint8_t *)t->storage->data)[i];
    return ((const float *)t->storage->data)[i];
}

/* Of the finite values in channels c0 .. c1-1, with what look fixes. */
static pk_range find_range(const pk_tensor *t, const pk_look *look, int64_t c0, int64_t c1) {
    pk_range r = {INFINITY, -INFINITY};
    for (int64_t y = 0; y < t->shape[0]; y++)
        for (int64_t x = 0; x < t->shape[1]; x++)
            for (int64_t c = c0; c < c1; c++) {
                float v = value(t, y, x, c);
                if (!isfinite(v)) continue;
                r.low = fminf(r.low, v);
                r.high = fmaxf(r.high, v);
            }
    if (r.low > r.high) r = (pk_range){0, 1};
    if (t->dtype == PK_UINT8) r = (pk_range){0, 255};
    if (look->symmetric) {
        r.high = fmaxf(fabsf(r.low), fabsf(r.high));
        r.low = -r.high;
    }
    if (!isnan(look->min)) r.low = (float)look->min;
    if (!isnan(look->max)) r.high = (float)look->max;
    return r;
}

/* To 0..1; the middle when there is no range. */
static float place(pk_range r, float v) { return r.high > r.low ? (v - r.low) / (r.high - r.low) : v - r.low + 0.5f; }

static pk_status check(const pk_tensor *t, int64_t channels) {
    bool shaped = t->ndim == 2 || (t->ndim == 3 && (channels < 0 || t->shape[2] == 1 || t->shape[2] == channels));
    PK_RETURN_IF(!shaped || t->dtype == PK_INT32 || pk_numel(t) == 0, PK_EINVAL,
                 "picture: wants float32 or uint8 %s, got %s %s",
                 channels < 0 ? "{H,W,N}" : "{H,W}, {H,W,1} or {H,W,3}", pk_dtype_name(t->dtype), pk_shape_text(t));
    return PK_OK;
}

pk_status pk_picture_range(const pk_tensor *t, const pk_look *look, pk_range *out) {
    *out = (pk_range){0, 1};
    PK_TRY(check(t, 3));
    *out = find_range(t, look, 0, t->ndim == 3 ? t->shape[2] : 1);
    return PK_OK;
}

/* One pixel a value: channel c through the map, or three channels as they are. */
static void color_at(const pk_tensor *t, const pk_look *look, pk_range r, int64_t y, int64_t x, int64_t c, bool colors,
                     uint8_t rgb[3]) {
    if (!colors) {
        pk_color((pk_color_map)look->colormap, place(r, value(t, y, x, c)), rgb);
        return;
    }
    for (int k = 0; k < 3; k++) {
        uint8_t gray[3];
        pk_color(PK_GRAY, place(r, value(t, y, x, k)), gray);
        rgb[k] = gray[0];
    }
}

static void draw(pk_tensor *canvas, int64_t top, int64_t left, const pk_tensor *t, const pk_look *look, pk_range r,
                 int64_t c, bool colors, int64_t scale) {
    for (int64_t y = 0; y < t->shape[0]; y++)
        for (int64_t x = 0; x < t->shape[1]; x++) {
            uint8_t rgb[3];
            color_at(t, look, r, y, x, c, colors, rgb);
            pk_canvas_box(canvas, top + y * scale, left + x * scale, scale, scale, rgb);
        }
}

pk_status pk_picture(const pk_tensor *t, const pk_look *look, pk_tensor **out) {
    *out = NULL;
    PK_TRY(check(t, 3));
    int64_t scale = look->scale > 0 ? look->scale : 1, h, w;
    PK_RETURN_IF(!pk_mul_ok(t->shape[0], scale, &h) || !pk_mul_ok(t->shape[1], scale, &w), PK_EINVAL,
                 "picture: scale %lld is too large", (long long)scale);
    PK_TRY(pk_canvas_new(h, w, out));
    bool colors = t->ndim == 3 && t->shape[2] == 3;
    draw(*out, 0, 0, t, look, find_range(t, look, 0, colors ? 3 : 1), 0, colors, scale);
    return PK_OK;
}

pk_status pk_picture_tiles(const pk_tensor *t, const pk_look *look, int64_t columns, bool each, pk_tensor **out) {
    enum { GAP = 4, ROOM = 1200 };
    *out = NULL;
    PK_TRY(check(t, -1));
    int64_t n = t->ndim == 3 ? t->shape[2] : 1, h = t->shape[0], w = t->shape[1];
    if (columns <= 0) columns = (int64_t)ceil(sqrt((double)n * (double)h / (double)w));
    columns = pk_min(columns, n);
    int64_t rows = pk_ceil_div(n, columns), tile_h, tile_w, height, width;
    int64_t scale = look->scale > 0 ? look->scale : pk_min(16, pk_max(1, ROOM / (columns * pk_max(1, w))));
    bool fits = pk_mul_ok(h, scale, &tile_h) && pk_mul_ok(w, scale, &tile_w) &&
                pk_mul_ok(tile_h + GAP, rows, &height) && pk_mul_ok(tile_w + GAP, columns, &width);
    PK_RETURN_IF(!fits, PK_EINVAL, "tiles: scale %lld is too large", (long long)scale);
    PK_TRY(pk_canvas_new(height + GAP, width + GAP, out));
    pk_range all = find_range(t, look, 0, n);
    for (int64_t i = 0; i < n; i++) {
        int64_t top = GAP + i / columns * (tile_h + GAP), left = GAP + i % columns * (tile_w + GAP);
        draw(*out, top, left, t, look, each ? find_range(t, look, i, i + 1) : all, i, false, scale);
    }
    return PK_OK;
}
