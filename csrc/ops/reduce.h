/* Reduction over any set of dimensions: the shape is seen as runs of dimensions that are all kept or all reduced. */
#ifndef PK_OPS_REDUCE_H
#define PK_OPS_REDUCE_H

#include "kernels/kernels.h"
#include "ops/op.h"

typedef struct pk_reduction {
    int n;                        /* runs, alternately kept and reduced */
    int64_t size[PK_MAX_DIMS];
    bool reduced[PK_MAX_DIMS];
    int64_t kept, count;          /* results; elements a result */
} pk_reduction;

/* reduced[d]: dimension d goes. */
void pk_reduction_of(int ndim, const int64_t *shape, const bool *reduced, pk_reduction *r);
/* First element of result k, and the distance of its element number i from that. */
int64_t pk_reduction_base(const pk_reduction *r, int64_t k);
int64_t pk_reduction_step(const pk_reduction *r, int64_t i);

/* out[kept] = factor * the sums of x (packed), in double, the same for any number of threads. */
pk_status pk_reduce_sum(const pk_reduction *r, const float *x, double factor, float *out);
/* y (packed, the whole shape) = factor * g[kept] spread over the reduced elements. */
void pk_reduce_spread(const pk_reduction *r, const float *g, float factor, float *y);

/* Parameters of sum, mean, var, max, min: which dimensions, from 0, -1 the last; empty: all. */
typedef struct pk_reduce_params {
    pk_ints dim;
    bool keepdim, unbiased;
} pk_reduce_params;
/* reduced[] from in[0] and dim; out 0 gets the resulting shape. */
pk_status pk_reduce_infer(pk_call *c, const pk_ints *dim, bool keepdim, bool reduced[PK_MAX_DIMS]);

#endif
