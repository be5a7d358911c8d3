/* The walk back: nodes reachable from a tensor, by descending number of creation, each once all that used it have
 * been through. What a node saved is dropped as soon as it has been used. */
#include <stdlib.h>
#include <string.h>

#include "autograd/node.h"
#include "core/alloc.h"

static _Atomic uint64_t walks;

typedef struct node_list {
    pk_node **node;
    int64_t count, room;
} node_list;

static pk_status list_add(node_list *list, pk_node *n) {
    if (list->count == list->room) {
        int64_t room = list->room ? 2 * list->room : 256;
        pk_node **grown = pk_alloc(room * (int64_t)sizeof *grown);
        if (!grown) return pk_no_memory(room * (int64_t)sizeof *grown);
        if (list->count) memcpy(grown, list->node, (size_t)list->count * sizeof *grown);
        pk_free(list->node);
        list->node = grown;
        list->room = room;
    }
    list->node[list->count++] = n;
    return PK_OK;
}

/* All nodes that root depends on, root first: the list is its own queue. */
static pk_status collect(pk_node *root, node_list *list) {
    uint64_t walk = atomic_fetch_add(&walks, 1) + 1;
    root->walk = walk;
    PK_TRY(list_add(list, root));
    for (int64_t at = 0; at < list->count; at++) {
        pk_node *n = list->node[at];
        PK_RETURN_IF(n->released, PK_EINVAL,
                     "backward: the graph through %s was used and dropped by an earlier backward: run forward again",
                     n->call.op->name);
        for (int i = 0; i < n->call.nin; i++) {
            pk_node *up = n->edge[i].node;
            if (!up || up->walk == walk) continue;
            up->walk = walk;
            PK_TRY(list_add(list, up));
        }
    }
    return PK_OK;
}

