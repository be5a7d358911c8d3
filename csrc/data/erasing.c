/* random_erasing (Zhong et al. 2017; timm's modes). */
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "data/transform.h"

typedef enum erasing_mode { CONSTANT, RANDOM_COLOR, PIXEL } erasing_mode;

typedef struct erasing_options {
    double p;
    double min_area, max_area, ratio, value;
    int mode;
} erasing_options;

static const pk_field fields[] = {
    {.name = "p", .type = PK_FLOAT, .offset = offsetof(erasing_options, p), .def = 0.25, .min = 0, .max = 1,
     .doc = "probability"},
    {.name = "mode", .type = PK_ENUM, .offset = offsetof(erasing_options, mode), .def = CONSTANT,
     .choices = "const|rand|pixel",
     .doc = "what is put there: `value`, a normal draw a channel, or a normal draw a value (for normalised pictures)"},
    {.name = "min_area", .type = PK_FLOAT, .offset = offsetof(erasing_options, min_area), .def = 0.02, .min = 0,
     .max = 1, .doc = "smallest part of the picture"},
    {.name = "max_area", .type = PK_FLOAT, .offset = offsetof(erasing_options, max_area), .def = 1.0 / 3, .min = 0,
     .max = 1, .doc = "largest part of the picture"},
    {.name = "ratio", .type = PK_FLOAT, .offset = offsetof(erasing_options, ratio), .def = 0.3, .min = 0.01, .max = 1,
     .doc = "height by width lies between this and its inverse"},
    {.name = "value", .type = PK_FLOAT, .offset = offsetof(erasing_options, value), .def = 0, .min = -1e6, .max = 1e6,
     .doc = "of mode const"},
};

static pk_status infer(const void *options, pk_extent *e) {
    const erasing_options *o = options;
    (void)e;
    PK_RETURN_IF(o->min_area > o->max_area, PK_EINVAL, "random_erasing: min_area %g is above max_area %g", o->min_area,
                 o->max_area);
    return PK_OK;
}

enum { TRIES = 10, NOISE = 0x6e6f6973 };

static void erase(const pk_step *s, int64_t top, int64_t left, int64_t h, int64_t w) {
    const erasing_options *o = s->options;
    uint64_t noise = pk_random_bits(s->stream, NOISE);
    int64_t c = s->from.c;
    float *out = s->out;
    for (int64_t y = top; y < top + h; y++)
        for (int64_t i = (y * s->from.w + left) * c; i < (y * s->from.w + left + w) * c; i++)
            out[i] = o->mode == CONSTANT ? (float)o->value
                                         : pk_random_normal(noise, (uint64_t)(o->mode == PIXEL ? i : i % c));
}

static void random_erasing(const pk_step *s) {
    const erasing_options *o = s->options;
    memcpy(s->out, s->in, (size_t)pk_extent_bytes(&s->from));
    if ((double)pk_random_uniform(s->stream, 0) >= o->p) return;
    for (uint64_t i = 1; i <= TRIES; i++) {
        double part = o->min_area + (o->max_area - o->min_area) * (double)pk_random_uniform(s->stream, 4 * i);
        double area = part * (double)(s->from.h * s->from.w);
        double ratio = exp(log(o->ratio) * (1 - 2 * (double)pk_random_uniform(s->stream, 4 * i + 1)));
        int64_t h = (int64_t)lround(sqrt(area * ratio)), w = (int64_t)lround(sqrt(area / ratio));
        if (h < 1 || w < 1 || h > s->from.h || w > s->from.w) continue;
        int64_t top = pk_random_below(s->stream, 4 * i + 2, (uint32_t)(s->from.h - h) + 1);
        int64_t left = pk_random_below(s->stream, 4 * i + 3, (uint32_t)(s->from.w - w) + 1);
        erase(s, top, left, h, w);
        return;
    }
}

const pk_transform_kind pk_transform_random_erasing = {
    .name = "random_erasing", .doc = "a rectangle wiped out with probability p",
    .options_size = sizeof(erasing_options), .fields = fields, .nfields = sizeof fields / sizeof *fields,
    .spatial = true, .takes = PK_TAKES_FLOATS, .infer = infer, .apply = random_erasing};
