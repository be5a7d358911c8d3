/* Row by row of the result: the rows that matter are blended into one (a kernel), then its pixels into those of the
 * result, four channels at a time. */
#include "data/resample.h"

#include <math.h>
#include <string.h>

#include "core/checked.h"
#include "kernels/kernels.h"

enum { PAD = 4 }; /* floats after a row, so that a pixel of fewer than four channels may be loaded as four */

typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));

/* ---- filters ---- */

static double triangle(double x) { return fabs(x) < 1 ? 1 - fabs(x) : 0; }

/* Keys' cubic with a = -1/2. */
static double cubic(double x) {
    x = fabs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
    return 0;
}

static double support(const pk_cut *cut, double scale) {
    return (cut->filter == PK_BICUBIC ? 2 : 1) * (scale > 1 ? scale : 1);
}

/* ---- weights along one axis ---- */

typedef struct axis {
    double at, scale, support; /* of the cut */
    int64_t low, high;         /* inputs that may be used */
    pk_filter filter;
} axis;

static axis axis_of(const pk_cut *cut, double at, double n, int64_t out, int64_t limit) {
    axis a = {.at = at, .scale = n / (double)out, .filter = cut->filter};
    a.support = support(cut, a.scale);
    a.low = pk_max(0, pk_min((int64_t)floor(at + 1e-6), limit - 1));
    a.high = pk_max(a.low + 1, pk_min((int64_t)ceil(at + n - 1e-6), limit));
    return a;
}

static int64_t most_taps(double reach) { return 2 * (int64_t)ceil(reach) + 2; }

/* Weights of output o: inputs from *from on; returns how many. They sum to 1. */
static int64_t weigh(const axis *a, int64_t o, int64_t *from, float *w) {
    double centre = a->at + ((double)o + 0.5) * a->scale, wide = a->scale > 1 ? a->scale : 1, sum = 0;
    int64_t begin = pk_max(a->low, (int64_t)floor(centre - a->support + 0.5));
    int64_t end = pk_min(a->high, (int64_t)floor(centre + a->support + 0.5));
    if (begin >= end) begin = pk_max(a->low, pk_min(begin, a->high - 1)), end = begin + 1;
    for (int64_t i = begin; i < end; i++) {
        double x = ((double)i - centre + 0.5) / wide, v = a->filter == PK_BICUBIC ? cubic(x) : triangle(x);
        w[i - begin] = (float)v;
        sum += v;
    }
    *from = begin;
    if (sum == 0) w[0] = 1, sum = 1;
    for (int64_t i = 0; i < end - begin; i++) w[i] = (float)((double)w[i] / sum);
    return end - begin;
}

/* ---- scratch: the weights of all columns, of one row, and the blended row ---- */

typedef struct plan {
    int64_t taps_x, taps_y, row;
    int64_t *from; /* of each column */
    int64_t *count;
    float *wx, *wy, *line;
} plan;

static plan sizes_of(const pk_cut *cut, int64_t out_h, int64_t out_w, int64_t c) {
    double sx = cut->box.w / (double)out_w, sy = cut->box.h / (double)out_h;
    return (plan){.taps_x = most_taps(support(cut, sx)), .taps_y = most_taps(support(cut, sy)),
                  .row = ((int64_t)ceil(cut->box.w) + 3) * c + PAD};
}

int64_t pk_resample_scratch(const pk_cut *cut, int64_t out_h, int64_t out_w, int64_t channels) {
    plan p = sizes_of(cut, out_h, out_w, channels);
    return out_w * 2 * (int64_t)sizeof(int64_t) + (out_w * p.taps_x + p.taps_y + p.row) * (int64_t)sizeof(float);
}

static plan plan_of(const pk_cut *cut, int64_t out_h, int64_t out_w, int64_t c, void *scratch) {
    plan p = sizes_of(cut, out_h, out_w, c);
    p.from = scratch;
    p.count = p.from + out_w;
    p.wx = (float *)(void *)(p.count + out_w);
    p.wy = p.wx + out_w * p.taps_x;
    p.line = p.wy + p.taps_y;
    return p;
}

/* ---- pixels ---- */

static void put_byte(float v, uint8_t *to) {
    v += 0.5f;
    *to = v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
}

static void put(const float *pixel, int64_t c, bool bytes, void *row, int64_t x) {
    for (int64_t k = 0; k < c; k++) {
        if (bytes)
            put_byte(pixel[k], (uint8_t *)row + x * c + k);
        else
            ((float *)row)[x * c + k] = pixel[k];
    }
}

static void blend_few(const float *in, int64_t c, int64_t taps, const float *w, float *pixel) {
    lanes sum = {0, 0, 0, 0};
    for (int64_t i = 0; i < taps; i++) sum += *(const lanes *)(const void *)(in + i * c) * w[i];
    *(lanes *)(void *)pixel = sum;
}

static float blend_one(const float *in, int64_t c, int64_t taps, const float *w) {
    float sum = 0;
    for (int64_t i = 0; i < taps; i++) sum += in[i * c] * w[i];
    return sum;
}

/* One row of the result from the blended line, whose first pixel is column `first`. */
static void blend_columns(const plan *p, int64_t first, int64_t out_w, int64_t c, bool bytes, void *row) {
    for (int64_t x = 0; x < out_w; x++) {
        const float *in = p->line + (p->from[x] - first) * c, *w = p->wx + x * p->taps_x;
        float pixel[4];
        if (c > 1 && c <= 4) {
            blend_few(in, c, p->count[x], w, pixel);
            put(pixel, c, bytes, row, x);
            continue;
        }
        for (int64_t k = 0; k < c; k++) {
            float v = blend_one(in + k, c, p->count[x], w);
            if (bytes)
                put_byte(v, (uint8_t *)row + x * c + k);
            else
                ((float *)row)[x * c + k] = v;
        }
    }
}

void pk_resample(const pk_pixels *in, const pk_cut *cut, int64_t out_h, int64_t out_w, void *out, void *scratch) {
    const pk_kernels *k = pk_k();
    int64_t c = in->c, size = in->bytes ? 1 : (int64_t)sizeof(float);
    plan p = plan_of(cut, out_h, out_w, c, scratch);
    axis ax = axis_of(cut, cut->box.left, cut->box.w, out_w, in->w),
         ay = axis_of(cut, cut->box.top, cut->box.h, out_h, in->h);
    for (int64_t x = 0; x < out_w; x++) p.count[x] = weigh(&ax, x, &p.from[x], p.wx + x * p.taps_x);
    int64_t n = (ax.high - ax.low) * c;
    memset(p.line + n, 0, PAD * sizeof(float));
    for (int64_t y = 0; y < out_h; y++) {
        int64_t from, taps = weigh(&ay, y, &from, p.wy), at = (from * in->w + ax.low) * c;
        if (in->bytes)
            k->blend_rows_u8(n, taps, p.wy, (const uint8_t *)in->at + at, in->w * c, p.line);
        else
            k->blend_rows(n, taps, p.wy, (const float *)in->at + at, in->w * c, p.line);
        blend_columns(&p, ax.low, out_w, c, in->bytes, (uint8_t *)out + y * out_w * c * size);
    }
}
