/* Making a file's tensor fit: dimensions of 1, kernels of another size or grid, a classifier of other classes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/weights.h"
#include "nn/mixer.h"
#include "ops/grid.h"

extern const pk_class pk_class_PeripheralConv;

/* ---- shapes that differ in dimensions of 1 only: 1x1 convolutions for linear layers, scales of a pixel ---- */

/* A view of t with the shape of `like`; null: the other dimensions differ. */
static pk_status squeeze_to(const pk_tensor *t, const pk_tensor *like, pk_tensor **out) {
    int64_t stride[PK_MAX_DIMS];
    int from = 0;
    *out = NULL;
    for (int d = 0; d < like->ndim; d++) {
        stride[d] = 1;
        if (like->shape[d] == 1) continue;
        while (from < t->ndim && t->shape[from] == 1) from++;
        if (from == t->ndim || t->shape[from] != like->shape[d]) return PK_OK;
        stride[d] = t->stride[from++];
    }
    while (from < t->ndim && t->shape[from] == 1) from++;
    return from == t->ndim ? pk_tensor_window(t, like->ndim, like->shape, stride, 0, out) : PK_OK;
}

/* ---- kernels ---- */

static bool ends_in(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0 && (n == k || name[n - k - 1] == '.');
}

/* The module that owns "a.b.weight". */
static pk_module *owner_of(pk_module *m, const char *name) {
    char path[PK_KEY_ROOM];
    const char *dot = strrchr(name, '.');
    snprintf(path, sizeof path, "%.*s", (int)(dot ? dot - name : 0), name);
    return pk_module_get(m, path);
}

bool pk_fit_noted_grid(const pk_fitting *f, const char *name, pk_ints *grid) {
    char key[PK_KEY_ROOM + 16];
    const char *text = NULL;
    snprintf(key, sizeof key, PK_GRID_NOTE "%s", name);
    for (int64_t i = 0; i < f->given.pairs && !text; i++)
        if (strcmp(f->given.pair[i].key, key) == 0) text = f->given.pair[i].value;
    grid->n = 0;
    while (text && *text >= '1' && *text <= '9' && grid->n < PK_MAX_LIST) {
        char *end;
        long band = strtol(text, &end, 10);
        if (band > PK_MAX_KERNEL) return false;
        grid->v[grid->n++] = (int32_t)band;
        if (*end == '\0') return pk_grid_total(grid) <= PK_MAX_KERNEL;
        text = *end == ',' ? end + 1 : NULL;
    }
    return false;
}

/* The side of the position map among the given tensors for a kernel of this name, in a module around it; 0: none. */
static int64_t position_side(const pk_fitting *f, const char *name) {
    char path[PK_KEY_ROOM + 16];
    for (size_t n = strlen(name); n > 0; n--) {
        if (name[n] != '.') continue;
        snprintf(path, sizeof path, "%.*s.position", (int)n, name);
        int64_t i = pk_dict_find(&f->given, path);
        if (i >= 0 && f->given.item[i].tensor->ndim == 3) return f->given.item[i].tensor->shape[2];
    }
    return 0;
}

/* On which grid a given kernel of `side` weights lies: as noted in the file; dense when it is as large as the model's
 * kernel; by the rule of the model's grid for the size of the file's position map. */
static bool grid_of_given(const pk_fitting *f, const char *name, const pk_module *layer, int64_t side, pk_ints *grid) {
    if (pk_fit_noted_grid(f, name, grid)) return grid->n == side;
    pk_ints own;
    if (pk_peripheral_grid(layer, &own) != PK_OK) return false;
    if (pk_grid_total(&own) == side) return pk_bands_of_one(side, grid) == PK_OK;
    const pk_mixer *mixer = pk_peripheral_mixer(layer);
    int64_t k = position_side(f, name);
    return k > 0 && pk_grid(k, mixer->radius, mixer->base, (pk_grid_rule)mixer->rule, grid) == PK_OK && grid->n == side;
}

