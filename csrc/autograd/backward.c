/* The walk back: nodes reachable from a tensor, by descending number of creation, each once all that used it have
 * been through. What a node saved is dropped as soon as it has been used. */
#include <stdlib.h>
#include <string.h>

#include "autograd/node.h"
#include "core/alloc.h"
#include "core/checked.h"
#include "core/interrupt.h"
#include "core/pool.h"
#include "kernels/kernels.h"

static _Atomic uint64_t walks;

typedef struct node_list {
    pk_node **node;
    int64_t count, room;
} node_list;

static pk_status list_add(node_list *list, pk_node *n) {
    PK_TRY(pk_grow(&list->node, list->count, &list->room, sizeof *list->node));
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

/* ---- adding gradients ---- */

/* Nobody else sees this tensor or its storage: it may be written. */
static bool ours_alone(const pk_tensor *t) {
    return atomic_load(&t->refs) == 1 && atomic_load(&t->storage->refs) == 1 && pk_is_contiguous(t);
}

typedef struct add_job {
    float *y;
    const float *x;
    int64_t pixels, channels, y_stride, x_stride, chunks;
} add_job;

static void add_chunk(void *context, int64_t i, int worker) {
    const add_job *j = context;
    (void)worker;
    int64_t p = pk_chunk_begin(j->pixels, j->chunks, i), end = pk_chunk_begin(j->pixels, j->chunks, i + 1);
    if (j->y_stride == j->channels && j->x_stride == j->channels) {
        pk_k()->add_to((end - p) * j->channels, j->y + p * j->channels, j->x + p * j->channels);
        return;
    }
    for (; p < end; p++) pk_k()->add_to(j->channels, j->y + p * j->y_stride, j->x + p * j->x_stride);
}

/* y += x, of equal shapes: by pixels where both are rows of channels (or all of one piece), else element by element. */
static pk_status add(pk_tensor *y, const pk_tensor *x) {
    add_job j = {.y = pk_f32(y), .x = pk_f32(x), .channels = 1};
    if (!pk_is_rows(y, &j.y_stride) || !pk_is_rows(x, &j.x_stride)) return pk_tensor_accumulate(y, x);
    if (y->ndim) j.channels = y->shape[y->ndim - 1];
    j.pixels = j.channels ? pk_numel(y) / j.channels : 0;
    j.chunks = pk_chunks(j.pixels, ((int64_t)1 << 15) / pk_max(1, j.channels));
    pk_parallel(j.chunks, add_chunk, &j);
    pk_tensor_written(y);
    return PK_OK;
}

/* Make *slot a tensor that may be written: a copy when others see it. */
static pk_status own(pk_tensor **slot) {
    pk_tensor *copy;
    if (ours_alone(*slot)) return PK_OK;
    PK_TRY(pk_tensor_like(*slot, &copy));
    pk_tensor_copy(copy, *slot);
    pk_tensor_release(*slot);
    *slot = copy;
    return PK_OK;
}

/* *slot += g. Takes over the reference to g, also on failure. */
static pk_status accumulate(pk_tensor **slot, pk_tensor *g) {
    if (!*slot) {
        pk_status status = pk_tensor_contiguous(g, slot);
        pk_tensor_release(g);
        return status;
    }
    if (!ours_alone(*slot) && ours_alone(g)) { /* addition commutes to the bit */
        pk_tensor *theirs = *slot;
        *slot = g;
        g = theirs;
    }
    pk_status status = own(slot);
    if (status == PK_OK) status = add(*slot, g);
    pk_tensor_release(g);
    return status;
}

/* A leaf's gradient is its own memory (it may lie in an optimiser's arena and be seen from Lua). placed: g is that memory,
 * written by an op. */
static pk_status accumulate_leaf(pk_tensor *leaf, pk_tensor *g, bool placed) {
    pk_status status = PK_OK;
    if (placed) {
        g->stale = false;
        pk_tensor_written(g);
    } else if (pk_tensor_grad(leaf)) {
        status = add(leaf->grad, g);
    } else if (ours_alone(g)) {
        leaf->grad = pk_tensor_retain(g);
    } else {
        status = pk_tensor_like(g, &leaf->grad);
        if (status == PK_OK) status = pk_tensor_copy(leaf->grad, g);
    }
    pk_tensor_release(g);
    return status;
}

/* ---- one node ---- */

/* The view that c's op makes of `full`, a tensor of its input's shape. */
static pk_status same_view(const pk_call *c, pk_tensor *full, pk_tensor **out) {
    pk_call view = {.op = c->op, .params = c->params, .nin = 1, .nout = c->nout};
    memcpy(view.meta, c->meta, sizeof view.meta);
    view.in[0] = full;
    pk_status status = c->op->forward(&view);
    *out = view.out[0];
    return status;
}

/* Backward of any view: the same view of the input's gradient takes the output's gradient. */
static pk_status view_backward(pk_node *n) {
    pk_call *c = &n->call;
    pk_edge *e = &n->edge[0];
    pk_tensor **slot = e->node ? &e->node->dout[e->output] : &e->leaf->grad, *window;
    if (!*slot) PK_TRY(pk_tensor_zeros(PK_FLOAT32, c->in[0]->ndim, c->in[0]->shape, slot));
    if (e->node) PK_TRY(own(slot));
    else pk_tensor_grad(e->leaf);
    PK_TRY(same_view(c, *slot, &window));
    pk_status status = add(window, c->dout[0]);
    pk_tensor_release(window);
    return status;
}

static pk_status check_versions(const pk_node *n) {
    for (int i = 0; i < n->call.nin; i++) {
        const pk_tensor *t = n->call.in[i];
        if (!t || !t->storage || !(n->call.op->needs_in >> i & 1)) continue;
        PK_RETURN_IF(atomic_load(&t->storage->version) != n->version[i], PK_EINVAL,
                     "backward: input %s of %s (%s) was changed in place after it was used (or what it shares memory "
                     "with: an optimiser keeps all parameters in one piece)",
                     n->call.op->args[i].name, n->call.op->name, pk_shape_text(t));
    }
    for (int i = 0; i < n->call.nout; i++) {
        const pk_tensor *t = n->call.out[i];
        if (!t || !t->storage || !(n->call.op->needs_out >> i & 1)) continue;
        PK_RETURN_IF(atomic_load(&t->storage->version) != n->version_out[i], PK_EINVAL,
                     "backward: the result of %s (%s), which its gradient is made of, was changed in place",
                     n->call.op->name, pk_shape_text(t));
    }
    return PK_OK;
}

/* A leaf's gradient that counts as zeros may be written instead of added to. */
static void find_targets(pk_node *n) {
    pk_call *c = &n->call;
    for (int i = 0; i < c->nin; i++) {
        const pk_tensor *leaf = n->edge[i].node ? NULL : n->edge[i].leaf;
        c->target[i] = leaf && c->needs[i] && leaf->grad && leaf->grad->stale ? leaf->grad : NULL;
        for (int k = 0; k < i; k++)
            if (c->target[i] && n->edge[k].leaf == leaf) c->target[i] = NULL; /* the same leaf twice */
    }
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
    find_targets(n);
    pk_status status = c->op->backward ? c->op->backward(c) : view_backward(n);
    for (int i = 0; i < c->nin; i++) {
        pk_tensor *g = c->din[i];
        c->din[i] = NULL;
        if (!g) continue;
        if (status != PK_OK || !c->needs[i])
            pk_tensor_release(g);
        else if (n->edge[i].node)
            status = accumulate(&n->edge[i].node->dout[n->edge[i].output], g);
        else
            status = accumulate_leaf(n->edge[i].leaf, g, g == c->target[i]);
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
        status = pk_interrupt_poll();
        if (status == PK_OK) status = step(n);
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
        status = accumulate_leaf(t, pk_tensor_retain(g), false);
    pk_set_grad_enabled(was);
    pk_tensor_release(g);
    return status;
}
