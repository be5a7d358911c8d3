/* Running an op: check the arguments, infer, make outputs, forward, and a node when gradients may flow. */
#include <stddef.h>
#include <string.h>

#include "autograd/node.h"
#include "core/alloc.h"
#include "core/interrupt.h"

static _Thread_local bool grad_enabled = true;
static _Thread_local pk_macs *counting;

static _Thread_local pk_trace *trace;

pk_trace *pk_apply_watch(pk_trace *t) {
    pk_trace *was = trace;
    trace = t;
    return was;
}

pk_macs *pk_count(pk_macs *m) {
    pk_macs *was = counting;
    counting = m;
    return was;
}

const pk_macs *pk_counting(void) { return counting; }

bool pk_grad_enabled(void) { return grad_enabled; }
bool pk_set_grad_enabled(bool on) {
    bool was = grad_enabled;
    grad_enabled = on;
    return was;
}

static const pk_arg *arg_at(const pk_op *op, int i) {
    const pk_arg *last = NULL;
    for (int a = 0; a < PK_MAX_IN && op->args[a].name; a++) {
        if (a == i) return &op->args[a];
        last = &op->args[a];
    }
    return last && (last->flags & PK_VARIADIC) ? last : NULL;
}

static const char *wanted_dtype(const pk_arg *arg) {
    return arg->flags & PK_LABELS ? "int32" : arg->flags & PK_MAY_BE_LABELS ? "float32 or int32" : "float32";
}

static bool dtype_fits(const pk_arg *arg, pk_dtype dtype) {
    if (arg->flags & PK_ANY_DTYPE) return true;
    if (arg->flags & PK_LABELS) return dtype == PK_INT32;
    return dtype == PK_FLOAT32 || (dtype == PK_INT32 && (arg->flags & PK_MAY_BE_LABELS));
}

static bool wants_grad(const pk_tensor *t, const pk_arg *arg) {
    return t->dtype == PK_FLOAT32 && !(arg->flags & PK_NO_GRAD) && (t->requires_grad || t->node);
}

/* Check input i and put it, packed if the op needs that, into the call (which then owns a reference). */
static pk_status take_input(pk_call *c, pk_tensor *t, int i) {
    const pk_arg *arg = arg_at(c->op, i);
    PK_RETURN_IF(!arg, PK_EINVAL, "%s: too many inputs, got %d", c->op->name, c->nin);
    if (!t) {
        PK_RETURN_IF(!(arg->flags & PK_OPTIONAL), PK_EINVAL, "%s: %s (a tensor %s) is missing", c->op->name, arg->name,
                     arg->doc ? arg->doc : "");
        return PK_OK;
    }
    PK_RETURN_IF(!t->storage, PK_EINVAL, "%s: %s has no data", c->op->name, arg->name);
    PK_RETURN_IF(!dtype_fits(arg, t->dtype), PK_EINVAL, "%s: %s must be %s, got %s %s", c->op->name, arg->name,
                 wanted_dtype(arg), pk_dtype_name(t->dtype), pk_shape_text(t));
    c->needs[i] = grad_enabled && !counting && wants_grad(t, arg);
    int64_t stride;
    bool as_is = counting || (arg->flags & PK_STRIDED) || ((arg->flags & PK_ROWS) && pk_is_rows(t, &stride));
    if (as_is) {
        c->in[i] = pk_tensor_retain(t);
        return PK_OK;
    }
    return pk_tensor_contiguous(t, &c->in[i]);
}

static pk_status take_inputs(pk_call *c, pk_tensor *const *in, int nin) {
    PK_RETURN_IF(nin > PK_MAX_IN, PK_EINVAL, "%s: at most %d inputs, got %d", c->op->name, PK_MAX_IN, nin);
    c->nin = nin;
    for (int i = 0; i < nin; i++) PK_TRY(take_input(c, in[i], i));
    for (int i = nin; i < PK_MAX_IN && c->op->args[i].name; i++) PK_TRY(take_input(c, NULL, i)); /* required ones? */
    return PK_OK;
}

static pk_status make_outputs(pk_call *c) {
    PK_RETURN_IF(c->nout < 1 || c->nout > PK_MAX_OUT, PK_EINVAL, "%s: %d outputs (at most %d)", c->op->name, c->nout,
                 PK_MAX_OUT);
    for (int i = 0; i < c->nout && !c->op->is_view; i++)
        PK_TRY(pk_tensor_new(c->meta[i].dtype, c->meta[i].ndim, c->meta[i].shape, &c->out[i]));
    return PK_OK;
}

