/* Maps with a scale. */
#include "viz/heatmap.h"

#include <stdio.h>
#include <string.h>

#include "core/checked.h"
#include "viz/canvas.h"

enum { MARGIN = 20, BAR = 18, TEXT = 2, LINE = PK_GLYPH_H * TEXT + 8, NUMBER = 8 * PK_GLYPH_W * TEXT, TICKS = 5 };

static const uint8_t ink[3] = {40, 44, 52};

static void paste(pk_tensor *canvas, int64_t top, int64_t left, const pk_tensor *pixels) {
    int64_t bytes = pixels->shape[1] * 3;
    for (int64_t y = 0; y < pixels->shape[0]; y++)
        memcpy(pk_u8(canvas) + ((top + y) * canvas->shape[1] + left) * 3, pk_u8(pixels) + y * bytes, (size_t)bytes);
}

static void frame(pk_tensor *canvas, int64_t top, int64_t left, int64_t h, int64_t w) {
    pk_canvas_box(canvas, top - 1, left - 1, 1, w + 2, ink);
    pk_canvas_box(canvas, top + h, left - 1, 1, w + 2, ink);
    pk_canvas_box(canvas, top - 1, left - 1, h + 2, 1, ink);
    pk_canvas_box(canvas, top - 1, left + w, h + 2, 1, ink);
}

/* The highest value on top; a tick and its number at equal distances. */
static void draw_bar(pk_tensor *canvas, int64_t top, int64_t left, int64_t h, pk_color_map map, pk_range r) {
    for (int64_t y = 0; y < h; y++) {
        uint8_t rgb[3];
        pk_color(map, 1.0f - ((float)y + 0.5f) / (float)h, rgb);
        pk_canvas_box(canvas, top + y, left, 1, BAR, rgb);
    }
    frame(canvas, top, left, h, BAR);
    int ticks = h >= TICKS * LINE ? TICKS : 2;
    for (int i = 0; i < ticks; i++) {
        char text[24];
        double share = (double)i / (ticks - 1);
        int64_t y = top + h - 1 - (int64_t)(share * (double)(h - 1) + 0.5);
        snprintf(text, sizeof text, "%.3g", (double)r.low + share * ((double)r.high - (double)r.low));
        pk_canvas_box(canvas, y, left + BAR, 1, 5, ink);
        pk_canvas_text(canvas, y - PK_GLYPH_H * TEXT / 2, left + BAR + 9, TEXT, text, ink);
    }
}

/* Pixels a value: what was asked for, or enough for a picture of about 512. */
static int64_t scale_of(const pk_tensor *t, const pk_look *look) {
    enum { SIDE = 512 };
    return look->scale > 0 ? look->scale : pk_max(1, SIDE / pk_max(1, pk_max(t->shape[0], t->shape[1])));
}

pk_status pk_picture_heatmap(const pk_tensor *t, const pk_look *look, const char *title, const char *note,
                             pk_tensor **out) {
    *out = NULL;
    PK_RETURN_IF(t->ndim == 3 && t->shape[2] == 3, PK_EINVAL, "heat map: wants {H,W} or {H,W,1}, got %s",
                 pk_shape_text(t));
    pk_look scaled = *look;
    pk_tensor *map;
    pk_range r;
    scaled.scale = t->ndim >= 2 ? scale_of(t, look) : 1;
    PK_TRY(pk_picture_range(t, &scaled, &r));
    PK_TRY(pk_picture(t, &scaled, &map));
    int64_t h = map->shape[0], w = map->shape[1], top = MARGIN + (title ? LINE : 0);
    int64_t text = pk_max(title ? pk_text_width(title, TEXT) : 0, note ? pk_text_width(note, TEXT) : 0);
    int64_t width = pk_max(w + MARGIN + BAR + 9 + NUMBER, pk_min(text, 8192));
    pk_status status = pk_canvas_new(top + h + (note ? LINE : 0) + MARGIN, 2 * MARGIN + width, out);
    if (status == PK_OK) {
        if (title) pk_canvas_text(*out, MARGIN, MARGIN, TEXT, title, ink);
        paste(*out, top, MARGIN, map);
        frame(*out, top, MARGIN, h, w);
        draw_bar(*out, top, MARGIN + w + MARGIN, h, (pk_color_map)look->colormap, r);
        if (note) pk_canvas_text(*out, top + h + 8, MARGIN, TEXT, note, ink);
    }
    pk_tensor_release(map);
    return status;
}
