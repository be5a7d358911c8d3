/* Resizing with a triangle filter as wide as the reduction (bilinear when enlarging, area-like when reducing), and the
 * random crop that is resized. */
#include <math.h>

#include "core/checked.h"
#include "core/rng.h"
#include "data/transform.h"

/* Weights of one output position along one axis: inputs from .. to-1, triangle around centre, not yet divided by sum.
 */
typedef struct tap {
    int64_t from, to;
    float centre, inverse_width, inverse_sum;
} tap;

static float weight(const tap *t, int64_t i) {
    float w = 1.0f - fabsf(((float)i + 0.5f - t->centre) * t->inverse_width);
    return w > 0.0f ? w * t->inverse_sum : 0.0f;
}

static tap make_tap(int64_t o, int64_t in, int64_t out) {
    float scale = (float)in / (float)out, width = scale > 1.0f ? scale : 1.0f;
    tap t = {.centre = ((float)o + 0.5f) * scale, .inverse_width = 1.0f / width, .inverse_sum = 1.0f};
    t.from = pk_max(0, (int64_t)floorf(t.centre - width));
    t.to = pk_min(in, (int64_t)ceilf(t.centre + width));
    float sum = 0.0f;
    for (int64_t i = t.from; i < t.to; i++) sum += weight(&t, i);
    t.inverse_sum = 1.0f / sum;
    return t;
}

/* The window {top, left, h, w} of in (row length in.w) to all of out; scratch: h rows of out's width. */
static void resize_window(const pk_step *s, int64_t top, int64_t left, int64_t h, int64_t w) {
    int64_t c = s->from.c, ow = s->to.w, oh = s->to.h;
    for (int64_t x = 0; x < ow; x++) {
        tap t = make_tap(x, w, ow);
        for (int64_t y = 0; y < h; y++) {
            const float *row = s->in + ((top + y) * s->from.w + left) * c;
            float *to = s->scratch + (y * ow + x) * c;
            for (int64_t k = 0; k < c; k++) to[k] = 0.0f;
            for (int64_t i = t.from; i < t.to; i++) {
                float f = weight(&t, i);
                for (int64_t k = 0; k < c; k++) to[k] += f * row[i * c + k];
            }
        }
    }
    for (int64_t y = 0; y < oh; y++) {
        tap t = make_tap(y, h, oh);
        float *to = s->out + y * ow * c;
        for (int64_t k = 0; k < ow * c; k++) to[k] = 0.0f;
        for (int64_t i = t.from; i < t.to; i++) {
            float f = weight(&t, i);
            const float *row = s->scratch + i * ow * c;
            for (int64_t k = 0; k < ow * c; k++) to[k] += f * row[k];
        }
    }
}

static int64_t resize_scratch(const pk_extent *from, const pk_extent *to) { return from->h * to->w * from->c; }

/* ---- resize ---- */

typedef struct resize_options {
    int64_t size[2];
} resize_options;

static const pk_field resize_fields[] = {
    {.name = "size",
     .type = PK_PAIR,
     .offset = offsetof(resize_options, size),
     .required = true,
     .min = 1,
     .max = 65536,
     .doc = "{height, width}"},
};

static pk_status resize_infer(const void *options, pk_extent *e) {
    const resize_options *o = options;
    e->h = o->size[0];
    e->w = o->size[1];
    return PK_OK;
}

static void resize(const pk_step *s) { resize_window(s, 0, 0, s->from.h, s->from.w); }

const pk_transform_kind pk_transform_resize = {
    .name = "resize", .doc = "the whole picture at another size", .options_size = sizeof(resize_options),
    .fields = resize_fields, .nfields = 1, .spatial = true, .infer = resize_infer, .apply = resize,
    .scratch = resize_scratch};

/* ---- random_resized_crop ---- */

typedef struct random_options {
    int64_t size[2];
    double min_area, ratio;
} random_options;

static const pk_field random_fields[] = {
    {.name = "size",
     .type = PK_PAIR,
     .offset = offsetof(random_options, size),
     .required = true,
     .min = 1,
     .max = 65536,
     .doc = "{height, width}"},
    {.name = "min_area",
     .type = PK_FLOAT,
     .offset = offsetof(random_options, min_area),
     .def = 0.08,
     .min = 0.001,
     .max = 1,
     .doc = "smallest part of the picture"},
    {.name = "ratio",
     .type = PK_FLOAT,
     .offset = offsetof(random_options, ratio),
     .def = 0.75,
     .min = 0.01,
     .max = 1,
     .doc = "width by height lies between this and its inverse"},
};

enum { CROP_TRIES = 10 };

/* Ten tries at a rectangle that fits; then the whole picture. */
static void random_resized_crop(const pk_step *s) {
    const random_options *o = s->options;
    for (uint64_t i = 0; i < CROP_TRIES; i++) {
        double part = o->min_area + (1 - o->min_area) * (double)pk_random_uniform(s->stream, 4 * i);
        double area = part * (double)(s->from.h * s->from.w);
        double ratio = exp(log(o->ratio) * (1 - 2 * (double)pk_random_uniform(s->stream, 4 * i + 1)));
        int64_t w = (int64_t)lround(sqrt(area * ratio)), h = (int64_t)lround(sqrt(area / ratio));
        if (h < 1 || w < 1 || h > s->from.h || w > s->from.w) continue;
        int64_t top = pk_random_below(s->stream, 4 * i + 2, (uint32_t)(s->from.h - h) + 1);
        int64_t left = pk_random_below(s->stream, 4 * i + 3, (uint32_t)(s->from.w - w) + 1);
        resize_window(s, top, left, h, w);
        return;
    }
    resize(s);
}

const pk_transform_kind pk_transform_random_resized_crop = {.name = "random_resized_crop",
                                                            .doc = "a rectangle of random area and shape, resized",
                                                            .options_size = sizeof(random_options),
                                                            .fields = random_fields,
                                                            .nfields = 3,
                                                            .spatial = true,
                                                            .infer = resize_infer,
                                                            .apply = random_resized_crop,
                                                            .scratch = resize_scratch};
