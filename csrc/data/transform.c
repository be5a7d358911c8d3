/* The transforms that move or change pixels one by one, and the table of all. */
#include "data/transform.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/rng.h"

static int64_t floats(const pk_extent *e) { return e->h * e->w * e->c; }

/* ---- to_float ---- */

static void to_float(const pk_step *s) {
    for (int64_t i = 0; i < floats(&s->from); i++) s->out[i] = s->in[i] * (1.0f / 255.0f);
}

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
    for (int64_t k = 0; k < c; k++) {
        float mean = (float)o->mean.v[o->mean.n == 1 ? 0 : k], scale = 1.0f / (float)o->std.v[o->std.n == 1 ? 0 : k];
        for (int64_t p = 0; p < pixels; p++) s->out[p * c + k] = (s->in[p * c + k] - mean) * scale;
    }
}

/* ---- crops ---- */

typedef struct crop_options {
    int64_t size[2];
    int64_t padding[2];
} crop_options;

static const pk_field crop_fields[] = {
    {.name = "size", .type = PK_PAIR, .offset = offsetof(crop_options, size), .def = 0, .min = 0, .max = 65536,
     .doc = "of what comes out, {height, width}; 0: that of the picture"},
    {.name = "padding", .type = PK_PAIR, .offset = offsetof(crop_options, padding), .def = 0, .min = 0, .max = 4096,
     .doc = "zeros on each side before the crop"},
};

static const pk_field center_fields[] = {
    {.name = "size", .type = PK_PAIR, .offset = offsetof(crop_options, size), .required = true, .min = 1, .max = 65536,
     .doc = "of what comes out, {height, width}"},
};

static pk_status crop_infer(const void *options, pk_extent *e) {
    const crop_options *o = options;
    int64_t h = o->size[0] ? o->size[0] : e->h, w = o->size[1] ? o->size[1] : e->w;
    PK_RETURN_IF(h > e->h + 2 * o->padding[0] || w > e->w + 2 * o->padding[1], PK_EINVAL,
                 "crop of %lld x %lld from a picture of %lld x %lld with padding %lld, %lld", (long long)h,
                 (long long)w, (long long)e->h, (long long)e->w, (long long)o->padding[0], (long long)o->padding[1]);
    e->h = h;
    e->w = w;
    return PK_OK;
}

/* The window of out's size whose corner is at (top, left) of in; zeros outside. */
static void crop(const pk_step *s, int64_t top, int64_t left) {
    int64_t c = s->from.c;
    for (int64_t y = 0; y < s->to.h; y++) {
        float *row = s->out + y * s->to.w * c;
        int64_t from_y = y + top, x0 = pk_max(0, -left), x1 = pk_min(s->to.w, s->from.w - left);
        if (from_y < 0 || from_y >= s->from.h || x1 <= x0) {
            memset(row, 0, (size_t)(s->to.w * c) * sizeof *row);
            continue;
        }
        memset(row, 0, (size_t)(x0 * c) * sizeof *row);
        memcpy(row + x0 * c, s->in + (from_y * s->from.w + left + x0) * c, (size_t)((x1 - x0) * c) * sizeof *row);
        memset(row + x1 * c, 0, (size_t)((s->to.w - x1) * c) * sizeof *row);
    }
}

static void random_crop(const pk_step *s) {
    const crop_options *o = s->options;
    int64_t free_y = s->from.h + 2 * o->padding[0] - s->to.h, free_x = s->from.w + 2 * o->padding[1] - s->to.w;
    int64_t top = pk_random_below(s->stream, 0, (uint32_t)free_y + 1),
            left = pk_random_below(s->stream, 1, (uint32_t)free_x + 1);
    crop(s, top - o->padding[0], left - o->padding[1]);
}

static void center_crop(const pk_step *s) { crop(s, (s->from.h - s->to.h) / 2, (s->from.w - s->to.w) / 2); }

/* ---- hflip ---- */

typedef struct chance_options {
    double p;
} chance_options;

static const pk_field chance_fields[] = {
    {.name = "p", .type = PK_FLOAT, .offset = offsetof(chance_options, p), .def = 0.5, .min = 0, .max = 1,
     .doc = "probability"},
};

static void hflip(const pk_step *s) {
    const chance_options *o = s->options;
    int64_t w = s->from.w, c = s->from.c, n = floats(&s->from);
    if ((double)pk_random_uniform(s->stream, 0) >= o->p) {
        memcpy(s->out, s->in, (size_t)n * sizeof(float));
        return;
    }
    for (int64_t y = 0; y < s->from.h; y++)
        for (int64_t x = 0; x < w; x++)
            for (int64_t k = 0; k < c; k++) s->out[(y * w + x) * c + k] = s->in[(y * w + w - 1 - x) * c + k];
}

/* ---- random_erasing (Zhong et al. 2017) ---- */

typedef struct erasing_options {
    double p;
    double min_area, max_area, ratio, value;
} erasing_options;

static const pk_field erasing_fields[] = {
    {.name = "p",
     .type = PK_FLOAT,
     .offset = offsetof(erasing_options, p),
     .def = 0.25,
     .min = 0,
     .max = 1,
     .doc = "probability"},
    {.name = "min_area",
     .type = PK_FLOAT,
     .offset = offsetof(erasing_options, min_area),
     .def = 0.02,
     .min = 0,
     .max = 1,
     .doc = "smallest part of the picture"},
    {.name = "max_area",
     .type = PK_FLOAT,
     .offset = offsetof(erasing_options, max_area),
     .def = 1.0 / 3,
     .min = 0,
     .max = 1,
     .doc = "largest part of the picture"},
    {.name = "ratio",
     .type = PK_FLOAT,
     .offset = offsetof(erasing_options, ratio),
     .def = 0.3,
     .min = 0.01,
     .max = 1,
     .doc = "height by width lies between this and its inverse"},
    {.name = "value",
     .type = PK_FLOAT,
     .offset = offsetof(erasing_options, value),
     .def = 0,
     .min = -1e6,
     .max = 1e6,
     .doc = "what is put there"},
};

