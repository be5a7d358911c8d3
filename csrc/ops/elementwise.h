/* Maps of one or two tensors, element by element, on all threads; broadcasting, and its reverse for gradients. */
#ifndef PK_OPS_ELEMENTWISE_H
#define PK_OPS_ELEMENTWISE_H

#include "kernels/kernels.h"
#include "ops/op.h"

typedef void pk_map1(int64_t n, const float *x, float *y);
typedef void pk_map2(int64_t n, const float *a, const float *b, float *y);

/* f over n packed elements, in chunks. */
void pk_map1_run(pk_map1 *f, const float *x, float *y, int64_t n);
void pk_map2_run(pk_map2 *f, const float *a, const float *b, float *y, int64_t n);
/* y packed of the given shape, a and b packed and broadcast to it. */
void pk_broadcast_run(pk_map2 *f, const pk_tensor *a, const pk_tensor *b, int ndim, const int64_t *shape, float *y);

/* out (packed, of the shape of `like`) = the sum of g (packed) over the dimensions that broadcasting stretched. */
pk_status pk_unbroadcast(const float *g, int ndim, const int64_t *shape, const pk_tensor *like, float *out);

/* For references: the place in a tensor of shape `small`, broadcast, of element i of `shape`. */
int64_t pk_broadcast_place(int64_t i, int ndim, const int64_t *shape, int small_ndim, const int64_t *small);

#endif
