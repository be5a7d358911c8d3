/* Keeping and finding. */
#include "train/guard.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "kernels/kernels.h"

/* ---- keeping ---- */

static pk_status count_buffer(void *context, const char *path, pk_module *m, pk_slot *slot) {
    pk_guard *g = context;
    (void)path, (void)m;
    g->room += slot->buffer && slot->tensor->dtype == PK_FLOAT32;
    return PK_OK;
}

static pk_status add_buffer(void *context, const char *path, pk_module *m, pk_slot *slot) {
    pk_guard *g = context;
    (void)path, (void)m;
    if (!slot->buffer || slot->tensor->dtype != PK_FLOAT32) return PK_OK;
    g->buffer[g->count++] = pk_tensor_retain(slot->tensor);
    g->total += pk_numel(slot->tensor);
    return PK_OK;
}

static pk_status fill(pk_guard *g) {
    PK_TRY(pk_module_each_slot(g->module, count_buffer, g));
    if (g->room == 0) return PK_OK;
    g->buffer = pk_alloc_zeroed(g->room * (int64_t)sizeof *g->buffer);
    if (!g->buffer) return pk_no_memory(g->room * (int64_t)sizeof *g->buffer);
    PK_TRY(pk_module_each_slot(g->module, add_buffer, g));
    return pk_tensor_zeros(PK_FLOAT32, 1, &g->total, &g->kept);
}

pk_status pk_guard_new(pk_module *m, pk_guard **out) {
    *out = NULL;
    pk_guard *g = pk_alloc_zeroed(sizeof *g);
    if (!g) return pk_no_memory(sizeof *g);
    g->module = pk_module_retain(m);
    pk_status status = fill(g);
    if (status == PK_OK) {
        pk_guard_mark(g);
        *out = g;
    } else {
        pk_guard_free(g);
    }
    return status;
}

void pk_guard_free(pk_guard *g) {
    if (!g) return;
    for (int64_t i = 0; i < g->count; i++) pk_tensor_release(g->buffer[i]);
    pk_free(g->buffer);
    pk_tensor_release(g->kept);
    pk_module_release(g->module);
    pk_free(g);
}

void pk_guard_mark(pk_guard *g) {
    pk_random_get_state(g->random);
    for (int64_t i = 0, at = 0; i < g->count; at += pk_numel(g->buffer[i]), i++)
        memcpy(pk_f32(g->kept) + at, pk_f32(g->buffer[i]), (size_t)pk_numel(g->buffer[i]) * sizeof(float));
}

void pk_guard_restore(pk_guard *g) {
    pk_random_set_state(g->random);
    for (int64_t i = 0, at = 0; i < g->count; at += pk_numel(g->buffer[i]), i++) {
        memcpy(pk_f32(g->buffer[i]), pk_f32(g->kept) + at, (size_t)pk_numel(g->buffer[i]) * sizeof(float));
        pk_tensor_written(g->buffer[i]);
    }
}

/* ---- finding ---- */

static bool all_finite(const pk_tensor *t) {
    if (!t || !t->storage || t->dtype != PK_FLOAT32 || !pk_is_contiguous(t)) return true;
    return isfinite(pk_k()->sum_squares(pk_numel(t), pk_f32(t)));
}

typedef struct finder {
    pk_watch watch; /* first: it is what the tree sees */
    pk_module *module;
    char *text;
    size_t size;
} finder;

static void saw(pk_watch *w, pk_module *m, const pk_tensor *y, const pk_macs *macs, double seconds) {
    finder *f = (finder *)w;
    (void)macs, (void)seconds;
    if (!f->module && !all_finite(y)) f->module = m;
}

static pk_status name_module(void *context, const char *path, pk_module *m, int depth) {
    finder *f = context;
    (void)depth;
    if (m == f->module && !*f->text)
        snprintf(f->text, f->size, "%s (%s) is the first whose output is not finite", *path ? path : "the model",
                 m->cls->name);
    return PK_OK;
}

static pk_status look_at_parameter(void *context, const char *path, pk_module *m, pk_slot *slot) {
    finder *f = context;
    (void)m;
    if (!*f->text && !all_finite(slot->tensor)) snprintf(f->text, f->size, "%s holds values that are not finite", path);
    return PK_OK;
}

static pk_status look_at_gradient(void *context, const char *path, pk_module *m, pk_slot *slot) {
    finder *f = context;
    (void)m;
    if (!all_finite(pk_tensor_grad(slot->tensor))) snprintf(f->text, f->size, "the gradient of %s is not finite", path);
    return PK_OK;
}

static pk_status run_again(finder *f, pk_guard *g, pk_tensor *x) {
    pk_tensor *y = NULL;
    f->watch.saw = saw;
    bool grads = pk_set_grad_enabled(false);
    pk_watch *before = pk_module_watch(&f->watch);
    pk_status status = pk_module_forward(g->module, x, &y);
    pk_module_watch(before);
    pk_set_grad_enabled(grads);
    pk_tensor_release(y);
    if (status == PK_OK && f->module) status = pk_module_each(g->module, name_module, f);
    return status;
}

pk_status pk_guard_explain(pk_guard *g, pk_tensor *x, char *text, size_t size) {
    finder f = {.text = text, .size = size};
    *text = '\0';
    pk_guard_restore(g);
    if (!all_finite(x)) snprintf(text, size, "the input holds values that are not finite");
    if (!*text) PK_TRY(pk_module_each_slot(g->module, look_at_parameter, &f));
    if (!*text) {
        pk_status status = run_again(&f, g, x);
        pk_guard_restore(g);
        PK_TRY(status);
    }
    if (!*text) PK_TRY(pk_module_each_slot(g->module, look_at_gradient, &f));
    if (!*text) snprintf(text, size, "what the model gives is finite: it is the loss");
    return PK_OK;
}
