/* Position terms by summed-area tables, in double: a tap's share depends on the output only through which taps its
 * window has in the image, a rectangle. Plain loops over the lanes that compilers turn into vectors. */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/vec.h"

/* Taps [first, last) of an axis that some output of a map of n reaches; all others are never in the image. */
typedef struct reach {
    int first, last;
} reach;

static reach reach_of(int kernel, int n) {
    int r = kernel / 2;
    return (reach){r - (n - 1) > 0 ? r - (n - 1) : 0, r + n < kernel ? r + n : kernel};
}

static int at_least(int a, int b) { return a > b ? a : b; }
static int at_most(int a, int b) { return a < b ? a : b; }

int64_t PK_NAME(position_scratch)(const pk_position *p) {
    reach rows = reach_of(p->kernel, p->h), cols = reach_of(p->kernel, p->w);
    int64_t taps = (int64_t)(rows.last - rows.first + 1) * (cols.last - cols.first + 1);
    int64_t pixels = (int64_t)(p->h + 1) * (p->w + 1);
    return (taps > pixels ? taps : pixels) * VL * (int64_t)sizeof(double) + (p->kernel + 16) * (int64_t)sizeof(int32_t);
}

#define FOR_LANES for (int l = 0; l < VL; l++)

/* One cell of a table: what is above plus the running sum of its row. */
static void next_cell(double *restrict cell, const double *restrict above, double *restrict run,
                      const double *restrict value) {
    FOR_LANES {
        run[l] += value[l];
        cell[l] = above[l] + run[l];
    }
}

/* sum[l] = table over rows [r0, r1) x columns [c0, c1). */
static void rectangle(const double *table, int64_t pitch, int r0, int r1, int c0, int c1, double *restrict sum) {
    const double *a = table + (r0 * pitch + c0) * VL, *b = table + (r0 * pitch + c1) * VL;
    const double *c = table + (r1 * pitch + c0) * VL, *d = table + (r1 * pitch + c1) * VL;
    FOR_LANES sum[l] = (d[l] - c[l]) - (b[l] - a[l]);
}

static void widen(double *restrict to, const float *from, int lanes) {
    FOR_LANES to[l] = 0;
    for (int l = 0; l < lanes; l++) to[l] = from[l];
}

static void find_bands(const pk_position *p, int32_t *band) {
    for (int b = 0, tap = 0; b < p->count; b++)
        for (int i = 0; i < p->size[b]; i++) band[tap++] = b;
}

static void tap_value(const pk_position *p, int a, int b, double *restrict value) {
    const float *h = p->position + ((int64_t)a * p->kernel + b) * p->ldp;
    if (p->shared) {
        FOR_LANES value[l] = *h;
    } else {
        widen(value, h, p->lanes);
    }
}

/* The table of weight * position over the taps in reach. */
static void tap_table(const pk_position *p, const int32_t *band, reach rows, reach cols, double *table) {
    int64_t pitch = cols.last - cols.first + 1;
    memset(table, 0, (size_t)pitch * VL * sizeof(double));
    for (int a = rows.first; a < rows.last; a++) {
        double *cell = table + (a - rows.first + 1) * pitch * VL;
        double run[VL] = {0}, weight[VL], value[VL];
        int known = -1;
        memset(cell, 0, VL * sizeof(double));
        for (int b = cols.first; b < cols.last; b++) {
            if (band[b] != known) {
                known = band[b];
                widen(weight, p->weight + ((int64_t)band[a] * p->count + known) * p->ldw, p->lanes);
            }
            tap_value(p, a, b, value);
            FOR_LANES value[l] *= weight[l];
            cell += VL;
            next_cell(cell, cell - pitch * VL, run, value);
        }
    }
}

