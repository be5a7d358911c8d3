/* Tensors: reference-counted storage and strided views of it. No arithmetic here: that is ops/. */
#ifndef PK_CORE_TENSOR_H
#define PK_CORE_TENSOR_H

#include <stdatomic.h>

#include "core/status.h"

struct pk_node; /* autograd/autograd.h */

typedef struct pk_storage {
    atomic_int refs;
    atomic_uint version; /* counts writes in place: backward refuses what changed after it was saved */
    int64_t bytes;
    void *data;
    void *owner; /* of an arena: who laid it out (train/params.h), for those who find it through a tensor; or null */
    void (*drop)(void *lender); /* data is not ours: give it back to its lender; or null */
    void *lender;
} pk_storage;

struct pk_tensor {
    atomic_int refs;
    pk_dtype dtype;
    int ndim;
    int64_t shape[PK_MAX_DIMS];
    int64_t stride[PK_MAX_DIMS]; /* in elements; 0 where expanded */
    int64_t offset;              /* first element in storage */
    pk_storage *storage;         /* null: a shape without data */
    bool requires_grad;          /* a leaf whose gradient is wanted */
    pk_tensor *grad;             /* of a leaf: contiguous, same shape, or null */
    bool stale;                  /* a gradient that counts as zeros: what lies there is old. Read by pk_tensor_grad */
    pk_tensor *mask;             /* of a leaf: uint8, contiguous, same shape: 0 where the value is held at zero; or null */
    struct pk_node *node;        /* what computed it, if gradients flow through; the tensor owns one reference */
    void (*release_node)(struct pk_node *); /* set with node: the core knows nothing of autograd */
    int node_output;             /* which output of that node it is */
};

int64_t pk_numel(const pk_tensor *t);       /* elements: the product of the shape, 1 of ndim 0 */
int64_t pk_dtype_size(pk_dtype dtype);      /* bytes of an element */
const char *pk_dtype_name(pk_dtype dtype); /* "float32", "int32", "uint8" */
bool pk_dtype_parse(const char *name, pk_dtype *out);

/* Pointers to the first element. The dtype is the caller's promise. */
float *pk_f32(const pk_tensor *t);
int32_t *pk_i32(const pk_tensor *t);
uint8_t *pk_u8(const pk_tensor *t);
void *pk_bytes(const pk_tensor *t); /* of any dtype */

/* "{2,3,4}": in one of eight buffers of the thread, for messages. */
const char *pk_shape_text(const pk_tensor *t);
const char *pk_dims_text(int ndim, const int64_t *shape);

bool pk_same_shape(const pk_tensor *a, const pk_tensor *b);
bool pk_is_contiguous(const pk_tensor *t); /* elements one behind the other in the order of indices */
/* Channels contiguous and all other dimensions one regular run of pixels: then *pixel_stride is the distance of
 * two pixels in elements. True of contiguous tensors and of channel slices of them. Scalars: 1 pixel, 1 channel. */
bool pk_is_rows(const pk_tensor *t, int64_t *pixel_stride);

/* Contiguous tensors of their own memory. PK_EINVAL for shapes too large, PK_ENOMEM. */
pk_status pk_tensor_zeros(pk_dtype dtype, int ndim, const int64_t *shape, pk_tensor **out);
pk_status pk_tensor_like(const pk_tensor *t, pk_tensor **out); /* same dtype and shape, contiguous, not initialised */
pk_status pk_tensor_scalar(float value, pk_tensor **out);      /* ndim 0 */
/* Contiguous, of memory that belongs to someone else: drop(lender) once the last tensor that sees it is gone. On failure
 * it is not called. */
pk_status pk_tensor_borrow(pk_dtype dtype, int ndim, const int64_t *shape, void *data, void (*drop)(void *lender),
                           void *lender, pk_tensor **out);
/* A shape without data (storage null). */
pk_status pk_tensor_shape_only(const pk_tensor *t, pk_tensor **out);
/* Same storage, another window on it; the graph does not see it. offset counts from t's first element. */
pk_status pk_tensor_window(const pk_tensor *t, int ndim, const int64_t *shape, const int64_t *stride, int64_t offset,
                           pk_tensor **out);
pk_status pk_tensor_alias(const pk_tensor *t, pk_tensor **out); /* the same window: a detached twin */
/* t itself (one more reference) when contiguous, else a packed copy. */
pk_status pk_tensor_contiguous(pk_tensor *t, pk_tensor **out);
/* dst[...] = src[...], broadcasting src to dst's shape and converting the dtype; any strides.
 * uint8 and int32 take floats rounded toward zero and clamped. Counts as a write in place. */
pk_status pk_tensor_copy(pk_tensor *dst, const pk_tensor *src);
/* dst[...] += src[...] for float32 of equal shape; any strides, dst may be expanded (then sums). */
pk_status pk_tensor_accumulate(pk_tensor *dst, const pk_tensor *src);
pk_status pk_tensor_fill(pk_tensor *t, double value);
double pk_tensor_get(const pk_tensor *t, const int64_t *index); /* one element as a number; index in range */
/* A leaf's gradient for whoever reads it, or null: a stale one becomes the zeros that it counts as. */
pk_tensor *pk_tensor_grad(pk_tensor *leaf);
void pk_tensor_written(pk_tensor *t); /* note a write in place */

/* Make t see another window of storage (arenas): same shape, contiguous, its values already there. */
void pk_tensor_rebase(pk_tensor *t, pk_storage *storage, int64_t offset);

/* Broadcast two shapes (trailing dimensions aligned). False when they do not fit. */
bool pk_broadcast(int na, const int64_t *a, int nb, const int64_t *b, int *ndim, int64_t *shape);

#endif
