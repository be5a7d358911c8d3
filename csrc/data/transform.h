/* What is done to a picture on its way into a batch. A transform is a constant kind that describes itself (options by
 * schema) and the options given; a list of them is a pipeline. Every random choice is a pure function of
 * (seed, epoch, row, place in the pipeline), so a picture does not depend on threads, batch size or order.
 *
 * A picture is uint8 until a transform wants floats: geometry and colours work on bytes as Pillow does, to_float and
 * normalize make floats. Pictures that begin as floats stay floats. */
#ifndef PK_DATA_TRANSFORM_H
#define PK_DATA_TRANSFORM_H

#include <stdatomic.h>

#include "core/schema.h"
#include "core/tensor.h"
#include "data/resample.h"

#define PK_MAX_TRANSFORMS 16
#define PK_UNKNOWN (-1) /* a height or width that differs from picture to picture */

/* h and w are PK_UNKNOWN together, and only in plans: a picture in work has a size. */
typedef struct pk_extent {
    int64_t h, w, c;
    bool image; /* false: a row of c features, which only transforms by channel take */
    bool bytes; /* uint8, else float32 */
} pk_extent;

static inline int64_t pk_extent_values(const pk_extent *e) { return e->h * e->w * e->c; }
static inline int64_t pk_extent_bytes(const pk_extent *e) { return pk_extent_values(e) * (e->bytes ? 1 : 4); }

/* One transform of one picture, channels last. in and out never overlap. */
typedef struct pk_step {
    const void *options;
    pk_extent from, to;
    const void *in; /* uint8 where from.bytes, else float */
    void *out;      /* the same of to */
    void *scratch;  /* as many bytes as kind->scratch said */
    uint64_t stream; /* of this picture and this transform */
} pk_step;

typedef enum pk_takes { PK_TAKES_BOTH, PK_TAKES_FLOATS, PK_TAKES_BYTES } pk_takes;

typedef struct pk_transform_kind {
    const char *name, *doc;
    size_t options_size;
    const pk_field *fields;
    int nfields;
    bool spatial;   /* wants a picture */
    pk_takes takes; /* PK_TAKES_FLOATS: bytes become floats of the same values before */
    /* The extent that comes out of `e`, and whether the options fit it. May be null: the same. */
    pk_status (*infer)(const void *options, pk_extent *e);
    /* One of these two: what to do, or which part of the picture is resized (then a file need not be decoded whole). */
    void (*apply)(const pk_step *s);
    void (*cut)(const void *options, const pk_extent *from, uint64_t stream, pk_cut *cut);
    int64_t (*scratch)(const pk_extent *from, const pk_extent *to); /* bytes; may be null: none */
} pk_transform_kind;

typedef struct pk_transform {
    const pk_transform_kind *kind;
    void *options;
    atomic_int refs;
} pk_transform;

const pk_transform_kind *pk_transform_find(const char *name); /* null: none of that name */
const pk_transform_kind *pk_transform_at(int i); /* null past the end */
/* options: the kind's struct, checked here and copied. Immutable. */
pk_status pk_transform_new(const pk_transform_kind *kind, const void *options, pk_transform **out);
pk_transform *pk_transform_retain(pk_transform *t);
void pk_transform_release(pk_transform *t); /* null is fine */

extern const pk_transform_kind pk_transform_resize, pk_transform_random_resized_crop; /* resize.c */
extern const pk_transform_kind pk_transform_color_jitter;                             /* color.c */
extern const pk_transform_kind pk_transform_corrupt;                                  /* corrupt.c */
extern const pk_transform_kind pk_transform_rand_augment;                             /* rand_augment.c */
extern const pk_transform_kind pk_transform_random_erasing;                           /* erasing.c */
extern const pk_transform_kind pk_transform_center_crop, pk_transform_random_crop;    /* crop.c */
extern const pk_transform_kind pk_transform_hflip, pk_transform_to_float, pk_transform_normalize; /* pixels.c */

#endif
