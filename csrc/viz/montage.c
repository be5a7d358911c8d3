/* Blending, outlines, sheets. */
#include "viz/montage.h"

#include <string.h>

#include "core/checked.h"
#include "viz/canvas.h"

enum { GAP = 12, TEXT = 2, LINE = PK_GLYPH_H * TEXT + 8 };

static const uint8_t ink[3] = {40, 44, 52};

static pk_status check(const pk_tensor *t) {
    bool fine = t->dtype == PK_UINT8 && t->ndim == 3 && t->shape[2] == 3 && pk_numel(t) > 0 && pk_is_contiguous(t);
    PK_RETURN_IF(!fine, PK_EINVAL, "picture: wants contiguous pixels uint8 {H,W,3}, got %s %s", pk_dtype_name(t->dtype),
                 pk_shape_text(t));
    return PK_OK;
}

pk_status pk_picture_blend(const pk_tensor *a, const pk_tensor *b, double alpha, pk_tensor **out) {
    *out = NULL;
    PK_TRY(check(a));
    PK_TRY(check(b));
    PK_RETURN_IF(!pk_same_shape(a, b), PK_EINVAL, "blend: pictures of different sizes, %s and %s", pk_shape_text(a),
                 pk_shape_text(b));
    PK_RETURN_IF(!(alpha >= 0 && alpha <= 1), PK_EINVAL, "blend: alpha must be 0..1, got %g", alpha);
    PK_TRY(pk_tensor_like(a, out));
    for (int64_t i = 0, n = pk_numel(a); i < n; i++)
        pk_u8(*out)[i] = (uint8_t)((1 - alpha) * pk_u8(a)[i] + alpha * pk_u8(b)[i] + 0.5);
    return PK_OK;
}

pk_status pk_picture_outline(pk_tensor *picture, const int64_t box[4], int64_t thickness, const uint8_t rgb[3]) {
    PK_TRY(check(picture));
    for (int i = 0; i < 4; i++)
        PK_RETURN_IF(box[i] < -65536 || box[i] > 65536, PK_EINVAL, "outline: a coordinate of %lld", (long long)box[i]);
    PK_RETURN_IF(box[2] < box[0] || box[3] < box[1] || thickness < 1, PK_EINVAL,
                 "outline: {x0,y0,x1,y1} = {%lld,%lld,%lld,%lld} %lld thick is no rectangle", (long long)box[0],
                 (long long)box[1], (long long)box[2], (long long)box[3], (long long)thickness);
    int64_t w = box[2] - box[0] + 1, h = box[3] - box[1] + 1;
    int64_t tx = pk_min(thickness, w), ty = pk_min(thickness, h);
    pk_canvas_box(picture, box[1], box[0], ty, w, rgb);
    pk_canvas_box(picture, box[3] - ty + 1, box[0], ty, w, rgb);
    pk_canvas_box(picture, box[1], box[0], h, tx, rgb);
    pk_canvas_box(picture, box[1], box[2] - tx + 1, h, tx, rgb);
    pk_tensor_written(picture);
    return PK_OK;
}

/* ---- sheets ---- */

typedef struct sheet {
    pk_tensor *const *picture;
    const char *const *caption;
    int count, columns;
    int64_t width[PK_MAX_SHEET], height[PK_MAX_SHEET]; /* of columns, of rows with their captions */
    int64_t all_w, all_h;
} sheet;

static const char *caption_of(const sheet *s, int i) { return s->caption ? s->caption[i] : NULL; }

static pk_status measure(sheet *s) {
    memset(s->width, 0, sizeof s->width);
    memset(s->height, 0, sizeof s->height);
    for (int i = 0; i < s->count; i++) {
        PK_TRY(check(s->picture[i]));
        const char *caption = caption_of(s, i);
        int64_t *w = &s->width[i % s->columns], *h = &s->height[i / s->columns];
        *w = pk_max(*w, s->picture[i]->shape[1]);
        if (caption) *w = pk_max(*w, pk_min(pk_text_width(caption, TEXT), 8192));
        *h = pk_max(*h, s->picture[i]->shape[0] + (caption ? LINE : 0));
    }
    s->all_w = s->all_h = GAP;
    for (int i = 0; i < s->columns; i++) s->all_w += s->width[i] + GAP;
    for (int i = 0; i < (s->count + s->columns - 1) / s->columns; i++) s->all_h += s->height[i] + GAP;
    return PK_OK;
}

static void draw(const sheet *s, pk_tensor *canvas) {
    int64_t top = GAP, left = GAP;
    for (int i = 0; i < s->count; i++) {
        const pk_tensor *p = s->picture[i];
        int64_t bytes = p->shape[1] * 3;
        for (int64_t y = 0; y < p->shape[0]; y++)
            memcpy(pk_u8(canvas) + ((top + y) * canvas->shape[1] + left) * 3, pk_u8(p) + y * bytes, (size_t)bytes);
        if (caption_of(s, i)) pk_canvas_text(canvas, top + p->shape[0] + 6, left, TEXT, caption_of(s, i), ink);
        left += s->width[i % s->columns] + GAP;
        if ((i + 1) % s->columns == 0) {
            top += s->height[i / s->columns] + GAP;
            left = GAP;
        }
    }
}

pk_status pk_picture_sheet(pk_tensor *const *picture, const char *const *caption, int count, int columns,
                           pk_tensor **out) {
    *out = NULL;
    PK_RETURN_IF(count < 1 || count > PK_MAX_SHEET, PK_EINVAL, "sheet: 1 to %d pictures, got %d", PK_MAX_SHEET, count);
    PK_RETURN_IF(columns < 1, PK_EINVAL, "sheet: columns must be at least 1, got %d", columns);
    sheet s = {.picture = picture, .caption = caption, .count = count, .columns = (int)pk_min(columns, count)};
    PK_TRY(measure(&s));
    PK_TRY(pk_canvas_new(s.all_h, s.all_w, out));
    draw(&s, *out);
    return PK_OK;
}
