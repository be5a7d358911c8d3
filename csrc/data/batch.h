/* Batches: rows of a data set through a pipeline into one float32 tensor, the order of an epoch, rows of labels. */
#ifndef PK_DATA_BATCH_H
#define PK_DATA_BATCH_H

#include "data/transform.h"

typedef struct pk_pipeline {
    const pk_transform *step[PK_MAX_TRANSFORMS];
    int count;
} pk_pipeline;

/* What comes out for rows of `shape` ({N,H,W,C} is a picture, other shapes are features, the last dimension the
 * channels). The message names the transform that does not fit. */
pk_status pk_pipeline_infer(const pk_pipeline *p, int ndim, const int64_t *shape, pk_extent *out);

/* Rows (from 1, any order) of x, contiguous uint8 or float32, through the pipeline to float32 {count, ...}. */
pk_status pk_batch(const pk_tensor *x, const int32_t *row, int64_t count, const pk_pipeline *p, uint64_t seed,
                   uint64_t epoch, pk_tensor **out);
/* Rows of y as they are, any dtype. */
pk_status pk_batch_rows(const pk_tensor *y, const int32_t *row, int64_t count, pk_tensor **out);

/* int32 {n}: rows 1 .. n, or those in `subset` (int32 {n}), in the order of that epoch. */
pk_status pk_epoch_order(int64_t n, const pk_tensor *subset, bool shuffle, uint64_t seed, uint64_t epoch,
                         pk_tensor **out);

#endif
