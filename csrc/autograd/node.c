/* Nodes: what an application of an op leaves for its backward, and how chains of them are let go. */
#include "autograd/node.h"

#include <string.h>

#include "core/alloc.h"

static _Atomic uint64_t created;

/* Keep input i for backward: its values, or only its shape. origin is what the caller gave: c->in[i] may be a packed
 * copy of it. */
static pk_status keep_input(pk_node *n, const pk_call *c, pk_tensor *origin, int i) {
    pk_tensor *t = c->in[i];
    if (!t) return PK_OK;
    bool values = (c->op->needs_in >> i & 1) != 0;
    PK_TRY(values ? pk_tensor_alias(t, &n->call.in[i]) : pk_tensor_shape_only(t, &n->call.in[i]));
    if (values && t->storage) n->version[i] = atomic_load(&t->storage->version);
    if (!c->needs[i]) return PK_OK;
    if (origin->node) {
        atomic_fetch_add(&origin->node->refs, 1);
        n->edge[i] = (pk_edge){origin->node, origin->node_output, NULL};
    } else {
        n->edge[i] = (pk_edge){NULL, 0, pk_tensor_retain(origin)};
    }
    return PK_OK;
}

pk_status pk_node_new(const pk_call *c, pk_tensor *const *origin, pk_node **out) {
    size_t params = (c->op->params_size + 15) & ~(size_t)15;
    pk_node *n = pk_alloc_zeroed((int64_t)(sizeof *n + params));
    *out = NULL;
    if (!n) return pk_no_memory((int64_t)sizeof *n);
    atomic_init(&n->refs, 1);
    n->number = atomic_fetch_add(&created, 1);
    n->call.op = c->op;
    n->call.nin = c->nin;
    n->call.nout = c->nout;
    n->call.keep = true;
    memcpy(n->call.needs, c->needs, sizeof n->call.needs);
    memcpy(n->call.meta, c->meta, sizeof n->call.meta);
    if (c->op->params_size) memcpy(n + 1, c->params, c->op->params_size);
    n->call.params = n + 1;
    pk_status status = PK_OK;
    for (int i = 0; i < c->nin && status == PK_OK; i++) status = keep_input(n, c, origin[i], i);
    for (int i = 0; i < c->nout && status == PK_OK; i++) {
        bool values = (c->op->needs_out >> i & 1) != 0;
        status = values ? pk_tensor_alias(c->out[i], &n->call.out[i]) : pk_tensor_shape_only(c->out[i], &n->call.out[i]);
        if (values && c->out[i]->storage) n->version_out[i] = atomic_load(&c->out[i]->storage->version);
    }
    if (status != PK_OK) {
        pk_node_release(n);
        return status;
    }
    for (int i = 0; i < PK_MAX_SAVED; i++) n->call.saved[i] = pk_tensor_retain(c->saved[i]);
    *out = n;
    return PK_OK;
}

void pk_node_drop_saved(pk_node *n) {
    for (int i = 0; i < PK_MAX_IN; i++) {
        pk_tensor_release(n->call.in[i]);
        n->call.in[i] = NULL;
    }
    for (int i = 0; i < PK_MAX_OUT; i++) {
        pk_tensor_release(n->call.out[i]);
        n->call.out[i] = NULL;
    }
    for (int i = 0; i < PK_MAX_SAVED; i++) {
        pk_tensor_release(n->call.saved[i]);
        n->call.saved[i] = NULL;
    }
}

/* A chain can be as long as a training run that forgot no_grad, so nodes to free wait in a list
 * and are freed one by one instead of by recursion. */
void pk_node_release(pk_node *node) {
    if (!node || atomic_fetch_sub(&node->refs, 1) != 1) return;
    pk_node *list = node;
    node->next = NULL;
    while (list) {
        pk_node *n = list;
        list = n->next;
        pk_node_drop_saved(n);
        for (int i = 0; i < PK_MAX_IN; i++) {
            pk_tensor_release(n->edge[i].leaf);
            pk_node *up = n->edge[i].node;
            if (up && atomic_fetch_sub(&up->refs, 1) == 1) {
                up->next = list;
                list = up;
            }
        }
        pk_free(n);
    }
}
