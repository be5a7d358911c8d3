/* Averages of weights: entries that follow one another in memory are averaged in one pass. */
#include "train/ema.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"
#include "nn/fields.h"

enum { ALIGN = 16 }; /* elements, as the arenas of parameters */

const pk_field pk_ema_fields[] = {
    F_FLOAT(pk_ema_options, decay, 0.9999, 0, 1, "share of the average that a step keeps"),
    F_BOOL(pk_ema_options, warmup, 0, "smaller at first: at most 1 - (1 + steps)^(-2/3)"),
};
const int pk_ema_nfields = F_COUNT(pk_ema_fields);

/* ---- making ---- */

typedef struct collector {
    pk_ema *e;
    int64_t slots;
    bool trained; /* which of the two visits: what requires a gradient, then the rest */
} collector;

static pk_status count_slot(void *context, const char *path, pk_module *m, pk_slot *slot) {
    (void)path, (void)m, (void)slot;
    ++((collector *)context)->slots;
    return PK_OK;
}

static pk_status collect(void *context, const char *path, pk_module *m, pk_slot *slot) {
    collector *c = context;
    pk_ema *e = c->e;
    (void)path, (void)m;
    bool trained = !slot->buffer && slot->tensor->requires_grad;
    if (trained != c->trained || slot->tensor->dtype != PK_FLOAT32) return PK_OK;
    for (int64_t i = 0; i < e->count; i++)
        if (e->entry[i].tensor == slot->tensor) return PK_OK; /* of a module that is in the tree twice */
    e->entry[e->count++] = (pk_ema_entry){pk_tensor_retain(slot->tensor), e->total, pk_numel(slot->tensor)};
    e->total += pk_round_up(pk_numel(slot->tensor), ALIGN);
    return PK_OK;
}

static pk_status fill(pk_ema *e, pk_module *m) {
    collector c = {e, 0, true};
    PK_TRY(pk_module_each_slot(m, count_slot, &c));
    PK_RETURN_IF(c.slots == 0, PK_EINVAL, "ema: the model has no parameters");
    e->entry = pk_alloc_zeroed(c.slots * (int64_t)sizeof *e->entry);
    if (!e->entry) return pk_no_memory(c.slots * (int64_t)sizeof *e->entry);
    PK_TRY(pk_module_each_slot(m, collect, &c));
    c.trained = false;
    PK_TRY(pk_module_each_slot(m, collect, &c));
    PK_TRY(pk_tensor_zeros(PK_FLOAT32, 1, &e->total, &e->values));
    for (int64_t i = 0; i < e->count; i++)
        memcpy(pk_f32(e->values) + e->entry[i].at, pk_f32(e->entry[i].tensor),
               (size_t)e->entry[i].count * sizeof(float));
    return PK_OK;
}

pk_status pk_ema_new(pk_module *m, const pk_ema_options *options, pk_ema **out) {
    *out = NULL;
    PK_TRY(pk_schema_check("ema", pk_ema_fields, pk_ema_nfields, options));
    pk_ema *e = pk_alloc_zeroed(sizeof *e);
    if (!e) return pk_no_memory(sizeof *e);
    e->options = *options;
    pk_status status = fill(e, m);
    if (status == PK_OK)
        *out = e;
    else
        pk_ema_free(e);
    return status;
}

void pk_ema_free(pk_ema *e) {
    if (!e) return;
    for (int64_t i = 0; i < e->count; i++) pk_tensor_release(e->entry[i].tensor);
    pk_tensor_release(e->values);
    pk_free(e->entry);
    pk_free(e);
}

/* ---- runs: entries whose values, and masks, lie as far apart as their averages do ---- */

typedef struct run {
    float *avg, *w;
    const uint8_t *mask; /* or null */
    int64_t n, chunks;
    float decay;
} run;

static bool continues(const pk_ema_entry *a, const pk_ema_entry *b) {
    const pk_tensor *s = a->tensor, *t = b->tensor, *p = s->mask, *q = t->mask;
    int64_t apart = b->at - a->at;
    if (s->storage != t->storage || t->offset - s->offset != apart) return false;
    return p && q ? p->storage == q->storage && q->offset - p->offset == apart : p == q;
}

static void each_run(pk_ema *e, float decay, void (*f)(run *r)) {
    for (int64_t first = 0, i = 1; i <= e->count; i++) {
        if (i < e->count && continues(&e->entry[i - 1], &e->entry[i])) continue;
        const pk_ema_entry *a = &e->entry[first], *last = &e->entry[i - 1];
        run r = {.avg = pk_f32(e->values) + a->at, .w = pk_f32(a->tensor), .n = last->at + last->count - a->at, .decay = decay};
        r.mask = a->tensor->mask ? pk_u8(a->tensor->mask) : NULL;
        r.chunks = pk_chunks(r.n, 1 << 15);
        f(&r);
        first = i;
    }
}

static void average_chunk(void *context, int64_t i, int worker) {
    const run *r = context;
    (void)worker;
    int64_t at = pk_chunk_begin(r->n, r->chunks, i), n = pk_chunk_begin(r->n, r->chunks, i + 1) - at;
    if (r->mask)
        pk_k()->ema_step_masked(n, r->avg + at, r->w + at, r->mask + at, r->decay);
    else
        pk_k()->ema_step(n, r->avg + at, r->w + at, r->decay);
}

static void average(run *r) { pk_parallel(r->chunks, average_chunk, r); }

static void swap(run *r) {
    for (int64_t i = 0; i < r->n; i++) {
        float kept = r->avg[i];
        r->avg[i] = r->w[i];
        r->w[i] = kept;
    }
}

void pk_ema_step(pk_ema *e) {
    double decay = e->options.decay;
    e->steps++;
    if (e->options.warmup) decay = fmin(decay, 1 - pow((double)e->steps, -2.0 / 3));
    each_run(e, (float)decay, average);
    pk_tensor_written(e->values);
}

void pk_ema_swap(pk_ema *e) {
    each_run(e, 0, swap);
    pk_tensor_written(e->values);
    for (int64_t i = 0; i < e->count; i++) pk_tensor_written(e->entry[i].tensor);
}