/* Rows' and columns' bands of the given kernel or map and of the wanted one; false: it is nothing that is resized. */
static bool bands_of(const pk_fitting *f, const char *name, const pk_tensor *given, const pk_tensor *wanted,
                     pk_ints from[2], pk_ints to[2]) {
    bool kernel = ends_in(name, "weight") && wanted->ndim == 4, map = ends_in(name, "position") && wanted->ndim == 3;
    int last = wanted->ndim - 1;
    if ((!kernel && !map) || given->ndim != wanted->ndim || given->shape[0] != wanted->shape[0]) return false;
    if (kernel && (given->shape[1] != 1 || wanted->shape[1] != 1)) return false;
    const pk_module *layer = kernel ? owner_of(f->m, name) : NULL;
    if (layer && layer->cls == &pk_class_PeripheralConv) {
        int64_t side = given->shape[2];
        if (side != given->shape[3] || !grid_of_given(f, name, layer, side, &from[0])) return false;
        from[1] = from[0];
        if (pk_peripheral_grid(layer, &to[0]) != PK_OK || to[0].n != wanted->shape[2]) return false;
        to[1] = to[0];
        return true;
    }
    for (int axis = 0; axis < 2; axis++)
        if (pk_bands_of_one(given->shape[last - 1 + axis], &from[axis]) != PK_OK ||
            pk_bands_of_one(wanted->shape[last - 1 + axis], &to[axis]) != PK_OK)
            return false;
    return true;
}

static bool same_bands(const pk_ints *a, const pk_ints *b) {
    return a->n == b->n && memcmp(a->v, b->v, (size_t)a->n * sizeof *a->v) == 0;
}

/* Does the file say that this kernel lies on another grid than the model's, though as many weights wide? */
static bool other_grid(const pk_fitting *f, const char *name) {
    pk_ints noted, own;
    const pk_module *layer = ends_in(name, "weight") ? owner_of(f->m, name) : NULL;
    if (!layer || layer->cls != &pk_class_PeripheralConv || !pk_fit_noted_grid(f, name, &noted)) return false;
    return pk_peripheral_grid(layer, &own) == PK_OK && !same_bands(&noted, &own);
}

/* ---- the classifier ---- */

/* Is it the weight or bias of a linear layer in the head that takes as many inputs but has other outputs? */
static bool is_classifier(const pk_fitting *f, const char *name) {
    char weight[PK_KEY_ROOM];
    const char *dot = strrchr(name, '.');
    if (strncmp(name, "head.", 5) != 0) return false;
    snprintf(weight, sizeof weight, "%.*s.weight", (int)(dot - name), name);
    int64_t g = pk_dict_find(&f->given, weight), w = pk_dict_find(&f->wanted, weight);
    if (g < 0 || w < 0) return false;
    const pk_tensor *given = f->given.item[g].tensor, *wanted = f->wanted.item[w].tensor;
    return given->ndim == 2 && wanted->ndim == 2 && given->shape[1] == wanted->shape[1];
}

/* ---- one tensor ---- */

static pk_status adapt(pk_fitting *f, int64_t i) {
    const pk_named *wanted = &f->wanted.item[i];
    int64_t at = pk_dict_find(&f->given, wanted->name);
    f->state[i] = PK_FIT_MISSING;
    if (at < 0) return PK_OK;
    f->used[at] = true;
    pk_named *given = &f->given.item[at];
    pk_tensor *made = NULL;
    bool other = other_grid(f, wanted->name);
    f->state[i] = PK_FIT_MISFIT;
    if (given->tensor->dtype != wanted->tensor->dtype) return PK_OK;
    if (!other) PK_TRY(squeeze_to(given->tensor, wanted->tensor, &made));
    if (!made && f->o->resize != PK_RESIZE_OFF && given->tensor->dtype == PK_FLOAT32) {
        pk_ints from[2], to[2];
        if (bands_of(f, wanted->name, given->tensor, wanted->tensor, from, to)) {
            bool kernel = wanted->tensor->ndim == 4;
            PK_TRY(pk_kernel_resize(given->tensor, from, to, (pk_resize)f->o->resize, kernel, &made));
            f->fit->resized++;
        }
    }
    if (made) {
        pk_tensor_release(given->tensor);
        given->tensor = made;
        f->state[i] = PK_FIT_FITS;
    } else if (f->o->reset_head && is_classifier(f, wanted->name)) {
        f->state[i] = PK_FIT_RESET;
        f->fit->reset++;
    }
    return PK_OK;
}

pk_status pk_fit_adapt(pk_fitting *f) {
    for (int maps = 0; maps < 2; maps++)
        for (int64_t i = 0; i < f->wanted.count; i++)
            if (ends_in(f->wanted.item[i].name, "position") == (maps == 1)) PK_TRY(adapt(f, i));
    return PK_OK;
}
