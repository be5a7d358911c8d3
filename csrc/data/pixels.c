/* The transforms that take pixels one by one, and the mirror. */
#include <string.h>

#include "core/rng.h"
#include "data/transform.h"

#define FIELDS(list) .fields = list, .nfields = sizeof(list) / sizeof *(list)

/* ---- to_float ---- */

static pk_status to_float_infer(const void *options, pk_extent *e) {
    (void)options;
    e->bytes = false;
    return PK_OK;
}

static void to_float(const pk_step *s) {
    int64_t n = pk_extent_values(&s->from);
    float *out = s->out;
    if (s->from.bytes) {
        const uint8_t *in = s->in;
        for (int64_t i = 0; i < n; i++) out[i] = (float)in[i] * (1.0f / 255.0f);
    } else {
        const float *in = s->in;
        for (int64_t i = 0; i < n; i++) out[i] = in[i] * (1.0f / 255.0f);
    }
}

const pk_transform_kind pk_transform_to_float = {
    .name = "to_float", .doc = "bytes 0..255 to floats 0..1", .infer = to_float_infer, .apply = to_float};

/* ---- normalize ---- */

typedef struct normalize_options {
    pk_floats mean, std;
} normalize_options;

static const pk_field normalize_fields[] = {
    {.name = "mean", .type = PK_FLOATS, .offset = offsetof(normalize_options, mean), .required = true,
     .doc = "subtracted: one number, or one a channel"},
    {.name = "std", .type = PK_FLOATS, .offset = offsetof(normalize_options, std), .required = true, .min = 1e-12,
     .max = 1e12, .doc = "divided by, after: one number, or one a channel"},
};

static pk_status normalize_infer(const void *options, pk_extent *e) {
    const normalize_options *o = options;
    const pk_floats *list[] = {&o->mean, &o->std};
    for (int i = 0; i < 2; i++)
        PK_RETURN_IF(list[i]->n != 1 && list[i]->n != e->c, PK_EINVAL,
                     "normalize: %s has %d numbers, the data has %lld channels", i ? "std" : "mean", list[i]->n,
                     (long long)e->c);
    return PK_OK;
}

static void normalize(const pk_step *s) {
    const normalize_options *o = s->options;
    int64_t pixels = s->from.h * s->from.w, c = s->from.c;
    const float *in = s->in;
    float *out = s->out;
    for (int64_t k = 0; k < c; k++) {
        float mean = (float)o->mean.v[o->mean.n == 1 ? 0 : k], scale = 1.0f / (float)o->std.v[o->std.n == 1 ? 0 : k];
        for (int64_t p = 0; p < pixels; p++) out[p * c + k] = (in[p * c + k] - mean) * scale;
    }
}

const pk_transform_kind pk_transform_normalize = {
    .name = "normalize", .doc = "(x - mean) / std by channel", .options_size = sizeof(normalize_options),
    FIELDS(normalize_fields), .takes = PK_TAKES_FLOATS, .infer = normalize_infer, .apply = normalize};

/* ---- hflip ---- */

typedef struct flip_options {
    double p;
} flip_options;

static const pk_field flip_fields[] = {
    {.name = "p", .type = PK_FLOAT, .offset = offsetof(flip_options, p), .def = 0.5, .min = 0, .max = 1,
     .doc = "probability"},
};

static void mirror_bytes(const uint8_t *in, uint8_t *out, int64_t h, int64_t w, int64_t c) {
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            for (int64_t k = 0; k < c; k++) out[(y * w + x) * c + k] = in[(y * w + w - 1 - x) * c + k];
}

static void mirror_floats(const float *in, float *out, int64_t h, int64_t w, int64_t c) {
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            for (int64_t k = 0; k < c; k++) out[(y * w + x) * c + k] = in[(y * w + w - 1 - x) * c + k];
}

static void hflip(const pk_step *s) {
    const flip_options *o = s->options;
    if ((double)pk_random_uniform(s->stream, 0) >= o->p)
        memcpy(s->out, s->in, (size_t)pk_extent_bytes(&s->from));
    else if (s->from.bytes)
        mirror_bytes(s->in, s->out, s->from.h, s->from.w, s->from.c);
    else
        mirror_floats(s->in, s->out, s->from.h, s->from.w, s->from.c);
}

const pk_transform_kind pk_transform_hflip = {
    .name = "hflip", .doc = "left and right exchanged with probability p", .options_size = sizeof(flip_options),
    FIELDS(flip_fields), .spatial = true, .apply = hflip};
