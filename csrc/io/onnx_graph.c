/* The graph of an export: which tensors have which values, nodes, constants. */
#include "io/onnx_graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"

void pk_onnx_fail(pk_onnx *g, pk_status status) {
    if (g->status == PK_OK) g->status = status;
}

/* Room for one more; false: there is none, and the graph has failed. */
static bool grow(pk_onnx *g, void *list, int64_t count, int64_t *room, int64_t size) {
    if (g->status == PK_OK) g->status = pk_grow(list, count, room, size);
    return g->status == PK_OK;
}

#define GROW(g, list) grow(g, &(g)->list, (g)->list##s, &(g)->list##_room, sizeof *(g)->list)

void pk_onnx_free(pk_onnx *g) {
    for (int64_t i = 0; i < g->tensors; i++) {
        pk_tensor_release(g->tensor[i].t);
        pk_free(g->tensor[i].name);
    }
    for (int64_t i = 0; i < g->nodes; i++) pk_proto_free(&g->node[i].attributes);
    for (int64_t i = 0; i < g->constants; i++) {
        pk_tensor_release(g->constant[i].t);
        pk_free(g->constant[i].integers);
    }
    for (int64_t i = 0; i < g->names; i++) pk_free(g->name[i]);
    pk_free(g->tensor);
    pk_free(g->node);
    pk_free(g->constant);
    pk_free(g->name);
    memset(g, 0, sizeof *g);
}

/* ---- tensors and values ---- */

static bool same_window(const pk_tensor *a, const pk_tensor *b) {
    if (a == b) return true;
    if (a->storage != b->storage || a->offset != b->offset || a->dtype != b->dtype || a->ndim != b->ndim) return false;
    for (int d = 0; d < a->ndim; d++)
        if (a->shape[d] != b->shape[d] || (a->stride[d] != b->stride[d] && a->shape[d] > 1)) return false;
    return true;
}

pk_graph_tensor *pk_onnx_find(const pk_onnx *g, const pk_tensor *t) {
    for (int64_t i = g->tensors - 1; i >= 0; i--)
        if (same_window(g->tensor[i].t, t)) return &g->tensor[i];
    return NULL;
}

pk_graph_tensor *pk_onnx_know(pk_onnx *g, pk_tensor *t, const char *name, bool constant) {
    char *copy = name ? pk_strdup(name) : NULL;
    if (name && !copy) pk_onnx_fail(g, pk_no_memory((int64_t)strlen(name) + 1));
    if (!GROW(g, tensor)) {
        pk_free(copy);
        return NULL;
    }
    pk_graph_tensor *e = &g->tensor[g->tensors++];
    *e = (pk_graph_tensor){pk_tensor_retain(t), copy, constant, {-1, -1}};
    return e;
}

static bool is_taken(const pk_onnx *g, const char *name) {
    for (int64_t i = 0; i < g->names; i++)
        if (strcmp(g->name[i], name) == 0) return true;
    return false;
}

int pk_onnx_value(pk_onnx *g, const char *name) {
    char other[256];
    snprintf(other, sizeof other, "%s", name);
    for (int64_t n = g->names; is_taken(g, other); n++) snprintf(other, sizeof other, "%.200s_%lld", name, (long long)n);
    if (!GROW(g, name)) return -1;
    char *copy = pk_strdup(other);
    if (!copy) {
        pk_onnx_fail(g, pk_no_memory((int64_t)strlen(other) + 1));
        return -1;
    }
    g->name[g->names] = copy;
    return (int)g->names++;
}

int64_t pk_onnx_axis(int64_t dim, int ndim, pk_order order) {
    static const int64_t first[] = {0, 2, 3, 1};
    if (dim < 0) dim += ndim;
    return order == PK_CHANNELS_FIRST && ndim == 4 ? first[dim] : dim;
}

/* ---- constants ---- */

