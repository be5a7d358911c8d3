/* What an op is: a constant that describes itself. One file ops/op_<name>.c exports `const pk_op pk_op_<name>` (or
 * several: see the registry rule below); make builds the registry from the file names, and the binding, the checks,
 * the documentation and autograd read the constant. A new op touches no other file.
 *
 * Registry rule: the generator greps every ops/op_*.c for lines that begin with `const pk_op pk_op_NAME = {`. */
#ifndef PK_OPS_OP_H
#define PK_OPS_OP_H

#include "core/schema.h"
#include "core/tensor.h"
#include "ops/macs.h"

#define PK_MAX_IN 16
#define PK_MAX_OUT 16
#define PK_MAX_SAVED 4

enum { /* pk_arg.flags */
    PK_OPTIONAL = 1,  /* may be absent (null) */
    PK_VARIADIC = 2,  /* last input: one or more of it */
    PK_NO_GRAD = 4,   /* gradients never flow to it */
    PK_LABELS = 8,    /* int32 (then never differentiable); without it, and without ANY_DTYPE: float32 */
    PK_ANY_DTYPE = 16,
    PK_ROWS = 32,     /* forward and backward accept channel slices (pk_is_rows); without it: a contiguous copy is made */
    PK_STRIDED = 64,  /* accepts any strides */
    PK_MAY_BE_LABELS = 128 /* float32 or int32 */
};

/* What values the checks may feed an input with. */
typedef enum pk_domain { PK_REAL, PK_POSITIVE, PK_CLASS, PK_PROBABILITY, PK_UNIT } pk_domain;
/* REAL: about -1..1; POSITIVE: 0.5..1.5; CLASS: labels 1..last dim of the first input; PROBABILITY: rows that sum to 1;
 * UNIT: 0..1 */

typedef struct pk_arg {
    const char *name;
    unsigned flags;
    pk_domain domain;
    const char *doc; /* shape and meaning: "{N,H,W,C}" */
} pk_arg;

typedef struct pk_meta {
    pk_dtype dtype;
    int ndim;
    int64_t shape[PK_MAX_DIMS];
} pk_meta;

/* One application of an op: what infer, forward and backward see. */
typedef struct pk_call {
    const pk_op *op;
    const void *params;           /* the op's parameter struct */
    int nin, nout;
    pk_tensor *in[PK_MAX_IN];     /* null where an optional input is absent */
    pk_meta meta[PK_MAX_OUT];     /* infer fills it, and nout */
    pk_tensor *out[PK_MAX_OUT];   /* made before forward from meta (contiguous, not initialised) */
    pk_tensor *saved[PK_MAX_SAVED]; /* forward makes what backward will want, if `keep`; released with the graph */
    bool keep;                    /* a backward may follow */
    bool needs[PK_MAX_IN];        /* whose gradient is wanted: valid in forward and backward */
    pk_tensor *dout[PK_MAX_OUT];  /* backward: gradients of the outputs, contiguous; null where none arrived */
    pk_tensor *target[PK_MAX_IN]; /* backward: where the gradient of input i may be written at once, or null */
    pk_tensor *din[PK_MAX_IN];    /* backward sets it for each needs[i]: pk_grad_like, or a retained dout */
} pk_call;

typedef struct pk_onnx pk_onnx; /* a graph that is being exported: ops/onnx.h */

struct pk_op {
    const char *name;
    const char *doc;         /* contract in a few lines: formula, shapes, source */
    size_t params_size;
    const pk_field *fields;
    int nfields;
    pk_arg args[PK_MAX_IN];  /* up to the first without a name */
    unsigned needs_in;       /* bit i: backward reads the values of input i (else only its shape is kept) */
    unsigned needs_out;      /* bit i: backward reads the values of output i */
    unsigned outputs_no_grad; /* bit i: no gradient flows from output i */
    /* Check shapes and parameters (the message names both shapes), fill meta and nout. */
    pk_status (*infer)(pk_call *c);
    /* Fill out[] (ops with is_view make out[0] themselves). */
    pk_status (*forward)(pk_call *c);
    /* null: a declared absence; going through it is an error that names the op. Views need none. */
    pk_status (*backward)(pk_call *c);
    bool is_view;            /* out[0] shares in[0]'s storage */
    /* The definition in plain double precision, written without any kernel: out[k] from in[k], contiguous, shapes in
     * c->in[] and c->meta[]. Labels arrive as doubles. Absent optional inputs are null. */
    void (*reference)(const pk_call *c, const double *const *in, double *const *out);
    void (*onnx)(pk_onnx *g, const pk_call *c); /* the same as ONNX nodes; null: it cannot be exported */
    /* Add forward's multiply-adds (macs.h); null: nothing that is counted. */
    pk_status (*macs)(const pk_call *c, pk_macs *m);
    /* Shapes and parameters to check, ugly ones first: "x:2x7x5x3 w:3x3x3 b:3 | stride=2 padding=0,1", null at the
     * end. An input that is left out is absent. Scalars: "x:" followed by a space. */
    const char *const *cases;
    double tolerance;        /* of forward against reference, relative to the largest value; 0: 1e-5 */
};

/* For backward: a contiguous tensor like in[i], as c->din[i], to be written in full. */
pk_status pk_grad_like(pk_call *c, int i);
/* For forward: a new float32 tensor of `count` elements, as c->saved[slot]. */
pk_status pk_save_floats(pk_call *c, int slot, int64_t count);

/* "linear: x" for messages: pk_fail(PK_EINVAL, "%s: ...", c->op->name). */
/* Expect ndim dimensions of in[i]; the message names op, input, given shape and the wanted form (args[i].doc). */
pk_status pk_want_ndim(const pk_call *c, int i, int ndim);
/* Expect in[i] to have exactly this shape. why: "one weight for each of x's 3 channels" or null. */
pk_status pk_want_shape(const pk_call *c, int i, int ndim, const int64_t *shape, const char *why);
/* Normalise a PK_DIM parameter against in[0]: 0 .. ndim-1. */
pk_status pk_want_dim(const pk_call *c, int64_t dim, int ndim, int *out);
void pk_out(pk_call *c, int i, pk_dtype dtype, int ndim, const int64_t *shape); /* set meta[i], nout = i+1 at least */
void pk_out_like(pk_call *c, int i, int input);                               /* float32, shape of in[input] */

/* The registry (generated). */
const pk_op *pk_op_at(int i); /* null past the end; sorted by name */

#endif
