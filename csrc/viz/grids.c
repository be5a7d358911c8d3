/* The picture of sharing grids. */
#include <stdio.h>
#include <string.h>

#include "core/checked.h"
#include "viz/canvas.h"
#include "viz/picture.h"

enum { MARGIN = 24, BORDER = 3, TEXT = 2, LINE = PK_GLYPH_H * TEXT + 8 };

static const uint8_t white[3] = {255, 255, 255}, ink[3] = {40, 44, 52};

static int64_t total(const pk_ints *grid) {
    int64_t sum = 0;
    for (int i = 0; i < grid->n; i++) sum += grid->v[i];
    return sum;
}

/* Pixels of a tap. */
static int64_t cell_of(const pk_ints *grid, int64_t side) { return pk_max(2, (side + total(grid) / 2) / total(grid)); }

static pk_status check(const pk_ints *grid, int count, int64_t side) {
    PK_RETURN_IF(count < 1 || count > PK_MAX_GRIDS, PK_EINVAL, "grids: 1 to %d at once, got %d", PK_MAX_GRIDS, count);
    PK_RETURN_IF(side < 16 || side > 8192, PK_EINVAL, "grids: side must be 16..8192 pixels, got %lld", (long long)side);
    for (int g = 0; g < count; g++) {
        PK_RETURN_IF(grid[g].n < 1, PK_EINVAL, "grids: grid %d is empty", g + 1);
        for (int i = 0; i < grid[g].n; i++)
            PK_RETURN_IF(grid[g].v[i] < 1 || grid[g].v[i] > 8191, PK_EINVAL, "grids: grid %d has a band of %d", g + 1,
                         grid[g].v[i]);
        PK_RETURN_IF(total(&grid[g]) > 4096, PK_EINVAL, "grids: grid %d is %lld wide, at most 4096 is drawn", g + 1,
                     (long long)total(&grid[g]));
    }
    return PK_OK;
}

/* How far band i is from the centre one. */
static int ring_of(const pk_ints *grid, int i, int j) {
    int c = grid->n / 2, a = i < c ? c - i : i - c, b = j < c ? c - j : j - c;
    return a > b ? a : b;
}

static void darken(uint8_t rgb[3]) {
    for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(rgb[c] * 5 / 6);
}

/* One rectangle: its colour, its taps, its border. */
static void draw_band(pk_tensor *canvas, int64_t top, int64_t left, int64_t h, int64_t w, int64_t cell,
                      const uint8_t color[3]) {
    uint8_t line[3];
    memcpy(line, color, 3);
    darken(line);
    pk_canvas_box(canvas, top, left, h * cell, w * cell, color);
    for (int64_t i = 1; cell >= 8 && i < h; i++) pk_canvas_box(canvas, top + i * cell, left, 1, w * cell, line);
    for (int64_t i = 1; cell >= 8 && i < w; i++) pk_canvas_box(canvas, top, left + i * cell, h * cell, 1, line);
    int64_t border = cell >= 24 ? BORDER : BORDER - 1;
    pk_canvas_box(canvas, top, left, border, w * cell, white);
    pk_canvas_box(canvas, top, left, h * cell, border, white);
}

static void draw_grid(pk_tensor *canvas, int64_t top, int64_t left, const pk_ints *grid, int64_t cell) {
    int rings = grid->n / 2;
    for (int i = 0, y = 0; i < grid->n; y += grid->v[i++])
        for (int j = 0, x = 0; j < grid->n; x += grid->v[j++]) {
            uint8_t color[3];
            float far = rings > 0 ? (float)ring_of(grid, i, j) / (float)rings : 0.0f;
            pk_color(PK_VIRIDIS, 0.92f - 0.84f * far, color);
            draw_band(canvas, top + y * cell, left + x * cell, grid->v[i], grid->v[j], cell, color);
        }
}

static void draw_captions(pk_tensor *canvas, int64_t top, int64_t left, const pk_ints *grid, const char *caption) {
    char text[96];
    int64_t k = total(grid);
    snprintf(text, sizeof text, "%lldx%lld taps", (long long)k, (long long)k);
    pk_canvas_text(canvas, top, left, TEXT, caption ? caption : text, ink);
    snprintf(text, sizeof text, "%dx%d = %d weights", grid->n, grid->n, grid->n * grid->n);
    pk_canvas_text(canvas, top + LINE, left, TEXT, text, ink);
}

pk_status pk_picture_grids(const pk_ints *grid, const char *const *caption, int count, int64_t side, pk_tensor **out) {
    *out = NULL;
    PK_TRY(check(grid, count, side));
    enum { TEXT_WIDTH = 20 * PK_GLYPH_W * TEXT };
    int64_t width = MARGIN, height = 0, left = MARGIN;
    for (int g = 0; g < count; g++) {
        int64_t pixels = total(&grid[g]) * cell_of(&grid[g], side);
        int64_t text = caption && caption[g] ? pk_text_width(caption[g], TEXT) : 0;
        width += pk_max(pk_max(pixels, pk_min(text, 8192)), TEXT_WIDTH) + MARGIN;
        height = pk_max(height, pixels);
    }
    PK_TRY(pk_canvas_new(MARGIN + height + MARGIN / 2 + 2 * LINE + MARGIN / 2, width, out));
    for (int g = 0; g < count; g++) {
        int64_t cell = cell_of(&grid[g], side), pixels = total(&grid[g]) * cell;
        int64_t text = caption && caption[g] ? pk_text_width(caption[g], TEXT) : 0;
        draw_grid(*out, MARGIN + height - pixels, left, &grid[g], cell);
        draw_captions(*out, MARGIN + height + MARGIN / 2, left, &grid[g], caption ? caption[g] : NULL);
        left += pk_max(pk_max(pixels, pk_min(text, 8192)), TEXT_WIDTH) + MARGIN;
    }
    return PK_OK;
}
