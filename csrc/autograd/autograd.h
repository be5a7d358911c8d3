/* The graph of what was computed, and the walk back through it. An output tensor owns the node that made it; a node
 * owns what its backward needs. There is no global tape. */
#ifndef PK_AUTOGRAD_AUTOGRAD_H
#define PK_AUTOGRAD_AUTOGRAD_H

#include "ops/op.h"

typedef struct pk_edge {
    struct pk_node *node; /* who made the input; null for a leaf */
    int output;
    pk_tensor *leaf;      /* a leaf that wants its gradient */
} pk_edge;

typedef struct pk_node {
    atomic_int refs;
    uint64_t number;          /* of creation: backward goes downward */
    pk_call call;             /* op, inputs (shape only where values are not needed), outputs, saved, needs */
    pk_edge edge[PK_MAX_IN];
    unsigned version[PK_MAX_IN], version_out[PK_MAX_OUT]; /* of the inputs' and outputs' storage when saved */
    bool released;            /* backward has been through */
    struct pk_node *next;     /* in a list of nodes to free, or of a walk */
    pk_tensor *dout[PK_MAX_OUT]; /* what has arrived during a walk */
    uint64_t walk;            /* the last walk that saw it */
} pk_node;

void pk_node_release(pk_node *node); /* null is fine; frees long chains without recursion */

/* One output, checked to be one: the common case of pk_apply. in ends at nin. */
pk_status pk_apply1(const pk_op *op, const void *params, pk_tensor *const *in, int nin, pk_tensor **out);

/* Somebody who is told of every op of this thread that went through, with the inputs as the caller gave them; when it
 * fails, so does the op. Returns who watched before; null ends it. */
typedef struct pk_trace {
    pk_status (*saw)(struct pk_trace *t, const pk_call *c, pk_tensor *const *in);
} pk_trace;
pk_trace *pk_apply_watch(pk_trace *t);

/* Counting instead of computing: until pk_count(null), ops of this thread check their arguments, add their multiply-adds to
 * *m and give hollow tensors, without looking at values. So any size costs next to nothing. No gradients flow. Returns
 * who counted before. */
pk_macs *pk_count(pk_macs *m);
const pk_macs *pk_counting(void); /* null: ops compute */
/* A tensor of that shape whose elements are all one zero in memory. */
pk_status pk_tensor_hollow(pk_dtype dtype, int ndim, const int64_t *shape, pk_tensor **out);

/* In-place writes by users: an error when t is part of a graph, or a leaf that wants gradients while they are on. */
pk_status pk_check_writable(const char *function, const pk_tensor *t);

#endif
