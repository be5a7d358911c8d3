/* Counting: see macs.h. */
#include "ops/macs.h"

#include <math.h>

#include "core/checked.h"

static int64_t count_bytes(const uint8_t *p, int64_t n) {
    int64_t active = 0;
    for (int64_t i = 0; i < n; i++) active += p[i] != 0;
    return active;
}

static int64_t count_floats(const float *p, int64_t n) {
    int64_t active = 0;
    for (int64_t i = 0; i < n; i++) active += p[i] != 0;
    return active;
}

int64_t pk_count_active(pk_tensor *t) {
    pk_tensor *packed;
    if (t->mask) return count_bytes(pk_u8(t->mask), pk_numel(t));
    if (pk_tensor_contiguous(t, &packed) != PK_OK) return pk_numel(t);
    int64_t active = count_floats(pk_f32(packed), pk_numel(packed));
    pk_tensor_release(packed);
    return active;
}

void pk_macs_add(pk_macs *m, const pk_tensor *w, double dense, double in_image, double run) {
    double density = 1;
    if (w && !isnan(m->density)) density = m->density;
    else if (w && pk_numel(w)) density = (double)pk_count_active((pk_tensor *)w) / (double)pk_numel(w);
    m->paper += dense * density;
    m->dense += dense;
    m->in_image += in_image;
    m->run += run;
}

double pk_taps_inside(int64_t in, int64_t out, int64_t taps, int64_t stride, int64_t padding, int64_t dilation) {
    double inside = 0;
    for (int64_t t = 0; t < taps; t++) { /* output o sees pixel o * stride - before */
        int64_t before = padding - t * dilation;
        int64_t first = before > 0 ? pk_ceil_div(before, stride) : 0, end = (in - 1 + before) / stride + 1;
        if (in - 1 + before < 0) continue;
        if (end > out) end = out;
        if (end > first) inside += (double)(end - first);
    }
    return inside;
}