void PK_NAME(position_map)(const pk_position *p) {
    reach rows = reach_of(p->kernel, p->h), cols = reach_of(p->kernel, p->w);
    int64_t pitch = cols.last - cols.first + 1;
    int32_t *band = p->scratch;
    double *table = (double *)((char *)p->scratch + (p->kernel + 15) / 16 * 16 * sizeof(int32_t));
    int r = p->kernel / 2;
    find_bands(p, band);
    tap_table(p, band, rows, cols, table);
    for (int y = 0; y < p->h; y++) {
        int a0 = at_least(r - y, rows.first) - rows.first, a1 = at_most(r + p->h - y, rows.last) - rows.first;
        for (int x = 0; x < p->w; x++) {
            int b0 = at_least(r - x, cols.first) - cols.first, b1 = at_most(r + p->w - x, cols.last) - cols.first;
            double sum[VL];
            rectangle(table, pitch, a0, a1, b0, b1, sum);
            float *out = p->map + ((int64_t)y * p->w + x) * p->ldmap;
            for (int l = 0; l < p->lanes; l++) out[l] = (float)sum[l];
        }
    }
}

/* The table of dmap over the pixels. */
static void pixel_table(const pk_position *p, double *table) {
    int64_t pitch = p->w + 1;
    memset(table, 0, (size_t)pitch * VL * sizeof(double));
    for (int y = 0; y < p->h; y++) {
        double *cell = table + (y + 1) * pitch * VL;
        double run[VL] = {0}, value[VL];
        memset(cell, 0, VL * sizeof(double));
        for (int x = 0; x < p->w; x++) {
            widen(value, p->dmap + ((int64_t)y * p->w + x) * p->ldmap, p->lanes);
            cell += VL;
            next_cell(cell, cell - pitch * VL, run, value);
        }
    }
}

/* dposition of one tap: what its outputs' gradients sum to, times its weight. */
static void tap_grad(const pk_position *p, int64_t tap, const double *seen, const double *weight) {
    float *d = p->dposition + tap * p->ldp;
    if (!p->shared) {
        for (int l = 0; l < p->lanes; l++) d[l] += (float)(seen[l] * weight[l]);
        return;
    }
    double sum = 0;
    for (int l = 0; l < p->lanes; l++) sum += seen[l] * weight[l];
    *d += (float)sum;
}

/* One region: rows [a0, a1) x columns [b0, b1) of the taps, in reach, weight number `region`. */
static void region_grad(const pk_position *p, const double *table, int a0, int a1, int b0, int b1, int64_t region) {
    int64_t pitch = p->w + 1;
    int r = p->kernel / 2;
    double weight[VL], total[VL] = {0}, seen[VL], value[VL];
    widen(weight, p->weight + region * p->ldw, p->lanes);
    for (int a = a0; a < a1; a++)
        for (int b = b0; b < b1; b++) { /* output (y, x) has tap (a, b) in the image: 0 <= y + a - r < h */
            rectangle(table, pitch, at_least(r - a, 0), at_most(p->h + r - a, p->h), at_least(r - b, 0),
                      at_most(p->w + r - b, p->w), seen);
            tap_value(p, a, b, value);
            FOR_LANES total[l] += seen[l] * value[l];
            if (p->dposition) tap_grad(p, (int64_t)a * p->kernel + b, seen, weight);
        }
    float *dw = p->dweight ? p->dweight + region * p->ldw : NULL;
    for (int l = 0; dw && l < p->lanes; l++) dw[l] += (float)total[l];
}

void PK_NAME(position_grad)(const pk_position *p) {
    reach rows = reach_of(p->kernel, p->h), cols = reach_of(p->kernel, p->w);
    double *table = (double *)((char *)p->scratch + (p->kernel + 15) / 16 * 16 * sizeof(int32_t));
    pixel_table(p, table);
    for (int i = 0, top = 0; i < p->count; top += p->size[i++])
        for (int j = 0, left = 0; j < p->count; left += p->size[j++])
            region_grad(p, table, at_least(top, rows.first), at_most(top + p->size[i], rows.last),
                        at_least(left, cols.first), at_most(left + p->size[j], cols.last), (int64_t)i * p->count + j);
}
