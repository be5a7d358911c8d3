/* The module tree: making, naming, looking up, forward with paths in messages. Walks over it are in module_walk.c. */
#include "nn/module.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/pool.h"
#include "core/rng.h"

extern const pk_class *const pk_class_registry[]; /* generated */

const pk_class *pk_class_find(const char *name) {
    for (int i = 0; pk_class_registry[i]; i++)
        if (strcmp(pk_class_registry[i]->name, name) == 0) return pk_class_registry[i];
    return NULL;
}

const pk_class *pk_class_at(int i) {
    for (int j = 0; pk_class_registry[j]; j++)
        if (j == i) return pk_class_registry[j];
    return NULL;
}

/* ---- life ---- */

pk_status pk_module_new(const pk_class *cls, const void *options, pk_module **out) {
    *out = NULL;
    pk_module *m = pk_alloc_zeroed(sizeof *m);
    void *copy = m ? pk_alloc_zeroed((int64_t)cls->options_size) : NULL;
    if (!copy) {
        pk_free(m);
        return pk_no_memory((int64_t)(sizeof *m + cls->options_size));
    }
    atomic_init(&m->refs, 1);
    m->cls = cls;
    m->options = copy;
    m->training = true;
    if (options)
        memcpy(copy, options, cls->options_size);
    else
        pk_schema_defaults(cls->fields, cls->nfields, copy, cls->options_size);
    pk_status status = pk_schema_check(cls->name, cls->fields, cls->nfields, copy);
    if (status == PK_OK && cls->build) status = cls->build(m);
    if (status != PK_OK) {
        pk_module_release(m);
        return status;
    }
    *out = m;
    return PK_OK;
}

pk_module *pk_module_retain(pk_module *m) {
    if (m) atomic_fetch_add(&m->refs, 1);
    return m;
}

/* Put m on the list of modules to free, when this was its last reference. */
static void give_up(pk_module *m, pk_module **list) {
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1) return;
    m->next = *list;
    *list = m;
}

/* A tree can be built deeper than the stack allows, so modules are freed one by one instead of by recursion. */
void pk_module_release(pk_module *m) {
    pk_module *list = NULL;
    give_up(m, &list);
    while (list) {
        m = list;
        list = m->next;
        for (int i = 0; i < m->nslots; i++) pk_tensor_release(m->slot[i].tensor);
        for (int i = 0; i < m->nchildren; i++) give_up(m->child[i].module, &list);
        if (m->drop_hook) m->drop_hook(m->hook);
        if (m->drop_cache) m->drop_cache(m->cache);
        pk_free(m->slot);
        pk_free(m->child);
        pk_free(m->options);
        pk_free(m);
    }
}

/* ---- parameters, buffers, children ---- */

/* Room for one more element at the end of an array of count elements. */
static pk_status grow(void **array, int count, size_t size) {
    if (count & (count - 1)) return PK_OK; /* room doubles at powers of two: 1, 2, 4 ... */
    int64_t bytes = (int64_t)(count ? 2 * count : 1) * (int64_t)size;
    void *larger = pk_alloc_zeroed(bytes);
    if (!larger) return pk_no_memory(bytes);
    if (count) memcpy(larger, *array, (size_t)count * size);
    pk_free(*array);
    *array = larger;
    return PK_OK;
}

static pk_status check_name(const pk_module *m, const char *name) {
    PK_RETURN_IF(name[0] == 0 || strlen(name) >= sizeof m->child->name || strchr(name, '.'), PK_EINVAL,
                 "%s: '%s' is no name for a part: 1 to 31 letters without dots", m->cls->name, name);
    PK_RETURN_IF(pk_module_slot(m, name) || pk_module_child(m, name), PK_EINVAL, "%s: there is a '%s' already",
                 m->cls->name, name);
    return PK_OK;
}

/* Add a slot; takes over the reference to the tensor, also on failure. */
static pk_status add_slot(pk_module *m, const char *name, pk_tensor *t, bool buffer, bool shared) {
    void *array = m->slot;
    pk_status status = check_name(m, name);
    if (status == PK_OK) status = grow(&array, m->nslots, sizeof *m->slot);
    if (status != PK_OK) {
        pk_tensor_release(t);
        return status;
    }
    m->slot = array;
    pk_slot *s = &m->slot[m->nslots++];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->tensor = t;
    s->buffer = buffer;
    s->shared = shared;
    return PK_OK;
}

typedef struct fill_job {
    float *p;
    int64_t n, chunks;
    uint64_t stream;
    double std;
} fill_job;

static void fill_chunk(void *context, int64_t chunk, int worker) {
    const fill_job *j = context;
    (void)worker;
    int64_t end = pk_chunk_begin(j->n, j->chunks, chunk + 1);
    for (int64_t i = pk_chunk_begin(j->n, j->chunks, chunk); i < end; i++)
        j->p[i] = pk_random_trunc_normal(j->stream, (uint64_t)i, j->std);
}

static void fill_random(pk_tensor *t, double std) {
    fill_job j = {pk_f32(t), pk_numel(t), pk_chunks(pk_numel(t), 1 << 14), pk_random_stream(), std};
    pk_parallel(j.chunks, fill_chunk, &j);
}

static _Thread_local bool blank;

bool pk_module_set_blank(bool on) {
    bool was = blank;
    blank = on;
    return was;
}

