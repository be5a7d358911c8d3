/* The transforms that resize: the whole picture, or a part of it drawn at random. Each says which part (a cut); the
 * pipeline resamples it, and of a file decodes no more than that. */
#include <math.h>

#include "core/checked.h"
#include "core/rng.h"
#include "data/transform.h"

#define FIELDS(list) .fields = list, .nfields = sizeof(list) / sizeof *(list)

/* ---- resize ---- */

typedef struct resize_options {
    int64_t size[2];
    bool keep_ratio;
    int interpolation;
} resize_options;

static const pk_field resize_fields[] = {
    {.name = "size", .type = PK_PAIR, .offset = offsetof(resize_options, size), .required = true, .min = 1,
     .max = 65536, .doc = "{height, width}"},
    {.name = "keep_ratio", .type = PK_BOOL, .offset = offsetof(resize_options, keep_ratio), .def = 0,
     .doc = "the smallest size of the picture's own proportions that covers `size`; a crop follows as a rule"},
    {.name = "interpolation", .type = PK_ENUM, .offset = offsetof(resize_options, interpolation), .def = PK_BILINEAR,
     .choices = PK_FILTERS, .doc = "filter; as wide as the reduction (antialiased)"},
};

static pk_status resize_infer(const void *options, pk_extent *e) {
    const resize_options *o = options;
    int64_t h = o->size[0], w = o->size[1];
    if (o->keep_ratio) {
        if (e->h == PK_UNKNOWN || e->h == 0 || e->w == 0) return PK_OK;
        if (h * e->w > w * e->h) /* the height decides */
            w = pk_max(w, (int64_t)((double)(h * e->w) / (double)e->h));
        else
            h = pk_max(h, (int64_t)((double)(w * e->h) / (double)e->w));
        PK_RETURN_IF(h > 65536 || w > 65536, PK_EINVAL, "resize: %lld x %lld becomes %lld x %lld, more than 65536",
                     (long long)e->h, (long long)e->w, (long long)h, (long long)w);
    }
    e->h = h;
    e->w = w;
    return PK_OK;
}

static void resize_cut(const void *options, const pk_extent *from, uint64_t stream, pk_cut *cut) {
    const resize_options *o = options;
    (void)stream;
    *cut = (pk_cut){{0, 0, (double)from->h, (double)from->w}, (pk_filter)o->interpolation};
}

const pk_transform_kind pk_transform_resize = {
    .name = "resize", .doc = "the whole picture at another size", .options_size = sizeof(resize_options),
    FIELDS(resize_fields), .spatial = true, .infer = resize_infer, .cut = resize_cut};

/* ---- random_resized_crop ---- */

typedef struct random_options {
    int64_t size[2];
    pk_floats scale, ratio;
    int interpolation;
} random_options;

static const pk_field random_fields[] = {
    {.name = "size", .type = PK_PAIR, .offset = offsetof(random_options, size), .required = true, .min = 1,
     .max = 65536, .doc = "{height, width}"},
    {.name = "scale", .type = PK_FLOATS, .offset = offsetof(random_options, scale), .def = 0.08, .min = 1e-4, .max = 1,
     .doc = "{least, most} part of the picture's area; one number: from it to 1"},
    {.name = "ratio", .type = PK_FLOATS, .offset = offsetof(random_options, ratio), .def = 0.75, .min = 0.01,
     .max = 100, .doc = "{least, most} width by height; one number: from it to its inverse"},
    {.name = "interpolation", .type = PK_ENUM, .offset = offsetof(random_options, interpolation), .def = PK_BILINEAR,
     .choices = PK_FILTERS, .doc = "filter; as wide as the reduction (antialiased)"},
};

static void bounds(const pk_floats *list, double last, double *low, double *high) {
    *low = list->n > 0 ? (double)list->v[0] : last;
    *high = list->n > 1 ? (double)list->v[1] : last;
}

static pk_status random_infer(const void *options, pk_extent *e) {
    const random_options *o = options;
    double low, high;
    bounds(&o->scale, 1, &low, &high);
    PK_RETURN_IF(o->scale.n > 2 || low > high, PK_EINVAL, "random_resized_crop: scale must be {least, most}");
    bounds(&o->ratio, o->ratio.n > 0 ? 1 / (double)o->ratio.v[0] : 1, &low, &high);
    PK_RETURN_IF(o->ratio.n > 2 || low > high, PK_EINVAL, "random_resized_crop: ratio must be {least, most}");
    e->h = o->size[0];
    e->w = o->size[1];
    return PK_OK;
}

enum { CROP_TRIES = 10 };

/* The largest centred part within the bounds of the ratio. */
static pk_rect fallback(const pk_extent *from, double least, double most) {
    double h = (double)from->h, w = (double)from->w, ratio = w / h;
    if (ratio < least) h = round(w / least);
    if (ratio > most) w = round(h * most);
    h = fmax(1, fmin(h, (double)from->h));
    w = fmax(1, fmin(w, (double)from->w));
    return (pk_rect){floor(((double)from->h - h) / 2), floor(((double)from->w - w) / 2), h, w};
}

/* Ten tries at a rectangle that fits, as torchvision and timm do. */
static void random_cut(const void *options, const pk_extent *from, uint64_t stream, pk_cut *cut) {
    const random_options *o = options;
    double least, most, narrow, wide;
    bounds(&o->scale, 1, &least, &most);
    bounds(&o->ratio, o->ratio.n > 0 ? 1 / (double)o->ratio.v[0] : 1, &narrow, &wide);
    cut->filter = (pk_filter)o->interpolation;
    for (uint64_t i = 0; i < CROP_TRIES; i++) {
        double part = least + (most - least) * (double)pk_random_uniform(stream, 4 * i);
        double area = part * (double)(from->h * from->w);
        double ratio = exp(log(narrow) + (log(wide) - log(narrow)) * (double)pk_random_uniform(stream, 4 * i + 1));
        int64_t w = (int64_t)lround(sqrt(area * ratio)), h = (int64_t)lround(sqrt(area / ratio));
        if (h < 1 || w < 1 || h > from->h || w > from->w) continue;
        int64_t top = pk_random_below(stream, 4 * i + 2, (uint32_t)(from->h - h) + 1);
        int64_t left = pk_random_below(stream, 4 * i + 3, (uint32_t)(from->w - w) + 1);
        cut->box = (pk_rect){(double)top, (double)left, (double)h, (double)w};
        return;
    }
    cut->box = fallback(from, narrow, wide);
}

const pk_transform_kind pk_transform_random_resized_crop = {
    .name = "random_resized_crop", .doc = "a rectangle of random area and shape, resized",
    .options_size = sizeof(random_options), FIELDS(random_fields), .spatial = true, .infer = random_infer,
    .cut = random_cut};
