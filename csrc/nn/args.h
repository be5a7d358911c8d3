/* Calling ops from layers: parameters by name, so that a layer knows an op's contract and not its struct. */
#ifndef PK_NN_ARGS_H
#define PK_NN_ARGS_H

#include "gen/ops.h" /* pk_op_linear, ...: generated */
#include "nn/module.h"

typedef struct pk_args {
    const pk_op *op;
    _Alignas(16) char params[4096];
} pk_args;

/* The op's defaults; a seed field gets a fresh stream. */
void pk_args_begin(pk_args *a, const pk_op *op);
/* Set what pk_schema_set can. An unknown name is our own bug: it is remembered and pk_args_run reports it. */
void pk_args_set(pk_args *a, const char *name, double value);
/* Set every parameter whose name and type a field of the module's options has. */
void pk_args_copy(pk_args *a, const pk_module *m);
/* Run with the inputs (null for absent ones): one output. */
pk_status pk_args_run(pk_args *a, pk_tensor *const *in, int nin, pk_tensor **out);

/* All of it: the op of a layer, its parameters the layer's options of the same names. */
pk_status pk_run_layer(const pk_op *op, const pk_module *m, pk_tensor *const *in, int nin, pk_tensor **out);

/* op(x) with all defaults. */
pk_status pk_run1(const pk_op *op, pk_tensor *x, pk_tensor **out);
pk_status pk_run2(const pk_op *op, pk_tensor *x, pk_tensor *y, pk_tensor **out);

/* Making layers inside layers: options by name, likewise. */
typedef struct pk_options {
    const pk_class *cls;
    bool known;
    _Alignas(16) char values[4096];
} pk_options;

/* The class's defaults; then options by name. Unknown names are remembered and pk_options_make reports them. */
void pk_options_begin(pk_options *o, const pk_class *cls);
void pk_options_set(pk_options *o, const char *name, double value);
void pk_options_set_pair(pk_options *o, const char *name, int64_t h, int64_t w);
/* Make the layer as child `name` of m; child may be null. */
pk_status pk_options_make(const pk_options *o, pk_module *m, const char *name, pk_module **child);

#endif
