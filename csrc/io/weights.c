/* Weights in and out of a module tree. */
#include "io/weights.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "io/layout.h"
#include "io/safetensors.h"

#define NAMES_SHOWN 8

/* ---- out ---- */

static pk_status collect(void *context, const char *path, pk_module *m, pk_slot *slot) {
    (void)m;
    pk_tensor *view = NULL;
    PK_TRY(pk_layout_to_file(pk_layout_of(slot), slot->tensor, &view));
    pk_status status = pk_dict_add(context, path, view);
    pk_tensor_release(view);
    return status;
}

pk_status pk_module_state(pk_module *m, pk_dict *d) { return pk_module_each_slot(m, collect, d); }

pk_status pk_module_save(pk_module *m, const char *path, const pk_dict *metadata) {
    pk_dict d = {0};
    pk_status status = pk_module_state(m, &d);
    for (int64_t i = 0; metadata && status == PK_OK && i < metadata->pairs; i++)
        status = pk_dict_note(&d, metadata->pair[i].key, metadata->pair[i].value);
    if (status == PK_OK) status = pk_safetensors_save(&d, path);
    pk_dict_clear(&d);
    return status;
}

/* ---- in: first look, then write ---- */

typedef struct fitting {
    const pk_dict *d;
    bool *used; /* which entries found their place */
    pk_fit *fit;
    size_t length; /* of fit->text */
} fitting;

static void say(fitting *f, const char *text) {
    size_t room = sizeof f->fit->text - f->length;
    int n = snprintf(f->fit->text + f->length, room, "%s", text);
    if (n > 0) f->length += (size_t)n < room ? (size_t)n : room - 1;
}

/* The first few names of a kind go into the account. */
static void count(fitting *f, int64_t *counter, const char *title, const char *name, const char *detail) {
    char line[512];
    if (++*counter > NAMES_SHOWN) return;
    snprintf(line, sizeof line, "%s%.160s%.200s", *counter == 1 ? title : ", ", name, detail);
    say(f, line);
}

static void close_kind(fitting *f, int64_t counter) {
    char line[64] = "";
    if (counter > NAMES_SHOWN) snprintf(line, sizeof line, " and %lld more", (long long)(counter - NAMES_SHOWN));
    if (counter > 0) snprintf(line + strlen(line), sizeof line - strlen(line), " (%lld in all)", (long long)counter);
    say(f, line);
}

static pk_status look_for_missing(void *context, const char *path, pk_module *m, pk_slot *slot) {
    (void)m, (void)slot;
    fitting *f = context;
    int64_t i = pk_dict_find(f->d, path);
    if (i < 0)
        count(f, &f->fit->missing, "missing: ", path, "");
    else
        f->used[i] = true;
    return PK_OK;
}

static pk_status look_for_misfits(void *context, const char *path, pk_module *m, pk_slot *slot) {
    (void)m;
    fitting *f = context;
    int64_t i = pk_dict_find(f->d, path), want[PK_MAX_DIMS];
    if (i < 0) return PK_OK;
    const pk_tensor *given = f->d->item[i].tensor;
    int ndim = pk_layout_file_shape(pk_layout_of(slot), slot->tensor->ndim, slot->tensor->shape, want);
    bool same_shape = given->ndim == ndim && memcmp(given->shape, want, (size_t)ndim * sizeof *want) == 0;
    if (same_shape && given->dtype == slot->tensor->dtype) return PK_OK;
    char detail[256];
    if (same_shape)
        snprintf(detail, sizeof detail, " is %s, the model has %s", pk_dtype_name(given->dtype),
                 pk_dtype_name(slot->tensor->dtype));
    else
        snprintf(detail, sizeof detail, " is %s, the model has %s", pk_shape_text(given), pk_dims_text(ndim, want));
    count(f, &f->fit->misfit, "other shape: ", path, detail);
    return PK_OK;
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static void look_for_unexpected(fitting *f) {
    for (int64_t i = 0; i < f->d->count; i++) {
        const char *name = f->d->item[i].name;
        if (f->used[i] || ends_with(name, "num_batches_tracked")) continue;
        count(f, &f->fit->unexpected, f->length ? "; unexpected: " : "unexpected: ", name, "");
    }
}

static pk_status look(pk_module *m, fitting *f) {
    PK_TRY(pk_module_each_slot(m, look_for_missing, f));
    close_kind(f, f->fit->missing);
    look_for_unexpected(f);
    close_kind(f, f->fit->unexpected);
    if (f->length) say(f, "; ");
    size_t before = f->length;
    PK_TRY(pk_module_each_slot(m, look_for_misfits, f));
    close_kind(f, f->fit->misfit);
    if (f->length == before && before >= 2) f->fit->text[f->length = before - 2] = '\0';
    return PK_OK;
}

static pk_status copy_slot(void *context, const char *path, pk_module *m, pk_slot *slot) {
    (void)m;
    const pk_dict *d = ((fitting *)context)->d;
    int64_t i = pk_dict_find(d, path);
    if (i < 0) return PK_OK;
    pk_tensor *view = NULL;
    PK_TRY(pk_layout_from_file(pk_layout_of(slot), d->item[i].tensor, &view));
    pk_status status = pk_tensor_copy(slot->tensor, view);
    pk_tensor_release(view);
    return status;
}

pk_status pk_module_set_state(pk_module *m, const pk_dict *d, bool strict, pk_status failure, pk_fit *fit) {
    pk_fit own;
    fitting f = {d, NULL, fit ? fit : &own, 0};
    memset(f.fit, 0, sizeof *f.fit);
    f.used = pk_alloc_zeroed(d->count);
    if (!f.used) return pk_no_memory(d->count);
    pk_status status = look(m, &f);
    pk_free(f.used);
    PK_TRY(status);
    bool bad = f.fit->misfit || (strict && (f.fit->missing || f.fit->unexpected));
    PK_RETURN_IF(bad, failure, "the weights do not fit this model. %s", f.fit->text);
    return pk_module_each_slot(m, copy_slot, &f);
}

pk_status pk_module_load(pk_module *m, const char *path, bool strict, pk_fit *fit) {
    pk_dict d = {0};
    PK_TRY(pk_safetensors_load(path, &d));
    pk_status status = pk_module_set_state(m, &d, strict, PK_EFORMAT, fit);
    pk_dict_clear(&d);
    return status == PK_EFORMAT ? pk_fail_prefix(status, "%s: ", path) : status;
}