pk_status pk_module_parameter(pk_module *m, const char *name, int ndim, const int64_t *shape, pk_init init, double value) {
    pk_tensor *t;
    if (blank) PK_TRY(pk_tensor_new(PK_FLOAT32, ndim, shape, &t));
    else PK_TRY(pk_tensor_zeros(PK_FLOAT32, ndim, shape, &t));
    if (blank) init = PK_INIT_ZEROS;
    if (init == PK_INIT_TRUNC_NORMAL)
        fill_random(t, value);
    else if (init != PK_INIT_ZEROS)
        pk_tensor_fill(t, init == PK_INIT_ONES ? 1 : value);
    t->requires_grad = true;
    return add_slot(m, name, t, false, false);
}

pk_status pk_module_buffer(pk_module *m, const char *name, int ndim, const int64_t *shape, double value) {
    pk_tensor *t;
    PK_TRY(pk_tensor_new(PK_FLOAT32, ndim, shape, &t));
    pk_tensor_fill(t, value);
    return add_slot(m, name, t, true, false);
}

pk_status pk_module_share(pk_module *m, const char *name, pk_tensor *tensor) {
    return add_slot(m, name, pk_tensor_retain(tensor), false, true);
}

pk_status pk_module_add(pk_module *m, const char *name, pk_module *child) {
    char number[16];
    if (!name) {
        snprintf(number, sizeof number, "%d", m->nchildren);
        name = number;
    }
    void *array = m->child;
    pk_status status = check_name(m, name);
    if (status == PK_OK) status = grow(&array, m->nchildren, sizeof *m->child);
    if (status != PK_OK) {
        pk_module_release(child);
        return status;
    }
    m->child = array;
    pk_child *c = &m->child[m->nchildren++];
    snprintf(c->name, sizeof c->name, "%s", name);
    c->module = child;
    return PK_OK;
}

pk_status pk_module_make(pk_module *m, const char *name, const pk_class *cls, const void *options, pk_module **child) {
    pk_module *made;
    pk_status status = pk_module_new(cls, options, &made);
    if (status != PK_OK) return pk_fail_prefix(status, "%s: ", name ? name : cls->name);
    PK_TRY(pk_module_add(m, name, made));
    if (child) *child = made;
    return PK_OK;
}

void pk_module_replace(pk_module *m, int i, const char *name, pk_module *child) {
    pk_module *old = m->child[i].module;
    m->child[i].module = child;
    if (name) snprintf(m->child[i].name, sizeof m->child[i].name, "%s", name);
    pk_module_release(old);
}

void pk_module_cut(pk_module *m, int n) {
    while (m->nchildren > n) pk_module_release(m->child[--m->nchildren].module);
}

void pk_module_drop_slot(pk_module *m, const char *name) {
    pk_slot *s = pk_module_slot(m, name);
    if (!s) return;
    pk_tensor_release(s->tensor);
    m->nslots--;
    memmove(s, s + 1, (size_t)(&m->slot[m->nslots] - s) * sizeof *s);
}

/* ---- looking up ---- */

pk_slot *pk_module_slot(const pk_module *m, const char *name) {
    for (int i = 0; i < m->nslots; i++)
        if (strcmp(m->slot[i].name, name) == 0) return &m->slot[i];
    return NULL;
}

pk_tensor *pk_module_tensor(const pk_module *m, const char *name) {
    pk_slot *s = pk_module_slot(m, name);
    return s ? s->tensor : NULL;
}

pk_module *pk_module_child(const pk_module *m, const char *name) {
    for (int i = 0; i < m->nchildren; i++)
        if (strcmp(m->child[i].name, name) == 0) return m->child[i].module;
    return NULL;
}

pk_module *pk_module_get(pk_module *m, const char *path) {
    while (m && *path) {
        size_t n = strcspn(path, ".");
        char name[sizeof m->child->name];
        if (n >= sizeof name) return NULL;
        memcpy(name, path, n);
        name[n] = 0;
        m = pk_module_child(m, name);
        path += n;
        if (*path == '.' && path[1]) path++;
    }
    return m;
}

/* ---- forward ---- */

static _Thread_local pk_watch *watch;

pk_watch *pk_module_watch(pk_watch *w) {
    pk_watch *was = watch;
    watch = w;
    return was;
}

bool pk_module_watched(void) { return watch != NULL; }

pk_status pk_module_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    *y = NULL;
    PK_RETURN_IF(!m->cls->forward, PK_EINVAL, "%s has no forward", m->cls->name);
    if (!watch) return m->cls->forward(m, x, y);
    const pk_macs begun = pk_counting() ? *pk_counting() : (pk_macs){0};
    const int64_t before = pk_clock_ns();
    PK_TRY(m->cls->forward(m, x, y));
    const int64_t after = pk_clock_ns();
    pk_macs macs = pk_counting() ? *pk_counting() : (pk_macs){0};
    macs.paper -= begun.paper, macs.dense -= begun.dense, macs.in_image -= begun.in_image, macs.run -= begun.run;
    watch->saw(watch, m, *y, &macs, 1e-9 * (double)(after - before));
    return PK_OK;
}

/* "blocks" in front of "0: message" gives "blocks.0: message": a path is what has no blank before its colon. */
static bool begins_with_path(const char *message, const pk_module *m) {
    size_t n = strcspn(message, ".: ");
    char name[sizeof m->child->name];
    if (n == 0 || n >= sizeof name || message[n] == ' ' || message[n] == 0) return false;
    memcpy(name, message, n);
    name[n] = 0;
    return pk_module_child(m, name) != NULL;
}

pk_status pk_module_forward_child(pk_module *m, int i, pk_tensor *x, pk_tensor **y) {
    pk_module *child = m->child[i].module;
    pk_status status = pk_module_forward(child, x, y);
    if (status != PK_OK)
        pk_fail_prefix(status, begins_with_path(pk_message(), child) ? "%s." : "%s: ", m->child[i].name);
    return status;
}
