/* Arenas of parameters. */
#include "train/params.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"

enum { ALIGN = 16 }; /* elements: every parameter begins on a cache line */

/* ---- collecting ---- */

typedef struct collector {
    pk_params *p;
    const char *const *no_decay;
    int64_t room;
} collector;

static bool named_in(const char *path, const char *const *list) {
    for (; list && *list; list++)
        if (strstr(path, *list)) return true;
    return false;
}

static pk_status collect(void *context, const char *path, pk_module *m, pk_slot *slot) {
    collector *c = context;
    (void)m;
    if (slot->buffer || !slot->tensor->requires_grad) return PK_OK;
    for (int64_t i = 0; i < c->p->count; i++)
        if (c->p->param[i].tensor == slot->tensor) return PK_OK; /* shared with a module before */
    PK_TRY(pk_grow(&c->p->param, c->p->count, &c->room, sizeof *c->p->param));
    pk_param *p = &c->p->param[c->p->count];
    p->path = pk_strdup(path);
    if (!p->path) return pk_no_memory((int64_t)strlen(path));
    p->tensor = pk_tensor_retain(slot->tensor);
    p->at = c->p->total;
    p->count = pk_numel(slot->tensor);
    p->decay = slot->tensor->ndim > 1 && !slot->no_decay && !named_in(path, c->no_decay);
    p->lr_scale = 1;
    p->weight_decay = -1;
    c->p->total += pk_round_up(p->count, ALIGN);
    c->p->count++;
    return PK_OK;
}

/* ---- moving ---- */

/* The window of an arena that belongs to parameter p. */
static pk_status window(const pk_tensor *arena, const pk_param *p, pk_tensor **out) {
    int64_t stride[PK_MAX_DIMS], s = 1;
    for (int d = p->tensor->ndim - 1; d >= 0; d--) {
        stride[d] = s;
        s *= p->tensor->shape[d];
    }
    return pk_tensor_window(arena, p->tensor->ndim, p->tensor->shape, stride, p->at, out);
}

static pk_status adopt_gradient(pk_params *all, pk_param *p, bool zeroed) {
    pk_tensor *mine;
    PK_TRY(window(all->grads, p, &mine));
    const pk_tensor *g = pk_tensor_grad(p->tensor);
    if (g)
        pk_tensor_copy(mine, g);
    else if (!zeroed) /* an arena that nobody touched takes no memory yet */
        pk_tensor_fill(mine, 0);
    pk_tensor_release(p->tensor->grad);
    p->tensor->grad = mine;
    return PK_OK;
}

static pk_status move_in(pk_params *all, pk_param *p) {
    pk_tensor *mine;
    PK_TRY(window(all->values, p, &mine));
    pk_tensor_copy(mine, p->tensor);
    pk_tensor_rebase(p->tensor, all->values->storage, p->at);
    pk_tensor_release(mine);
    return adopt_gradient(all, p, true);
}

/* A flat tensor of zeros that takes no memory before it is touched. */
static pk_status new_arena(const pk_params *p, pk_tensor **out) {
    PK_TRY(pk_tensor_new(PK_FLOAT32, 1, &p->total, out));
    pk_zero_pages((*out)->storage->data, (*out)->storage->bytes);
    return PK_OK;
}

static pk_status fill(pk_params *p, pk_module *m, const char *const *no_decay, int moments) {
    collector c = {p, no_decay, 0};
    PK_TRY(pk_module_each_slot(m, collect, &c));
    PK_RETURN_IF(p->count == 0, PK_EINVAL, "the model has no parameter that requires a gradient");
    PK_TRY(new_arena(p, &p->values));
    PK_TRY(new_arena(p, &p->grads));
    for (int i = 0; i < moments; i++) PK_TRY(new_arena(p, &p->moment[i]));
    for (int64_t i = 0; i < p->count; i++) PK_TRY(move_in(p, &p->param[i]));
    pk_memory_trim(); /* where the parameters were: blocks of sizes that nobody will ask for */
    p->values->storage->owner = p;
    for (int64_t i = 0; i < p->count; i++)
        if (p->param[i].tensor->mask) return pk_params_adopt_masks(p);
    return PK_OK;
}

pk_status pk_params_new(pk_module *m, const char *const *no_decay, int moments, pk_params **out) {
    *out = NULL;
    pk_params *p = pk_alloc_zeroed(sizeof *p);
    if (!p) return pk_no_memory(sizeof *p);
    pk_status status = fill(p, m, no_decay, moments);
    if (status == PK_OK) {
        *out = p;
        return PK_OK;
    }
    for (int i = 0; i < moments; i++) pk_tensor_release(p->moment[i]);
    pk_params_free(p);
    return status;
}