/* A view of t whose dimension d is t's from[d], or of size 1. */
static pk_status arrange(const pk_tensor *t, int ndim, const int *from, pk_tensor **out) {
    int64_t shape[PK_MAX_DIMS], stride[PK_MAX_DIMS];
    for (int d = 0; d < ndim; d++) {
        shape[d] = from[d] < 0 ? 1 : t->shape[from[d]];
        stride[d] = from[d] < 0 ? 0 : t->stride[from[d]];
    }
    return pk_tensor_window(t, ndim, shape, stride, 0, out);
}

static int add_constant(pk_onnx *g, const char *name, pk_tensor *t, const pk_tensor *source, int form) {
    int value = pk_onnx_value(g, name ? name : "constant");
    if (!GROW(g, constant)) return -1;
    g->constant[g->constants++] = (pk_graph_constant){.value = value, .t = pk_tensor_retain(t), .source = source,
                                                     .form = form};
    return value;
}

static int arranged_constant(pk_onnx *g, const pk_graph_tensor *e, int ndim, const int *from) {
    int form = ndim;
    for (int d = 0; d < ndim; d++) form = form * 8 + from[d] + 1;
    for (int64_t i = 0; i < g->constants; i++)
        if (g->constant[i].source == e->t && g->constant[i].form == form) return g->constant[i].value;
    pk_tensor *view;
    if (e->t->dtype != PK_FLOAT32) {
        pk_onnx_fail(g, pk_fail(PK_EINVAL, "export_onnx: a constant of %s", pk_dtype_name(e->t->dtype)));
        return -1;
    }
    pk_status status = arrange(e->t, ndim, from, &view);
    if (status != PK_OK) {
        pk_onnx_fail(g, status);
        return -1;
    }
    int value = add_constant(g, e->name, view, e->t, form);
    pk_tensor_release(view);
    return value;
}

/* A constant in an order; one of fewer dimensions than four gets ones in front for the channels-first order. */
static int constant_in(pk_onnx *g, const pk_graph_tensor *e, pk_order order) {
    static const int first[] = {0, 3, 1, 2};
    int ndim = e->t->ndim, from[PK_MAX_DIMS];
    if (order == PK_OWN_ORDER || ndim > 4) {
        for (int d = 0; d < ndim; d++) from[d] = d;
        return arranged_constant(g, e, ndim, from);
    }
    for (int d = 0; d < 4; d++) from[d] = first[d] - (4 - ndim) < 0 ? -1 : first[d] - (4 - ndim);
    return arranged_constant(g, e, 4, from);
}

int pk_onnx_bring(pk_onnx *g, pk_tensor *t, pk_order order) {
    static const int64_t perm[2][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}};
    pk_graph_tensor *e = pk_onnx_find(g, t);
    if (!e) e = pk_onnx_know(g, t, NULL, true); /* made outside of the trace */
    if (g->status != PK_OK || !e) return -1;
    if (e->constant) return constant_in(g, e, order);
    if (t->ndim != 4) order = PK_OWN_ORDER;
    if (e->value[order] >= 0) return e->value[order];
    if (t->ndim != 4 || e->value[!order] < 0) {
        pk_onnx_fail(g, pk_fail(PK_EINVAL, "export_onnx: takes a result that has no form in ONNX"));
        return -1;
    }
    int64_t place = e - g->tensor;
    int value = pk_onnx_node1(g, "Transpose", e->value[!order]);
    pk_onnx_set_ints(g, "perm", 4, perm[order]);
    g->tensor[place].value[order] = value;
    return value;
}

/* ---- what rules say ---- */

int pk_onnx_in(pk_onnx *g, int i, pk_order order) {
    return g->status == PK_OK && i < g->call->nin && g->in[i] ? pk_onnx_bring(g, g->in[i], order) : -1;
}

pk_order pk_onnx_order(const pk_onnx *g, int i) {
    const pk_graph_tensor *e = pk_onnx_find(g, g->in[i]);
    bool own = !e || e->constant || e->t->ndim != 4 || e->value[PK_OWN_ORDER] >= 0;
    return own ? PK_OWN_ORDER : PK_CHANNELS_FIRST;
}

