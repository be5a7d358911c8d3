/* Walks over the module tree: every slot, every module, training mode, deep copies. */
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "nn/module.h"

enum { PATH = 512, DEEPEST = 48 };

/* path + "." + name in a buffer of its own. */
static pk_status join(char *out, const char *path, const char *name) {
    int n = snprintf(out, PATH, "%s%s%s", path, *path ? "." : "", name);
    PK_RETURN_IF(n < 0 || n >= PATH, PK_EINVAL, "the path '%s.%s' is longer than %d letters", path, name, PATH - 1);
    return PK_OK;
}

static pk_status each_slot(pk_module *m, const char *path, int depth, pk_visit_slot *visit, void *context) {
    char name[PATH];
    PK_RETURN_IF(depth > DEEPEST, PK_EINVAL, "modules are nested deeper than %d (one inside itself?)", DEEPEST);
    for (int i = 0; i < m->nslots; i++) {
        if (m->slot[i].shared) continue;
        PK_TRY(join(name, path, m->slot[i].name));
        PK_TRY(visit(context, name, m, &m->slot[i]));
    }
    for (int i = 0; i < m->nchildren; i++) {
        PK_TRY(join(name, path, m->child[i].name));
        PK_TRY(each_slot(m->child[i].module, name, depth + 1, visit, context));
    }
    return PK_OK;
}

pk_status pk_module_each_slot(pk_module *m, pk_visit_slot *visit, void *context) {
    return each_slot(m, "", 0, visit, context);
}

static pk_status each_module(pk_module *m, const char *path, int depth, pk_visit_module *visit, void *context) {
    char name[PATH];
    PK_RETURN_IF(depth > DEEPEST, PK_EINVAL, "modules are nested deeper than %d (one inside itself?)", DEEPEST);
    PK_TRY(visit(context, path, m, depth));
    for (int i = 0; i < m->nchildren; i++) {
        PK_TRY(join(name, path, m->child[i].name));
        PK_TRY(each_module(m->child[i].module, name, depth + 1, visit, context));
    }
    return PK_OK;
}

pk_status pk_module_each(pk_module *m, pk_visit_module *visit, void *context) {
    return each_module(m, "", 0, visit, context);
}

static pk_status set_training(void *context, const char *path, pk_module *m, int depth) {
    (void)path, (void)depth;
    m->training = *(const bool *)context;
    return PK_OK;
}

void pk_module_train(pk_module *m, bool training) { pk_module_each(m, set_training, &training); }

/* ---- deep copies: tensors that are shared stay shared among the copies ---- */

typedef struct pairs {
    pk_tensor *from, *to;
    struct pairs *next;
} pairs;

static pk_status copy_tensor(pairs **seen, pk_tensor *t, pk_tensor **out) {
    for (pairs *p = *seen; p; p = p->next)
        if (p->from == t) {
            *out = pk_tensor_retain(p->to);
            return PK_OK;
        }
    PK_TRY(pk_tensor_like(t, out));
    pk_tensor_copy(*out, t);
    (*out)->requires_grad = t->requires_grad;
    pairs *p = pk_alloc(sizeof *p);
    pk_status status = p ? PK_OK : pk_no_memory(sizeof *p);
    if (status == PK_OK && t->mask) status = pk_tensor_like(t->mask, &(*out)->mask);
    if (status != PK_OK) {
        pk_free(p);
        pk_tensor_release(*out);
        *out = NULL;
        return status;
    }
    if (t->mask) pk_tensor_copy((*out)->mask, t->mask);
    *p = (pairs){t, *out, *seen};
    *seen = p;
    return PK_OK;
}

static pk_status copy_module(pairs **seen, const pk_module *m, pk_module **out) {
    PK_RETURN_IF(m->hook, PK_EINVAL, "clone: a %s holds a function and cannot be copied", m->cls->name);
    pk_module *c = pk_alloc_zeroed(sizeof *c);
    if (!c) return pk_no_memory(sizeof *c);
    atomic_init(&c->refs, 1);
    c->cls = m->cls;
    c->training = m->training;
    c->merged = m->merged;
    int64_t options = (int64_t)m->cls->options_size;
    /* the arrays keep the room that pk_module_add counts on: a power of two */
    int slots = 1, children = 1;
    while (slots < m->nslots) slots *= 2;
    while (children < m->nchildren) children *= 2;
    c->options = pk_alloc_zeroed(options);
    c->slot = pk_alloc_zeroed(slots * (int64_t)sizeof *c->slot);
    c->child = pk_alloc_zeroed(children * (int64_t)sizeof *c->child);
    pk_status status = c->options && c->slot && c->child ? PK_OK : pk_no_memory(options);
    if (status == PK_OK && options) memcpy(c->options, m->options, (size_t)options);
    for (int i = 0; i < m->nslots && status == PK_OK; i++) {
        c->slot[i] = m->slot[i];
        status = copy_tensor(seen, m->slot[i].tensor, &c->slot[i].tensor);
        if (status == PK_OK) c->nslots = i + 1;
    }
    for (int i = 0; i < m->nchildren && status == PK_OK; i++) {
        c->child[i] = m->child[i];
        status = copy_module(seen, m->child[i].module, &c->child[i].module);
        if (status == PK_OK) c->nchildren = i + 1;
    }
    if (status != PK_OK) {
        pk_module_release(c);
        return status;
    }
    *out = c;
    return PK_OK;
}

pk_status pk_module_clone(pk_module *m, pk_module **out) {
    pairs *seen = NULL;
    *out = NULL;
    pk_status status = copy_module(&seen, m, out);
    while (seen) {
        pairs *next = seen->next;
        pk_free(seen);
        seen = next;
    }
    return status;
}
