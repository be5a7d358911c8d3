/* Boxes, and a 5x7 font drawn for this library. */
#include "viz/canvas.h"

#include <ctype.h>
#include <string.h>

#include "core/checked.h"
#include "viz/png.h"

/* Seven rows of five bits, the leftmost 16. */
static const struct {
    char letter;
    uint8_t row[PK_GLYPH_H];
} glyphs[] = {
    {'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},      {'2', {14, 17, 1, 2, 4, 8, 31}},
    {'3', {31, 2, 4, 2, 1, 17, 14}},     {'4', {2, 6, 10, 18, 31, 2, 2}},     {'5', {31, 16, 30, 1, 1, 17, 14}},
    {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},       {'8', {14, 17, 17, 14, 17, 17, 14}},
    {'9', {14, 17, 17, 15, 1, 2, 12}},   {'A', {14, 17, 17, 31, 17, 17, 17}}, {'B', {30, 17, 17, 30, 17, 17, 30}},
    {'C', {14, 17, 16, 16, 16, 17, 14}}, {'D', {28, 18, 17, 17, 17, 18, 28}}, {'E', {31, 16, 16, 30, 16, 16, 31}},
    {'F', {31, 16, 16, 30, 16, 16, 16}}, {'G', {14, 17, 16, 23, 17, 17, 15}}, {'H', {17, 17, 17, 31, 17, 17, 17}},
    {'I', {14, 4, 4, 4, 4, 4, 14}},      {'J', {7, 2, 2, 2, 2, 18, 12}},      {'K', {17, 18, 20, 24, 20, 18, 17}},
    {'L', {16, 16, 16, 16, 16, 16, 31}}, {'M', {17, 27, 21, 21, 17, 17, 17}}, {'N', {17, 17, 25, 21, 19, 17, 17}},
    {'O', {14, 17, 17, 17, 17, 17, 14}}, {'P', {30, 17, 17, 30, 16, 16, 16}}, {'Q', {14, 17, 17, 17, 21, 18, 13}},
    {'R', {30, 17, 17, 30, 20, 18, 17}}, {'S', {15, 16, 16, 14, 1, 1, 30}},   {'T', {31, 4, 4, 4, 4, 4, 4}},
    {'U', {17, 17, 17, 17, 17, 17, 14}}, {'V', {17, 17, 17, 17, 17, 10, 4}},  {'W', {17, 17, 17, 21, 21, 21, 10}},
    {'X', {17, 17, 10, 4, 10, 17, 17}},  {'Y', {17, 17, 10, 4, 4, 4, 4}},     {'Z', {31, 1, 2, 4, 8, 16, 31}},
    {'x', {0, 0, 17, 10, 4, 10, 17}},    {'.', {0, 0, 0, 0, 0, 12, 12}},      {',', {0, 0, 0, 0, 12, 4, 8}},
    {':', {0, 12, 12, 0, 12, 12, 0}},    {'-', {0, 0, 0, 31, 0, 0, 0}},       {'+', {0, 4, 4, 31, 4, 4, 0}},
    {'=', {0, 0, 31, 0, 31, 0, 0}},      {'/', {0, 1, 2, 4, 8, 16, 0}},       {'(', {2, 4, 8, 8, 8, 4, 2}},
    {')', {8, 4, 2, 2, 2, 4, 8}},        {'%', {24, 25, 2, 4, 8, 19, 3}},     {'_', {0, 0, 0, 0, 0, 0, 31}},
    {'>', {8, 4, 2, 1, 2, 4, 8}},        {'<', {2, 4, 8, 16, 8, 4, 2}},
};

static const uint8_t *glyph(char letter) {
    char wanted = letter == 'x' ? 'x' : (char)toupper((unsigned char)letter);
    for (size_t i = 0; i < sizeof glyphs / sizeof *glyphs; i++)
        if (glyphs[i].letter == wanted) return glyphs[i].row;
    return NULL;
}

pk_status pk_canvas_new(int64_t h, int64_t w, pk_tensor **out) {
    int64_t shape[3] = {h, w, 3}, pixels;
    *out = NULL;
    PK_RETURN_IF(h < 1 || w < 1 || !pk_mul_ok(h, w, &pixels) || pixels > PK_MAX_PIXELS, PK_EINVAL,
                 "a picture of %lld x %lld pixels, at most %lld in all", (long long)h, (long long)w,
                 (long long)PK_MAX_PIXELS);
    PK_TRY(pk_tensor_new(PK_UINT8, 3, shape, out));
    memset(pk_u8(*out), 255, (size_t)(pixels * 3));
    return PK_OK;
}

void pk_canvas_box(pk_tensor *canvas, int64_t top, int64_t left, int64_t h, int64_t w, const uint8_t rgb[3]) {
    int64_t y1 = pk_min(top + h, canvas->shape[0]), x1 = pk_min(left + w, canvas->shape[1]);
    for (int64_t y = pk_max(0, top); y < y1; y++)
        for (int64_t x = pk_max(0, left); x < x1; x++) memcpy(pk_u8(canvas) + (y * canvas->shape[1] + x) * 3, rgb, 3);
}

void pk_canvas_text(pk_tensor *canvas, int64_t top, int64_t left, int scale, const char *text, const uint8_t rgb[3]) {
    for (; *text; text++, left += PK_GLYPH_W * scale) {
        const uint8_t *rows = glyph(*text);
        for (int r = 0; rows && r < PK_GLYPH_H; r++)
            for (int c = 0; c < 5; c++)
                if (rows[r] >> (4 - c) & 1) pk_canvas_box(canvas, top + r * scale, left + c * scale, scale, scale, rgb);
    }
}

int64_t pk_text_width(const char *text, int scale) { return (int64_t)strlen(text) * PK_GLYPH_W * scale; }