/* Channels first only where nothing else would have to be turned: where our order stands, norms and slices need it. */
pk_order pk_onnx_common_order(const pk_onnx *g) {
    bool own = false, first = false;
    for (int i = 0; i < g->call->nin; i++) {
        const pk_graph_tensor *e = g->in[i] ? pk_onnx_find(g, g->in[i]) : NULL;
        if (g->in[i] && g->in[i]->ndim > 4) return PK_OWN_ORDER; /* a constant, too */
        if (!e || e->constant) continue;
        if (e->t->ndim != 4) return PK_OWN_ORDER;
        own |= e->value[PK_CHANNELS_FIRST] < 0;
        first |= e->value[PK_OWN_ORDER] < 0;
    }
    return first && !own ? PK_CHANNELS_FIRST : PK_OWN_ORDER;
}

bool pk_onnx_is_constant(pk_onnx *g, int i) {
    const pk_graph_tensor *e = i < g->call->nin && g->in[i] ? pk_onnx_find(g, g->in[i]) : NULL;
    if (e && !e->constant) pk_onnx_refuse(g, "%s depends on the input", g->call->op->args[i].name);
    return g->status == PK_OK;
}

int pk_onnx_weight(pk_onnx *g, int i, int ndim, const int *from) {
    if (!pk_onnx_is_constant(g, i) || i >= g->call->nin || !g->in[i]) return -1;
    const pk_graph_tensor *e = pk_onnx_find(g, g->in[i]);
    if (!e) e = pk_onnx_know(g, g->in[i], NULL, true);
    return g->status == PK_OK ? arranged_constant(g, e, ndim, from) : -1;
}

int pk_onnx_vector(pk_onnx *g, int i) { return pk_onnx_weight(g, i, 1, (const int[]){0}); }

int pk_onnx_floats(pk_onnx *g, int i, int ndim, const int64_t *shape, const float *values) {
    pk_tensor *t;
    if (g->status != PK_OK) return -1;
    const pk_graph_tensor *e = i >= 0 ? pk_onnx_find(g, g->in[i]) : NULL;
    pk_status status = pk_tensor_new(PK_FLOAT32, ndim, shape, &t);
    if (status != PK_OK) {
        pk_onnx_fail(g, status);
        return -1;
    }
    memcpy(pk_f32(t), values, (size_t)pk_numel(t) * sizeof(float));
    int value = add_constant(g, e ? e->name : NULL, t, NULL, 0);
    pk_tensor_release(t);
    return value;
}

int pk_onnx_filled(pk_onnx *g, int64_t n, float value) {
    float *values = pk_alloc(n * (int64_t)sizeof *values);
    if (!values) {
        pk_onnx_fail(g, pk_no_memory(n * (int64_t)sizeof *values));
        return -1;
    }
    for (int64_t i = 0; i < n; i++) values[i] = value;
    int made = pk_onnx_floats(g, -1, 1, &n, values);
    pk_free(values);
    return made;
}

int pk_onnx_scalar(pk_onnx *g, double value) {
    float x = (float)value;
    for (int64_t i = 0; i < g->constants; i++) {
        const pk_graph_constant *k = &g->constant[i];
        if (k->t && !k->source && k->t->ndim == 0 && memcmp(pk_f32(k->t), &x, sizeof x) == 0) return k->value;
    }
    return pk_onnx_floats(g, -1, 0, NULL, &x);
}

int pk_onnx_ints(pk_onnx *g, int n, const int64_t *values) {
    for (int64_t i = 0; i < g->constants; i++) {
        const pk_graph_constant *k = &g->constant[i];
        if (!k->t && k->count == n && memcmp(k->integers, values, (size_t)n * sizeof *values) == 0) return k->value;
    }
    int value = pk_onnx_value(g, "integers");
    int64_t *copy = pk_alloc(n * (int64_t)sizeof *copy);
    if (!copy) pk_onnx_fail(g, pk_no_memory(n * (int64_t)sizeof *copy));
    if (!GROW(g, constant)) {
        pk_free(copy);
        return -1;
    }
    memcpy(copy, values, (size_t)n * sizeof *values);
    g->constant[g->constants++] = (pk_graph_constant){.value = value, .integers = copy, .count = n};
    return value;
}