static void release_list(pk_tensor **list, int n) {
    for (int i = 0; i < n; i++) {
        pk_tensor_release(list[i]);
        list[i] = NULL;
    }
}

static pk_status attach_node(pk_call *c, pk_tensor *const *origin) {
    pk_node *node;
    PK_TRY(pk_node_new(c, origin, &node));
    for (int i = 0; i < c->nout; i++) {
        if (c->op->outputs_no_grad >> i & 1) continue;
        atomic_fetch_add(&node->refs, 1);
        c->out[i]->node = node;
        c->out[i]->node_output = i;
        c->out[i]->release_node = pk_node_release;
    }
    pk_node_release(node);
    return PK_OK;
}

pk_status pk_tensor_hollow(pk_dtype dtype, int ndim, const int64_t *shape, pk_tensor **out) {
    const int64_t stride[PK_MAX_DIMS] = {0};
    pk_tensor *one;
    *out = NULL;
    PK_TRY(pk_tensor_zeros(dtype, 0, NULL, &one));
    pk_status status = pk_tensor_window(one, ndim, shape, stride, 0, out);
    pk_tensor_release(one);
    return status;
}

/* While counting, this is all that an op does. */
static pk_status count_call(pk_call *c) {
    if (c->op->macs) PK_TRY(c->op->macs(c, counting));
    for (int i = 0; i < c->nout; i++)
        PK_TRY(pk_tensor_hollow(c->meta[i].dtype, c->meta[i].ndim, c->meta[i].shape, &c->out[i]));
    return PK_OK;
}

static pk_status run(pk_call *c, pk_tensor *const *in, int nin) {
    PK_TRY(pk_schema_check(c->op->name, c->op->fields, c->op->nfields, c->params));
    PK_TRY(take_inputs(c, in, nin));
    for (int i = 0; i < nin; i++) c->keep |= c->needs[i];
    PK_RETURN_IF(c->keep && !c->op->backward && !c->op->is_view, PK_EINVAL,
                 "%s has no gradient: use no_grad, or detach its input", c->op->name);
    PK_TRY(c->op->infer(c));
    if (counting) return count_call(c);
    PK_TRY(make_outputs(c));
    PK_TRY(c->op->forward(c));
    if (trace) PK_TRY(trace->saw(trace, c, in));
    return c->keep ? attach_node(c, in) : PK_OK;
}

pk_status pk_apply(const pk_op *op, const void *params, pk_tensor *const *in, int nin, pk_tensor **out, int *nout) {
    enum { MOST = 4096 };
    _Alignas(16) char defaults[MOST];
    pk_call c = {.op = op, .params = params};
    PK_TRY(pk_interrupt_poll());
    PK_RETURN_IF(op->params_size > MOST, PK_EINVAL, "%s: parameters of more than %d bytes", op->name, MOST);
    if (!params) {
        pk_schema_defaults(op->fields, op->nfields, defaults, op->params_size);
        c.params = defaults;
    }
    pk_status status = run(&c, in, nin);
    if (status == PK_OK) {
        for (int i = 0; i < c.nout; i++) out[i] = c.out[i];
        *nout = c.nout;
    } else {
        release_list(c.out, PK_MAX_OUT);
        *nout = 0;
    }
    release_list(c.in, PK_MAX_IN);
    release_list(c.saved, PK_MAX_SAVED);
    return status;
}

pk_status pk_apply1(const pk_op *op, const void *params, pk_tensor *const *in, int nin, pk_tensor **out) {
    pk_tensor *outs[PK_MAX_OUT];
    int nout;
    *out = NULL;
    PK_TRY(pk_apply(op, params, in, nin, outs, &nout));
    *out = outs[0];
    release_list(outs + 1, nout - 1);
    return PK_OK;
}

pk_status pk_check_writable(const char *function, const pk_tensor *t) {
    PK_RETURN_IF(t->node, PK_EINVAL,
                 "%s: the tensor %s was computed and takes part in a graph: write to t:detach() or t:clone()", function,
                 pk_shape_text(t));
    PK_RETURN_IF(t->requires_grad && grad_enabled, PK_EINVAL,
                 "%s: the tensor %s requires a gradient: write to it inside no_grad", function, pk_shape_text(t));
    return PK_OK;
}
