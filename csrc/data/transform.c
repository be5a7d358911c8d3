/* The table of transforms, and their lives. */
#include "data/transform.h"

#include <string.h>

#include "core/alloc.h"

static const pk_transform_kind *const kinds[] = {
    &pk_transform_center_crop, &pk_transform_color_jitter, &pk_transform_corrupt, &pk_transform_hflip,
    &pk_transform_normalize, &pk_transform_rand_augment, &pk_transform_random_crop, &pk_transform_random_erasing,
    &pk_transform_random_resized_crop, &pk_transform_resize, &pk_transform_to_float,
};

const pk_transform_kind *pk_transform_at(int i) {
    return i >= 0 && i < (int)(sizeof kinds / sizeof *kinds) ? kinds[i] : NULL;
}

const pk_transform_kind *pk_transform_find(const char *name) {
    for (int i = 0; pk_transform_at(i); i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

pk_status pk_transform_new(const pk_transform_kind *kind, const void *options, pk_transform **out) {
    *out = NULL;
    PK_TRY(pk_schema_check(kind->name, kind->fields, kind->nfields, options));
    pk_transform *t = pk_alloc_zeroed(sizeof *t);
    void *copy = pk_alloc_zeroed((int64_t)kind->options_size);
    if (!t || !copy) {
        pk_free(t);
        pk_free(copy);
        return pk_no_memory((int64_t)kind->options_size);
    }
    if (kind->options_size > 0) memcpy(copy, options, kind->options_size);
    t->kind = kind;
    t->options = copy;
    atomic_init(&t->refs, 1);
    *out = t;
    return PK_OK;
}

pk_transform *pk_transform_retain(pk_transform *t) {
    if (t) atomic_fetch_add(&t->refs, 1);
    return t;
}

void pk_transform_release(pk_transform *t) {
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
    pk_free(t->options);
    pk_free(t);
}
