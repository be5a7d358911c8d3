/* Windows of a picture at its own scale. */
#include <string.h>

#include "core/checked.h"
#include "core/rng.h"
#include "data/transform.h"

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
    if (e->h == PK_UNKNOWN && (o->size[0] == 0 || o->size[1] == 0)) return PK_OK;
    int64_t h = o->size[0] ? o->size[0] : e->h, w = o->size[1] ? o->size[1] : e->w;
    PK_RETURN_IF(e->h != PK_UNKNOWN && (h > e->h + 2 * o->padding[0] || w > e->w + 2 * o->padding[1]), PK_EINVAL,
                 "crop of %lld x %lld from a picture of %lld x %lld with padding %lld, %lld", (long long)h,
                 (long long)w, (long long)e->h, (long long)e->w, (long long)o->padding[0], (long long)o->padding[1]);
    e->h = h;
    e->w = w;
    return PK_OK;
}

/* The window of out's size whose corner is at (top, left) of in; zeros outside. */
static void crop(const pk_step *s, int64_t top, int64_t left) {
    int64_t pixel = s->from.c * (s->from.bytes ? 1 : (int64_t)sizeof(float));
    const uint8_t *in = s->in;
    for (int64_t y = 0; y < s->to.h; y++) {
        uint8_t *row = (uint8_t *)s->out + y * s->to.w * pixel;
        int64_t from_y = y + top, x0 = pk_max(0, -left), x1 = pk_min(s->to.w, s->from.w - left);
        if (from_y < 0 || from_y >= s->from.h || x1 <= x0) {
            memset(row, 0, (size_t)(s->to.w * pixel));
            continue;
        }
        memset(row, 0, (size_t)(x0 * pixel));
        memcpy(row + x0 * pixel, in + (from_y * s->from.w + left + x0) * pixel, (size_t)((x1 - x0) * pixel));
        memset(row + x1 * pixel, 0, (size_t)((s->to.w - x1) * pixel));
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

#define FIELDS(list) .fields = list, .nfields = sizeof(list) / sizeof *(list)

const pk_transform_kind pk_transform_random_crop = {
    .name = "random_crop", .doc = "zeros around, then a window of `size` somewhere",
    .options_size = sizeof(crop_options), FIELDS(crop_fields), .spatial = true, .infer = crop_infer,
    .apply = random_crop};
const pk_transform_kind pk_transform_center_crop = {
    .name = "center_crop", .doc = "the middle", .options_size = sizeof(crop_options), FIELDS(center_fields),
    .spatial = true, .infer = crop_infer, .apply = center_crop};
