/* What the ops share: argument checks whose messages name op, input and shapes, tensors for backward, the registry. */
#include "ops/op.h"

#include <string.h>

#include "core/checked.h"

extern const pk_op *const pk_op_registry[]; /* generated; null at the end */

static int op_count(void) {
    int n = 0;
    while (pk_op_registry[n]) n++;
    return n;
}

const pk_op *pk_op_at(int i) { return i >= 0 && i < op_count() ? pk_op_registry[i] : NULL; }

const pk_op *pk_op_find(const char *name) {
    for (int i = 0; pk_op_registry[i]; i++)
        if (strcmp(pk_op_registry[i]->name, name) == 0) return pk_op_registry[i];
    return NULL;
}

pk_status pk_grad_like(pk_call *c, int i) {
    if (c->target[i]) {
        c->din[i] = pk_tensor_retain(c->target[i]);
        return PK_OK;
    }
    return pk_tensor_new(PK_FLOAT32, c->in[i]->ndim, c->in[i]->shape, &c->din[i]);
}

pk_status pk_save_floats(pk_call *c, int slot, int64_t count) {
    return pk_tensor_new(PK_FLOAT32, 1, &count, &c->saved[slot]);
}

/* The argument that describes input i: the last one for the rest of a variadic list. */
static const pk_arg *arg_of(const pk_call *c, int i) {
    while (i > 0 && !c->op->args[i].name) i--;
    return &c->op->args[i];
}

pk_status pk_want_ndim(const pk_call *c, int i, int ndim) {
    const pk_tensor *t = c->in[i];
    const pk_arg *arg = arg_of(c, i);
    PK_RETURN_IF(t->ndim != ndim, PK_EINVAL, "%s: %s has shape %s, %d dimensions are wanted (%s)", c->op->name,
                 arg->name, pk_shape_text(t), ndim, arg->doc ? arg->doc : "");
    return PK_OK;
}

pk_status pk_want_shape(const pk_call *c, int i, int ndim, const int64_t *shape, const char *why) {
    const pk_tensor *t = c->in[i];
    bool same = t->ndim == ndim;
    for (int d = 0; same && d < ndim; d++) same = t->shape[d] == shape[d];
    PK_RETURN_IF(!same, PK_EINVAL, "%s: %s has shape %s, %s is wanted%s%s%s (%s is %s)", c->op->name,
                 arg_of(c, i)->name, pk_shape_text(t), pk_dims_text(ndim, shape), why ? " (" : "", why ? why : "",
                 why ? ")" : "", arg_of(c, 0)->name, pk_shape_text(c->in[0]));
    return PK_OK;
}

pk_status pk_want_dim(const pk_call *c, int64_t dim, int ndim, int *out) {
    int64_t d = dim < 0 ? dim + ndim : dim;
    PK_RETURN_IF(d < 0 || d >= ndim, PK_EINVAL, "%s: dimension %lld (counted from 0) of %s, which has %d dimensions",
                 c->op->name, (long long)dim, pk_shape_text(c->in[0]), ndim);
    *out = (int)d;
    return PK_OK;
}

void pk_out(pk_call *c, int i, pk_dtype dtype, int ndim, const int64_t *shape) {
    c->meta[i].dtype = dtype;
    c->meta[i].ndim = ndim;
    for (int d = 0; d < ndim; d++) c->meta[i].shape[d] = shape[d];
    if (c->nout <= i) c->nout = i + 1;
}

void pk_out_like(pk_call *c, int i, int input) { pk_out(c, i, PK_FLOAT32, c->in[input]->ndim, c->in[input]->shape); }