static int newest_first(const void *a, const void *b) {
    uint64_t x = (*(pk_node *const *)a)->number, y = (*(pk_node *const *)b)->number;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Nobody else sees this tensor or its storage: it may be written. */
static bool ours_alone(const pk_tensor *t) {
    return atomic_load(&t->refs) == 1 && atomic_load(&t->storage->refs) == 1 && pk_is_contiguous(t);
}

/* *slot += g. Takes over the reference to g, also on failure. */
static pk_status accumulate(pk_tensor **slot, pk_tensor *g) {
    if (!*slot) {
        pk_status status = pk_tensor_contiguous(g, slot);
        pk_tensor_release(g);
        return status;
    }
    pk_tensor *sum = *slot;
    if (!ours_alone(sum) && ours_alone(g)) { /* addition commutes to the bit */
        sum = g;
        g = *slot;
        *slot = sum;
    } else if (!ours_alone(sum)) {
        pk_status status = pk_tensor_like(g, &sum);
        if (status == PK_OK) status = pk_tensor_copy(sum, *slot);
        if (status != PK_OK) {
            pk_tensor_release(g);
            return status;
        }
        pk_tensor_release(*slot);
        *slot = sum;
    }
    pk_status status = pk_tensor_accumulate(sum, g);
    pk_tensor_release(g);
    return status;
}

/* A leaf's gradient is its own memory (it may lie in an optimiser's arena and be seen from Lua). */
static pk_status accumulate_leaf(pk_tensor *leaf, pk_tensor *g) {
    pk_status status = PK_OK;
    if (leaf->grad) {
        status = pk_tensor_accumulate(leaf->grad, g);
    } else if (ours_alone(g)) {
        leaf->grad = pk_tensor_retain(g);
    } else {
        status = pk_tensor_like(g, &leaf->grad);
        if (status == PK_OK) status = pk_tensor_copy(leaf->grad, g);
    }
    pk_tensor_release(g);
    return status;
}

/* Backward of any view: the same view of a gradient of zeros takes the outputs' gradient. */
static pk_status view_backward(pk_call *c) {
    pk_tensor *zeros, *window, *full = c->in[0];
    pk_call view = {.op = c->op, .params = c->params, .nin = 1, .nout = c->nout};
    memcpy(view.meta, c->meta, sizeof view.meta);
    PK_TRY(pk_tensor_zeros(PK_FLOAT32, full->ndim, full->shape, &zeros));
    view.in[0] = zeros;
    pk_status status = c->op->forward(&view);
    window = view.out[0];
    if (status == PK_OK && pk_is_contiguous(window) && pk_numel(window) == pk_numel(zeros)) { /* a mere reshape */
        status = pk_tensor_window(c->dout[0], full->ndim, full->shape, zeros->stride, 0, &c->din[0]);
        pk_tensor_release(window);
        pk_tensor_release(zeros);
        return status;
    }
    if (status == PK_OK) status = pk_tensor_accumulate(window, c->dout[0]);
    pk_tensor_release(window);
    if (status == PK_OK)
        c->din[0] = zeros;
    else
        pk_tensor_release(zeros);
    return status;
}

static pk_status check_versions(const pk_node *n) {
    for (int i = 0; i < n->call.nin; i++) {
        const pk_tensor *t = n->call.in[i];
        if (!t || !t->storage || !(n->call.op->needs_in >> i & 1)) continue;
        PK_RETURN_IF(atomic_load(&t->storage->version) != n->version[i], PK_EINVAL,
                     "backward: input %s of %s (%s) was changed in place after it was used", n->call.op->args[i].name,
                     n->call.op->name, pk_shape_text(t));
    }
    return PK_OK;
}

/* Backward of one node, its inputs' gradients passed on. */
static pk_status step(pk_node *n) {
    pk_call *c = &n->call;
    bool arrived = false;
    for (int i = 0; i < c->nout; i++) {
        c->dout[i] = n->dout[i];
        arrived |= c->dout[i] != NULL;
    }
    if (!arrived) return PK_OK;
    PK_TRY(check_versions(n));
    memset(c->din, 0, sizeof c->din);
    pk_status status = c->op->backward ? c->op->backward(c) : view_backward(c);
    for (int i = 0; i < c->nin; i++) {
        pk_tensor *g = c->din[i];
        c->din[i] = NULL;
        if (!g) continue;
        if (status != PK_OK || !c->needs[i])
            pk_tensor_release(g);
        else if (n->edge[i].node)
            status = accumulate(&n->edge[i].node->dout[n->edge[i].output], g);
        else
            status = accumulate_leaf(n->edge[i].leaf, g);
    }
    return status;
}

static void drop_arrived(pk_node *n) {
    for (int i = 0; i < n->call.nout; i++) {
        pk_tensor_release(n->dout[i]);
        n->dout[i] = n->call.dout[i] = NULL;
    }
}

static pk_status walk(pk_node *root, int output, pk_tensor *gradient) {
    node_list list = {0};
    pk_status status = collect(root, &list);
    if (status == PK_OK) {
        qsort(list.node, (size_t)list.count, sizeof *list.node, newest_first);
        root->dout[output] = pk_tensor_retain(gradient);
    }
    for (int64_t i = 0; i < list.count && status == PK_OK; i++) {
        pk_node *n = list.node[i];
        status = step(n);
        drop_arrived(n);
        pk_node_drop_saved(n);
        n->released = true;
    }
    if (status != PK_OK)
        for (int64_t i = 0; i < list.count; i++) drop_arrived(list.node[i]);
    pk_free(list.node);
    return status;
}

pk_status pk_backward(pk_tensor *t, pk_tensor *gradient) {
    PK_RETURN_IF(!t->node && !t->requires_grad, PK_EINVAL,
                 "backward: the tensor %s depends on nothing that requires a gradient", pk_shape_text(t));
    PK_RETURN_IF(!gradient && pk_numel(t) != 1, PK_EINVAL,
                 "backward: a tensor of shape %s needs a gradient argument of that shape; only a single number does not",
                 pk_shape_text(t));
    PK_RETURN_IF(gradient && (gradient->dtype != PK_FLOAT32 || !pk_same_shape(gradient, t)), PK_EINVAL,
                 "backward: the gradient must be float32 of shape %s, got %s %s", pk_shape_text(t),
                 pk_dtype_name(gradient->dtype), pk_shape_text(gradient));
    pk_tensor *g;
    if (gradient) {
        PK_TRY(pk_tensor_contiguous(gradient, &g));
    } else {
        PK_TRY(pk_tensor_like(t, &g));
        *pk_f32(g) = 1;
    }
    bool was = pk_set_grad_enabled(false);
    pk_status status;
    if (t->node)
        status = walk(t->node, t->node_output, g);
    else
        status = accumulate_leaf(t, pk_tensor_retain(g));
    pk_set_grad_enabled(was);
    pk_tensor_release(g);
    return status;
}