int pk_onnx_node(pk_onnx *g, const char *type, int n, const int *in) {
    int out = pk_onnx_value(g, type);
    if (!GROW(g, node)) return -1;
    pk_graph_node *e = &g->node[g->nodes++];
    *e = (pk_graph_node){.type = type, .nin = n, .out = out};
    memcpy(e->in, in, (size_t)n * sizeof *in);
    return out;
}

int pk_onnx_node1(pk_onnx *g, const char *type, int a) { return pk_onnx_node(g, type, 1, &a); }
int pk_onnx_node2(pk_onnx *g, const char *type, int a, int b) { return pk_onnx_node(g, type, 2, (int[]){a, b}); }
int pk_onnx_node3(pk_onnx *g, const char *type, int a, int b, int c) {
    return pk_onnx_node(g, type, c < 0 ? 2 : 3, (int[]){a, b, c});
}

/* AttributeProto: name 1, f 2, i 3, s 4, ints 8, type 20. */
static void set(pk_onnx *g, pk_proto *attribute, int type) {
    pk_proto_int(attribute, 20, type);
    if (g->status == PK_OK && g->nodes > 0) pk_proto_message(&g->node[g->nodes - 1].attributes, 5, attribute);
    pk_proto_free(attribute);
}

void pk_onnx_set_int(pk_onnx *g, const char *name, int64_t value) {
    pk_proto a = {0};
    pk_proto_text(&a, 1, name);
    pk_proto_int(&a, 3, value);
    set(g, &a, 2);
}

void pk_onnx_set_float(pk_onnx *g, const char *name, double value) {
    pk_proto a = {0};
    pk_proto_text(&a, 1, name);
    pk_proto_float(&a, 2, (float)value);
    set(g, &a, 1);
}

void pk_onnx_set_text(pk_onnx *g, const char *name, const char *value) {
    pk_proto a = {0};
    pk_proto_text(&a, 1, name);
    pk_proto_text(&a, 4, value);
    set(g, &a, 3);
}

void pk_onnx_set_ints(pk_onnx *g, const char *name, int n, const int64_t *values) {
    pk_proto a = {0};
    pk_proto_text(&a, 1, name);
    for (int i = 0; i < n; i++) pk_proto_int(&a, 8, values[i]);
    set(g, &a, 7);
}

void pk_onnx_out(pk_onnx *g, int k, int value, pk_order order) {
    if (g->status != PK_OK) return;
    pk_graph_tensor *e = pk_onnx_know(g, g->call->out[k], NULL, false);
    if (e) e->value[e->t->ndim == 4 ? order : PK_OWN_ORDER] = value;
}

void pk_onnx_refuse(pk_onnx *g, const char *format, ...) {
    char text[256];
    va_list args;
    if (g->status != PK_OK) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pk_onnx_fail(g, pk_fail(PK_EINVAL, "export_onnx: %s: %s", g->call->op->name, text));
}

bool pk_onnx_any_batch(const pk_onnx *g) { return g->any_batch; }

/* ---- an op ---- */

/* What depends on constants only is a constant: its values go into the file when somebody takes them. */
static bool all_constant(const pk_onnx *g) {
    for (int i = 0; i < g->call->nin; i++) {
        const pk_graph_tensor *e = g->in[i] ? pk_onnx_find(g, g->in[i]) : NULL;
        if (e && !e->constant) return false;
    }
    return true;
}

pk_status pk_onnx_take(pk_onnx *g, const pk_call *c, pk_tensor *const *in) {
    if (g->status != PK_OK) return g->status;
    g->call = c;
    g->in = in;
    bool constant = all_constant(g);
    int64_t before = g->tensors;
    if (!constant && !c->op->onnx) pk_onnx_refuse(g, "has no form in ONNX here");
    if (!constant && g->status == PK_OK) c->op->onnx(g, c);
    for (int k = 0; k < c->nout && g->status == PK_OK; k++) {
        bool known = false;
        for (int64_t i = before; i < g->tensors; i++) known |= g->tensor[i].t == c->out[k];
        if (!known) pk_onnx_know(g, c->out[k], NULL, constant);
    }
    return g->status;
}
