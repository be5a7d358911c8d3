/* What is done to a picture on its way into a batch. A transform is a constant kind that describes itself (options by
 * schema) and the options given; a list of them is a pipeline. Every random choice is a pure function of
 * (seed, epoch, row, place in the pipeline), so a picture does not depend on threads, batch size or order. */
#ifndef PK_DATA_TRANSFORM_H
#define PK_DATA_TRANSFORM_H

#include "core/schema.h"
#include "core/tensor.h"

#define PK_MAX_TRANSFORMS 16

typedef struct pk_extent {
    int64_t h, w, c;
    bool image; /* false: a row of c features, which only transforms by channel take */
} pk_extent;

/* One transform of one picture: floats, channels last. in and out never overlap. */
typedef struct pk_step {
    const void *options;
    pk_extent from, to;
    const float *in;
    float *out;
    float *scratch;  /* as many floats as kind->scratch said */
    uint64_t stream; /* of this picture and this transform */
} pk_step;

typedef struct pk_transform_kind {
    const char *name, *doc;
    size_t options_size;
    const pk_field *fields;
    int nfields;
    bool spatial; /* wants a picture */
    /* The extent that comes out of `e`, and whether the options fit it. May be null: the same. */
    pk_status (*infer)(const void *options, pk_extent *e);
    void (*apply)(const pk_step *s);
    int64_t (*scratch)(const pk_extent *from, const pk_extent *to); /* may be null: none */
} pk_transform_kind;

typedef struct pk_transform {
    const pk_transform_kind *kind;
    void *options;
} pk_transform;

const pk_transform_kind *pk_transform_find(const char *name); /* null: none of that name */
const pk_transform_kind *pk_transform_at(int i); /* null past the end */
/* options: the kind's struct, checked here and copied. Immutable. */
pk_status pk_transform_new(const pk_transform_kind *kind, const void *options, pk_transform **out);
void pk_transform_free(pk_transform *t);

extern const pk_transform_kind pk_transform_resize, pk_transform_random_resized_crop; /* resize.c */
extern const pk_transform_kind pk_transform_color_jitter;                             /* color.c */
extern const pk_transform_kind pk_transform_corrupt;                                  /* corrupt.c */

#endif