void pk_params_free(pk_params *p) {
    if (!p) return;
    for (int64_t i = 0; i < p->count; i++) {
        pk_tensor_release(p->param[i].tensor);
        pk_free(p->param[i].path);
    }
    if (p->values && p->values->storage->owner == p) p->values->storage->owner = NULL;
    pk_tensor_release(p->values);
    pk_tensor_release(p->grads);
    pk_tensor_release(p->masks);
    pk_free(p->param);
    pk_free(p);
}

pk_status pk_params_ready(pk_params *p) {
    for (int64_t i = 0; i < p->count; i++) {
        pk_param *q = &p->param[i];
        PK_RETURN_IF(q->tensor->storage != p->values->storage, PK_EINVAL,
                     "parameter %s was moved by a later optimiser of this model: only the last one made can step", q->path);
        const pk_tensor *g = pk_tensor_grad(q->tensor); /* the arena is read whole: nothing old may lie in it */
        if (!g || g->storage != p->grads->storage) PK_TRY(adopt_gradient(p, q, false));
    }
    return PK_OK;
}

/* Gradients that nobody else sees are not cleared but marked: the next backward writes them instead of adding. */
void pk_params_zero_grad(pk_params *p) {
    const bool ours = atomic_load(&p->grads->storage->refs) == p->count + 1; /* our windows and the arena */
    for (int64_t i = 0; i < p->count; i++) {
        pk_tensor *g = p->param[i].tensor->grad;
        if (!g) continue;
        g->stale = ours && g->storage == p->grads->storage && atomic_load(&g->refs) == 1;
        if (!g->stale) pk_tensor_fill(g, 0);
    }
}

pk_params *pk_params_of(const pk_tensor *t) { return t->storage ? t->storage->owner : NULL; }

const pk_param *pk_params_find(const pk_params *p, const pk_tensor *t) {
    for (int64_t i = 0; i < p->count; i++)
        if (p->param[i].tensor == t) return &p->param[i];
    return NULL;
}

/* ---- masks ---- */

static pk_status mask_windows(const pk_params *p, const pk_tensor *arena, pk_tensor **mine) {
    for (int64_t i = 0; i < p->count; i++)
        if (p->param[i].tensor->mask) PK_TRY(window(arena, &p->param[i], &mine[i]));
    return PK_OK;
}

static void swap_mask(pk_tensor *t, pk_tensor *mine) {
    memcpy(pk_u8(mine), pk_u8(t->mask), (size_t)pk_numel(mine));
    pk_tensor_release(t->mask);
    t->mask = mine;
}

pk_status pk_params_adopt_masks(pk_params *p) {
    pk_tensor *arena = NULL, **mine = pk_alloc_zeroed(p->count * (int64_t)sizeof *mine);
    pk_status status = mine ? pk_tensor_new(PK_UINT8, 1, &p->total, &arena) : pk_no_memory(p->count);
    if (status == PK_OK) status = mask_windows(p, arena, mine);
    if (status == PK_OK) {
        memset(pk_u8(arena), 1, (size_t)p->total);
        for (int64_t i = 0; i < p->count; i++)
            if (mine[i]) swap_mask(p->param[i].tensor, mine[i]);
        pk_tensor_release(p->masks);
        p->masks = arena;
        p->masked = atomic_load(&p->values->storage->version) - 1;
    } else {
        for (int64_t i = 0; mine && i < p->count; i++) pk_tensor_release(mine[i]);
        pk_tensor_release(arena);
    }
    pk_free(mine);
    return status;
}

void pk_tensor_drop_mask(pk_tensor *t) {
    if (!t->mask) return;
    memset(pk_u8(t->mask), 1, (size_t)pk_numel(t)); /* its place in an arena */
    pk_tensor_release(t->mask);
    t->mask = NULL;
}

typedef struct mask_job {
    pk_params *p;
    int64_t chunks;
} mask_job;

static void mask_chunk(void *context, int64_t i, int worker) {
    const mask_job *j = context;
    (void)worker;
    int64_t begin = pk_chunk_begin(j->p->total, j->chunks, i), end = pk_chunk_begin(j->p->total, j->chunks, i + 1);
    pk_k()->mask_apply(end - begin, pk_f32(j->p->values) + begin, pk_u8(j->p->masks) + begin);
}

void pk_params_apply_masks(pk_params *p) {
    if (!p->masks || atomic_load(&p->values->storage->version) == p->masked) return;
    mask_job j = {p, pk_chunks(p->total, 1 << 16)};
    pk_parallel(j.chunks, mask_chunk, &j);
    pk_tensor_written(p->values);
    p->masked = atomic_load(&p->values->storage->version);
}
