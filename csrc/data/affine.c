/* Affine maps of uint8 pictures. The cubic is Pillow's for transforms: Keys' with a = -1. */
#include <math.h>

#include "core/checked.h"
#include "data/enhance.h"

/* Weights of the pixels around a place, d from the second one of a cubic's four, the first one of two. */
static void cubic_weights(double d, double w[4]) {
    w[0] = d * (-1 + d * (2 - d));
    w[1] = 1 + d * d * (-2 + d);
    w[2] = d * (1 + d * (1 - d));
    w[3] = d * d * (-1 + d);
}

typedef struct taps {
    int n;
    int64_t at[4];
    double w[4];
} taps;

/* Around v (in pixels, centres at halves) along an axis of `limit` pixels; those outside count as the border's. */
static taps taps_around(double v, int64_t limit, pk_filter filter) {
    double whole = floor(v - 0.5), d = v - 0.5 - whole;
    taps t = {.n = filter == PK_BICUBIC ? 4 : 2};
    int64_t first = (int64_t)whole - (t.n == 4);
    if (t.n == 4)
        cubic_weights(d, t.w);
    else
        t.w[0] = 1 - d, t.w[1] = d;
    for (int i = 0; i < t.n; i++) t.at[i] = pk_max(0, pk_min(first + i, limit - 1));
    return t;
}

static uint8_t cut_off(double v) { return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v; }

static void sample(const pk_bytes_map *p, double x, double y, pk_filter filter, uint8_t *to) {
    taps tx = taps_around(x, p->w, filter), ty = taps_around(y, p->h, filter);
    double sum[3] = {0, 0, 0};
    for (int i = 0; i < ty.n; i++) {
        double line[3] = {0, 0, 0};
        const uint8_t *row = p->in + ty.at[i] * p->w * p->c;
        for (int j = 0; j < tx.n; j++)
            for (int64_t k = 0; k < p->c; k++) line[k] += tx.w[j] * row[tx.at[j] * p->c + k];
        for (int64_t k = 0; k < p->c; k++) sum[k] += ty.w[i] * line[k];
    }
    for (int64_t k = 0; k < p->c; k++) to[k] = cut_off(sum[k] + 1e-9);
}

void pk_bytes_affine(const pk_bytes_map *p, const pk_affine *m, pk_filter filter, const uint8_t *fill) {
    for (int64_t y = 0; y < p->h; y++)
        for (int64_t x = 0; x < p->w; x++) {
            double cx = (double)x + 0.5, cy = (double)y + 0.5;
            double from_x = m->a * cx + m->b * cy + m->c, from_y = m->d * cx + m->e * cy + m->f;
            uint8_t *to = p->out + (y * p->w + x) * p->c;
            if (from_x >= 0 && from_x < (double)p->w && from_y >= 0 && from_y < (double)p->h)
                sample(p, from_x, from_y, filter, to);
            else
                for (int64_t k = 0; k < p->c; k++) to[k] = fill[k];
        }
}

pk_affine pk_affine_rotation(double degrees, int64_t h, int64_t w) {
    double angle = -degrees * 3.14159265358979323846 / 180, cs = cos(angle), sn = sin(angle);
    double x = (double)w / 2, y = (double)h / 2;
    return (pk_affine){cs, sn, x - cs * x - sn * y, -sn, cs, y + sn * x - cs * y};
}
