/* Weights in and out of a module tree. */
#include "io/weights.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "io/layout.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io/tensors.h"
#include "nn/mixer.h"

extern const pk_class pk_class_PeripheralConv;

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

/* The grid of a shared kernel, without which its weights mean nothing. */
static pk_status note_grid(void *context, const char *path, pk_module *m, int depth) {
    (void)depth;
    pk_ints grid;
    char key[PK_KEY_ROOM + 32], text[8 * PK_MAX_LIST];
    if (m->cls != &pk_class_PeripheralConv) return PK_OK;
    PK_TRY(pk_peripheral_grid(m, &grid));
    snprintf(key, sizeof key, PK_GRID_NOTE "%s%sweight", path, *path ? "." : "");
    size_t n = 0;
    for (int32_t i = 0; i < grid.n; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%d", i ? "," : "", (int)grid.v[i]);
    return pk_dict_note(context, key, text);
}

static bool is_npz(const char *path) {
    size_t n = strlen(path);
    return n > 4 && strcasecmp(path + n - 4, ".npz") == 0;
}

pk_status pk_module_save(pk_module *m, const char *path, const pk_dict *metadata) {
    pk_dict d = {0};
    pk_status status = pk_module_state(m, &d);
    if (status == PK_OK && !is_npz(path)) status = pk_module_each(m, note_grid, &d);
    for (int64_t i = 0; metadata && status == PK_OK && i < metadata->pairs; i++)
        status = pk_dict_note(&d, metadata->pair[i].key, metadata->pair[i].value);
    if (status == PK_OK) status = is_npz(path) ? pk_npz_save(&d, path) : pk_safetensors_save(&d, path);
    pk_dict_clear(&d);
    return status;
}

/* ---- in: first look, then write ---- */

/* A new classifier: truncated normal of deviation 0.02, times the model's head_init_scale; biases 0. */
static pk_status reset(const pk_fitting *f, pk_tensor *t) {
    double scale = 0.02;
    const pk_class *cls = f->m->cls;
    const pk_field *field = pk_schema_find(cls->fields, cls->nfields, "head_init_scale");
    if (field && field->type == PK_FLOAT) scale *= *(const double *)((const char *)f->m->options + field->offset);
    if (t->ndim < 2) return pk_tensor_fill(t, 0);
    pk_tensor *fresh;
    PK_TRY(pk_tensor_like(t, &fresh));
    uint64_t stream = pk_random_stream();
    for (int64_t i = 0; i < pk_numel(fresh); i++) pk_f32(fresh)[i] = pk_random_trunc_normal(stream, (uint64_t)i, scale);
    pk_status status = pk_tensor_copy(t, fresh);
    pk_tensor_release(fresh);
    return status;
}

/* Both sides under one set of names, and a place for what comes of each. */
static pk_status begin(pk_fitting *f, const pk_dict *d, pk_status failure) {
    PK_TRY(pk_module_state(f->m, &f->wanted));
    PK_TRY(pk_dict_sort(&f->wanted));
    PK_TRY(pk_naming_find(d, &f->wanted, f->o->prefix, f->o->source, &f->naming));
    PK_TRY(pk_naming_apply(&f->naming, d, &f->given));
    pk_status status = pk_dict_sort(&f->given);
    if (status != PK_OK) return status == PK_EINVAL ? failure : status;
    f->state = pk_alloc_zeroed(f->wanted.count);
    f->used = pk_alloc_zeroed(f->given.count);
    return f->state && f->used ? PK_OK : pk_no_memory(f->wanted.count);
}

static pk_status write_all(const pk_fitting *f) {
    for (int64_t i = 0; i < f->wanted.count; i++) {
        pk_tensor *t = f->wanted.item[i].tensor;
        if (f->state[i] == PK_FIT_FITS)
            PK_TRY(pk_tensor_copy(t, f->given.item[pk_dict_find(&f->given, f->wanted.item[i].name)].tensor));
        if (f->state[i] == PK_FIT_RESET) PK_TRY(reset(f, t));
    }
    return PK_OK;
}

static pk_status set_state(pk_fitting *f, const pk_dict *d, pk_status failure) {
    PK_TRY(begin(f, d, failure));
    PK_TRY(pk_fit_adapt(f));
    pk_fit_report(f);
    bool bad = f->fit->misfit || (f->o->strict && (f->fit->missing || f->fit->unexpected));
    PK_RETURN_IF(bad, failure, "the weights do not fit this model. %s", f->fit->text);
    return write_all(f);
}

pk_status pk_module_set_state(pk_module *m, const pk_dict *d, const pk_load_options *o, pk_status failure,
                              pk_fit *fit) {
    pk_fit own;
    pk_fitting f = {.m = m, .o = o, .fit = fit ? fit : &own};
    memset(f.fit, 0, sizeof *f.fit);
    pk_status status = set_state(&f, d, failure);
    pk_dict_clear(&f.wanted);
    pk_dict_clear(&f.given);
    pk_free(f.state);
    pk_free(f.used);
    return status;
}

pk_status pk_module_load(pk_module *m, const char *path, const pk_load_options *o, pk_fit *fit) {
    pk_dict d = {0};
    PK_TRY(pk_tensors_load(path, &o->pick, true, &d, NULL));
    pk_status status = pk_module_set_state(m, &d, o, PK_EFORMAT, fit);
    pk_dict_clear(&d);
    return status == PK_EFORMAT ? pk_fail_prefix(status, "%s: ", path) : status;
}
