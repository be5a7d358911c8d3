/* Colours of uint8 pictures. */
#include "data/enhance.h"

#include <string.h>

/* ---- tables: one a channel ---- */

typedef struct lut {
    uint8_t v[3][256];
} lut;

static void look_up(const pk_bytes_map *p, const lut *t) {
    int64_t n = p->h * p->w;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < p->c; k++) p->out[i * p->c + k] = t->v[k][p->in[i * p->c + k]];
}

/* The same table for all channels. */
static void look_up_all(const pk_bytes_map *p, const uint8_t v[256]) {
    int64_t n = p->h * p->w * p->c;
    for (int64_t i = 0; i < n; i++) p->out[i] = v[p->in[i]];
}

static void histogram(const pk_bytes_map *p, int64_t k, int64_t count[256]) {
    memset(count, 0, 256 * sizeof *count);
    for (int64_t i = 0; i < p->h * p->w; i++) count[p->in[i * p->c + k]]++;
}

static void identity(uint8_t v[256]) {
    for (int i = 0; i < 256; i++) v[i] = (uint8_t)i;
}

static uint8_t clamp(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

static void stretch(const int64_t count[256], uint8_t v[256]) {
    int low = 0, high = 255;
    while (low < 255 && count[low] == 0) low++;
    while (high > 0 && count[high] == 0) high--;
    identity(v);
    if (high <= low) return;
    double scale = 255.0 / (high - low), offset = -low * scale;
    for (int i = 0; i < 256; i++) v[i] = clamp((int)(i * scale + offset));
}

static void flatten(const int64_t count[256], uint8_t v[256]) {
    int64_t total = 0, last = 0;
    int used = 0;
    for (int i = 0; i < 256; i++) {
        if (count[i] == 0) continue;
        total += count[i];
        last = count[i];
        used++;
    }
    int64_t step = (total - last) / 255, n = step / 2;
    identity(v);
    if (used <= 1 || step == 0) return;
    for (int i = 0; i < 256; i++) {
        v[i] = clamp((int)(n / step));
        n += count[i];
    }
}

static void by_histogram(const pk_bytes_map *p, void make(const int64_t count[256], uint8_t v[256])) {
    lut t;
    int64_t count[256];
    for (int64_t k = 0; k < p->c; k++) {
        histogram(p, k, count);
        make(count, t.v[k]);
    }
    look_up(p, &t);
}

void pk_bytes_autocontrast(const pk_bytes_map *p) { by_histogram(p, stretch); }
void pk_bytes_equalize(const pk_bytes_map *p) { by_histogram(p, flatten); }

void pk_bytes_invert(const pk_bytes_map *p) { pk_bytes_solarize(p, 0); }

void pk_bytes_posterize(const pk_bytes_map *p, int bits) {
    uint8_t v[256];
    for (int i = 0; i < 256; i++) v[i] = (uint8_t)(i & ~((1 << (8 - bits)) - 1));
    look_up_all(p, v);
}

void pk_bytes_solarize(const pk_bytes_map *p, int threshold) {
    uint8_t v[256];
    for (int i = 0; i < 256; i++) v[i] = (uint8_t)(i < threshold ? i : 255 - i);
    look_up_all(p, v);
}

void pk_bytes_solarize_add(const pk_bytes_map *p, int add, int threshold) {
    uint8_t v[256];
    for (int i = 0; i < 256; i++) v[i] = i < threshold ? clamp(i + add) : (uint8_t)i;
    look_up_all(p, v);
}

/* ---- enhancing: from a picture without the quality towards the picture, and beyond ---- */

/* Cut off, not rounded: what Image.blend does. */
static uint8_t blend(int without, int with, float factor) {
    float v = (float)without + factor * (float)(with - without);
    return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
}

static int grey_of(const uint8_t *pixel, int64_t c) { /* ITU-R BT.601, as Pillow rounds it */
    return c == 3 ? (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16 : pixel[0];
}

static void enhance_from(const pk_bytes_map *p, int without, double factor) {
    uint8_t v[256];
    for (int i = 0; i < 256; i++) v[i] = blend(without, i, (float)factor);
    look_up_all(p, v);
}

void pk_bytes_brightness(const pk_bytes_map *p, double factor) { enhance_from(p, 0, factor); }

void pk_bytes_contrast(const pk_bytes_map *p, double factor) {
    int64_t n = p->h * p->w, sum = 0;
    for (int64_t i = 0; i < n; i++) sum += grey_of(p->in + i * p->c, p->c);
    enhance_from(p, n > 0 ? (int)((double)sum / (double)n + 0.5) : 0, factor);
}

void pk_bytes_saturation(const pk_bytes_map *p, double factor) {
    for (int64_t i = 0; i < p->h * p->w; i++) {
        const uint8_t *in = p->in + i * p->c;
        int grey = grey_of(in, p->c);
        for (int64_t k = 0; k < p->c; k++) p->out[i * p->c + k] = blend(grey, in[k], (float)factor);
    }
}

/* The 3 x 3 mean with the middle counted five times; pixels at the border stay. */
static int smooth(const pk_bytes_map *p, int64_t y, int64_t x, int64_t k) {
    int64_t row = p->w * p->c;
    const uint8_t *at = p->in + y * row + x * p->c + k;
    if (y == 0 || x == 0 || y == p->h - 1 || x == p->w - 1) return *at;
    int sum = 4 * *at;
    for (int64_t dy = -1; dy <= 1; dy++)
        for (int64_t dx = -1; dx <= 1; dx++) sum += at[dy * row + dx * p->c];
    return (int)((float)sum * (1.0f / 13) + 0.5f);
}

void pk_bytes_sharpness(const pk_bytes_map *p, double factor) {
    for (int64_t y = 0; y < p->h; y++)
        for (int64_t x = 0; x < p->w; x++)
            for (int64_t k = 0; k < p->c; k++) {
                int64_t i = (y * p->w + x) * p->c + k;
                p->out[i] = blend(smooth(p, y, x, k), p->in[i], (float)factor);
            }
}
