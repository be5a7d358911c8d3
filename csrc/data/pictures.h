/* Where pictures come from, and how one of them is made: rows of a tensor, or files that are decoded. */
#ifndef PK_DATA_PICTURES_H
#define PK_DATA_PICTURES_H

#include "data/transform.h"

/* A list of files, as a data set of folders has it. Immutable. */
typedef struct pk_files {
    atomic_int refs;
    int64_t count;
    char *text;     /* the paths, one zero after each */
    int64_t *begin; /* of each in text */
    pk_image_options options;
} pk_files;

/* paths: count strings, copied. */
pk_status pk_files_new(int64_t count, const char *const *paths, const pk_image_options *options, pk_files **out);
pk_files *pk_files_retain(pk_files *files);
void pk_files_release(pk_files *files); /* null is fine */
static inline const char *pk_files_path(const pk_files *f, int64_t i) { return f->text + f->begin[i]; }

/* One of the two. */
typedef struct pk_pictures {
    const pk_tensor *x;
    const pk_files *files;
} pk_pictures;

typedef struct pk_pipeline {
    const pk_transform *step[PK_MAX_TRANSFORMS];
    int count;
} pk_pipeline;

/* Everything that makes row i of the data set a picture of a batch. */
typedef struct pk_recipe {
    pk_pictures from;
    pk_pipeline pipeline;
    bool bytes;      /* the result is uint8; else float32 */
    uint64_t stream; /* of seed and epoch */
    pk_extent out;   /* what comes out, by pk_recipe_infer */
} pk_recipe;

int64_t pk_pictures_count(const pk_pictures *p);
/* Check that the pipeline fits the pictures and set r->out. Rows of a tensor {N,H,W,C} are pictures, those of other
 * shapes features, the last dimension the channels. Pictures of files must all come out at one size. The message names
 * the transform that does not fit. */
pk_status pk_recipe_infer(pk_recipe *r);
/* The stream of an epoch. */
uint64_t pk_recipe_stream(uint64_t seed, uint64_t epoch);

/* Memory that a worker keeps from picture to picture. Zeroed: empty. */
typedef struct pk_picture_work {
    pk_scratch side[2], scratch, file;
    pk_image_work image;
} pk_picture_work;
void pk_picture_work_free(pk_picture_work *work);

/* Row `row` (from 0, in range) to out, {h,w,c} of r->out. Pure but for the work memory. */
pk_status pk_picture_make(const pk_recipe *r, int64_t row, void *out, pk_picture_work *work);
/* A file as it is: uint8 {h,w,c}, upright. */
pk_status pk_picture_decode(const pk_files *files, int64_t row, pk_tensor **out);

#endif
