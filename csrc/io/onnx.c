/* Tracing a forward into an ONNX graph: see onnx.h. */
#include "io/onnx.h"

#include <string.h>

#include "core/alloc.h"
#include "io/onnx_graph.h"

typedef struct tracing {
    pk_trace trace; /* first: it is what ops see */
    pk_onnx graph;
} tracing;

static pk_status saw(pk_trace *t, const pk_call *c, pk_tensor *const *in) {
    return pk_onnx_take(&((tracing *)t)->graph, c, in);
}

static pk_status know_slot(void *context, const char *path, pk_module *m, pk_slot *slot) {
    pk_onnx *g = context;
    (void)m;
    pk_onnx_know(g, slot->tensor, path, true);
    return g->status;
}

/* The value of a tensor of four dimensions has its order, others have ours. */
static void describe(const pk_onnx *g, const pk_tensor *t, pk_order order, int value, pk_graph_port *p) {
    *p = (pk_graph_port){.value = value, .dtype = t->dtype, .ndim = t->ndim};
    for (int d = 0; d < t->ndim; d++) p->shape[pk_onnx_axis(d, t->ndim, order)] = t->shape[d];
    if (g->any_batch && t->ndim > 0) p->shape[0] = -1;
}

/* The input as it will be given. */
static int add_input(pk_onnx *g, pk_tensor *x, pk_order order) {
    pk_graph_tensor *e = pk_onnx_know(g, x, NULL, false);
    int value = pk_onnx_value(g, "input");
    if (g->status != PK_OK) return -1;
    e->value[x->ndim == 4 ? order : PK_OWN_ORDER] = value;
    return value;
}

static int add_output(pk_onnx *g, pk_tensor *y, pk_order order) {
    const pk_graph_tensor *e = pk_onnx_find(g, y);
    if (!e || e->constant) {
        g->status = pk_fail(PK_EINVAL, "export_onnx: the output does not depend on the input");
        return -1;
    }
    int value = pk_onnx_bring(g, y, order), out = pk_onnx_value(g, "output");
    pk_onnx_node1(g, "Identity", value); /* the input itself may be the output */
    if (g->status != PK_OK) return -1;
    g->node[g->nodes - 1].out = out;
    return out;
}

/* Which modules were in training, in the order of a walk. */
typedef struct modes {
    bool *training;
    int64_t count, at;
} modes;

static pk_status count_module(void *context, const char *path, pk_module *m, int depth) {
    (void)path, (void)m, (void)depth;
    ((modes *)context)->count++;
    return PK_OK;
}

static pk_status note_mode(void *context, const char *path, pk_module *m, int depth) {
    modes *k = context;
    (void)path, (void)depth;
    if (k->at < k->count) k->training[k->at++] = m->training;
    return PK_OK;
}

static pk_status set_mode(void *context, const char *path, pk_module *m, int depth) {
    modes *k = context;
    (void)path, (void)depth;
    if (k->at < k->count) m->training = k->training[k->at++];
    return PK_OK;
}

static pk_status run(pk_module *m, pk_tensor *x, tracing *t, pk_tensor **y) {
    modes k = {0};
    PK_TRY(pk_module_each(m, count_module, &k));
    k.training = pk_alloc(k.count);
    if (!k.training) return pk_no_memory(k.count);
    pk_module_each(m, note_mode, &k);
    pk_module_train(m, false);
    bool grads = pk_set_grad_enabled(false);
    pk_trace *before = pk_apply_watch(&t->trace);
    pk_status status = pk_module_forward(m, x, y);
    pk_apply_watch(before);
    pk_set_grad_enabled(grads);
    k.at = 0;
    pk_module_each(m, set_mode, &k);
    pk_free(k.training);
    return status;
}

pk_status pk_onnx_export(pk_module *m, pk_tensor *x, const pk_onnx_options *o, const char *path) {
    tracing t = {.trace = {saw}, .graph = {.any_batch = o->any_batch}};
    pk_onnx *g = &t.graph;
    pk_graph_port in, out;
    pk_tensor *y = NULL;
    pk_status status;
    PK_TRY_DONE(pk_module_each_slot(m, know_slot, g));
    int input = add_input(g, x, o->order);
    PK_TRY_DONE(g->status);
    PK_TRY_DONE(run(m, x, &t, &y));
    int output = add_output(g, y, o->order);
    PK_TRY_DONE(g->status);
    describe(g, x, o->order, input, &in);
    describe(g, y, o->order, output, &out);
    status = pk_onnx_write(g, m->cls->name, &in, &out, path);
done:
    pk_tensor_release(y);
    pk_onnx_free(g);
    return status;
}
