/* Watching a forward: see profile.h. */
#include "nn/profile.h"

#include <string.h>

#include "core/alloc.h"
#include "core/rng.h"

const pk_profile_row *pk_profile_find(const pk_profile *p, const pk_module *m) {
    for (int64_t i = 0; i < p->count; i++)
        if (p->row[i].module == m) return &p->row[i];
    return NULL;
}

static void add_macs(pk_macs *sum, const pk_macs *m) {
    sum->paper += m->paper;
    sum->dense += m->dense;
    sum->in_image += m->in_image;
    sum->run += m->run;
}

static void saw(pk_watch *w, pk_module *m, const pk_tensor *y, const pk_macs *macs, double seconds) {
    pk_profile_row *r = (pk_profile_row *)pk_profile_find((pk_profile *)w, m);
    if (!r) return;
    r->calls++;
    r->ndim = y->ndim;
    memcpy(r->shape, y->shape, sizeof r->shape);
    add_macs(&r->macs, macs);
    r->seconds += seconds;
}

static pk_status count_module(void *context, const char *path, pk_module *m, int depth) {
    (void)path, (void)m, (void)depth;
    ++*(int64_t *)context;
    return PK_OK;
}

/* A function of the caller's may change the tree while it runs: the rows keep the modules that were there. */
static pk_status add_module(void *context, const char *path, pk_module *m, int depth) {
    pk_profile *p = context;
    (void)path;
    if (p->count < p->room)
        p->row[p->count++] = (pk_profile_row){.module = pk_module_retain(m), .training = m->training, .depth = depth};
    return PK_OK;
}

/* A list whose parts are run one by one costs what they cost. Rows stand in tree order, so parts come later. */
static void add_parts(pk_profile *p) {
    for (int64_t i = p->count - 1; i >= 0; i--) {
        pk_profile_row *r = &p->row[i];
        for (int64_t j = i + 1; !r->calls && j < p->count && p->row[j].depth > r->depth; j++) {
            if (p->row[j].depth != r->depth + 1) continue;
            add_macs(&r->macs, &p->row[j].macs);
            r->seconds += p->row[j].seconds;
        }
    }
}

pk_status pk_profile_run(pk_profile *p, pk_module *m, pk_tensor *x) {
    *p = (pk_profile){.watch = {saw}};
    pk_tensor *y;
    PK_TRY(pk_module_each(m, count_module, &p->room));
    p->row = pk_alloc_zeroed(p->room * (int64_t)sizeof *p->row);
    if (!p->row) return pk_no_memory(p->room * (int64_t)sizeof *p->row);
    pk_module_each(m, add_module, p);
    uint64_t random[2]; /* drop path takes a stream even where it drops nothing */
    pk_random_get_state(random);
    pk_module_train(m, false);
    bool grads = pk_set_grad_enabled(false);
    pk_watch *before = pk_module_watch(&p->watch);
    pk_status status = pk_module_forward(m, x, &y);
    pk_module_watch(before);
    pk_set_grad_enabled(grads);
    pk_random_set_state(random);
    for (int64_t i = 0; i < p->count; i++) p->row[i].module->training = p->row[i].training;
    if (status == PK_OK) {
        pk_tensor_release(y);
        add_parts(p);
    } else {
        pk_profile_free(p);
    }
    return status;
}

pk_status pk_profile_count(pk_profile *p, pk_module *m, int ndim, const int64_t *shape, double density) {
    pk_macs macs = {.density = density};
    pk_tensor *x;
    *p = (pk_profile){.watch = {saw}};
    PK_TRY(pk_tensor_hollow(PK_FLOAT32, ndim, shape, &x));
    pk_macs *before = pk_count(&macs);
    pk_status status = pk_profile_run(p, m, x);
    pk_count(before);
    pk_tensor_release(x);
    return status;
}

void pk_profile_free(pk_profile *p) {
    for (int64_t i = 0; i < p->count; i++) pk_module_release(p->row[i].module);
    pk_free(p->row);
    p->row = NULL;
    p->count = p->room = 0;
}
