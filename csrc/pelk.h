/* pelk: large-kernel ConvNets on CPUs. The one public C header.
 *
 * Every function that can fail returns a pk_status and leaves a message for pk_message(); the library never
 * prints, exits, aborts or raises. Images are NHWC. Dimensions count from 0 in C (from 1 in Lua); class labels
 * are 1..num_classes everywhere. */
#ifndef PELK_H
#define PELK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PELK_VERSION "0.1.0"
#define PK_MAX_DIMS 6

/* What a call came to. PK_EINVAL is wrong use (the binding raises it); PK_EIO and PK_EFORMAT are failures from
 * outside: files, formats (the binding returns nil, message). */
typedef enum pk_status { PK_OK, PK_EINVAL, PK_ENOMEM, PK_EIO, PK_EFORMAT, PK_EINTERRUPTED } pk_status;

typedef enum pk_dtype { PK_FLOAT32, PK_INT32, PK_UINT8 } pk_dtype;

typedef struct pk_tensor pk_tensor; /* reference-counted strided view of reference-counted storage */
typedef struct pk_op pk_op;         /* a differentiable operation, described by a constant (ops/op.h) */
typedef struct pk_module pk_module; /* a node of a network's tree (nn/module.h) */

typedef struct pk_memory {
    int64_t live;        /* bytes handed out and not yet freed */
    int64_t peak;        /* largest live since the start or the last pk_memory_reset_peak */
    int64_t pooled;      /* bytes kept for reuse */
    int64_t system_calls; /* times the system allocator was asked: constant in a steady training step */
} pk_memory;

/* ---- library ---- */
const char *pk_message(void);            /* why the last call of this thread failed */
pk_memory pk_memory_stats(void);
int pk_threads(void);                    /* workers in use, the caller counted */
pk_status pk_set_threads(int n);         /* 1..256; results do not depend on it */
const char *pk_isa(void);                /* kernel set in use: ref, generic, avx2, avx512, neon */
pk_status pk_set_isa(const char *name);  /* PK_EINVAL if unknown or not supported by machine and OS */
void pk_manual_seed(uint64_t seed);

/* ---- tensors ---- */
pk_status pk_tensor_new(pk_dtype dtype, int ndim, const int64_t *shape, pk_tensor **out); /* not initialised */
pk_tensor *pk_tensor_retain(pk_tensor *t);
void pk_tensor_release(pk_tensor *t);    /* null is fine */
int pk_tensor_ndim(const pk_tensor *t);
const int64_t *pk_tensor_shape(const pk_tensor *t);
float *pk_tensor_floats(const pk_tensor *t); /* float32 data of a contiguous tensor, else null */

/* ---- operations ---- */
const pk_op *pk_op_find(const char *name);
/* Run op on in[0..nin) (null for an absent optional input) with its parameter struct (null: all defaults);
 * records the graph when gradients are on. out[] receives new references, *nout their number. */
pk_status pk_apply(const pk_op *op, const void *params, pk_tensor *const *in, int nin, pk_tensor **out, int *nout);
pk_status pk_backward(pk_tensor *t, pk_tensor *gradient);
bool pk_set_grad_enabled(bool on);       /* returns what it was */
bool pk_grad_enabled(void);

#endif