static pk_status erasing_infer(const void *options, pk_extent *e) {
    const erasing_options *o = options;
    (void)e;
    PK_RETURN_IF(o->min_area > o->max_area, PK_EINVAL, "random_erasing: min_area %g is above max_area %g", o->min_area,
                 o->max_area);
    return PK_OK;
}

enum { ERASING_TRIES = 10 };

static void erase(const pk_step *s, int64_t top, int64_t left, int64_t h, int64_t w, float value) {
    int64_t c = s->from.c;
    for (int64_t y = top; y < top + h; y++)
        for (int64_t i = (y * s->from.w + left) * c; i < (y * s->from.w + left + w) * c; i++) s->out[i] = value;
}

static void random_erasing(const pk_step *s) {
    const erasing_options *o = s->options;
    memcpy(s->out, s->in, (size_t)floats(&s->from) * sizeof(float));
    if ((double)pk_random_uniform(s->stream, 0) >= o->p) return;
    for (uint64_t i = 1; i <= ERASING_TRIES; i++) {
        double part = o->min_area + (o->max_area - o->min_area) * (double)pk_random_uniform(s->stream, 4 * i);
        double area = part * (double)(s->from.h * s->from.w);
        double ratio = exp(log(o->ratio) * (1 - 2 * (double)pk_random_uniform(s->stream, 4 * i + 1)));
        int64_t h = (int64_t)lround(sqrt(area * ratio)), w = (int64_t)lround(sqrt(area / ratio));
        if (h < 1 || w < 1 || h > s->from.h || w > s->from.w) continue;
        int64_t top = pk_random_below(s->stream, 4 * i + 2, (uint32_t)(s->from.h - h) + 1);
        int64_t left = pk_random_below(s->stream, 4 * i + 3, (uint32_t)(s->from.w - w) + 1);
        erase(s, top, left, h, w, (float)o->value);
        return;
    }
}

/* ---- the table ---- */

#define FIELDS(list) .fields = list, .nfields = sizeof(list) / sizeof *(list)

static const pk_transform_kind to_float_kind = {.name = "to_float", .doc = "bytes 0..255 to 0..1", .apply = to_float};
static const pk_transform_kind normalize_kind = {
    .name = "normalize", .doc = "(x - mean) / std by channel", .options_size = sizeof(normalize_options),
    FIELDS(normalize_fields), .infer = normalize_infer, .apply = normalize};
static const pk_transform_kind random_crop_kind = {.name = "random_crop",
                                                   .doc = "zeros around, then a window of `size` somewhere",
                                                   .options_size = sizeof(crop_options),
                                                   FIELDS(crop_fields),
                                                   .spatial = true,
                                                   .infer = crop_infer,
                                                   .apply = random_crop};
static const pk_transform_kind center_crop_kind = {
    .name = "center_crop", .doc = "the middle", .options_size = sizeof(crop_options), FIELDS(center_fields),
    .spatial = true, .infer = crop_infer, .apply = center_crop};
static const pk_transform_kind hflip_kind = {
    .name = "hflip", .doc = "left and right exchanged with probability p", .options_size = sizeof(chance_options),
    FIELDS(chance_fields), .spatial = true, .apply = hflip};
static const pk_transform_kind random_erasing_kind = {.name = "random_erasing",
                                                      .doc = "a rectangle wiped out with probability p",
                                                      .options_size = sizeof(erasing_options),
                                                      FIELDS(erasing_fields),
                                                      .spatial = true,
                                                      .infer = erasing_infer,
                                                      .apply = random_erasing};

static const pk_transform_kind *const kinds[] = {
    &center_crop_kind, &pk_transform_color_jitter, &pk_transform_corrupt, &hflip_kind, &normalize_kind,
    &random_crop_kind, &random_erasing_kind, &pk_transform_random_resized_crop, &pk_transform_resize, &to_float_kind,
};

const pk_transform_kind *pk_transform_at(int i) {
    return i >= 0 && i < (int)(sizeof kinds / sizeof *kinds) ? kinds[i] : NULL;
}

const pk_transform_kind *pk_transform_find(const char *name) {
    for (int i = 0; pk_transform_at(i); i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

pk_status pk_transform_new(const pk_transform_kind *kind, const void *options, pk_transform **out) {
    *out = NULL;
    PK_TRY(pk_schema_check(kind->name, kind->fields, kind->nfields, options));
    pk_transform *t = pk_alloc_zeroed(sizeof *t);
    void *copy = pk_alloc_zeroed((int64_t)kind->options_size);
    if (!t || !copy) {
        pk_free(t);
        pk_free(copy);
        return pk_no_memory((int64_t)kind->options_size);
    }
    if (kind->options_size > 0) memcpy(copy, options, kind->options_size);
    *t = (pk_transform){kind, copy};
    *out = t;
    return PK_OK;
}

void pk_transform_free(pk_transform *t) {
    if (!t) return;
    pk_free(t->options);
    pk_free(t);
}
