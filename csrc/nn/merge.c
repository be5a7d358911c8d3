/* The walk of a merge, its report, and what becomes of batch norms among modules that run one after another. */
#include "nn/merge.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "nn/args.h"
#include "nn/fields.h"

struct pk_merge {
    pk_merge_options o;
    const char *path; /* of the module at work */
    char *text;
    int64_t size, room;
    pk_module **seen; /* every module of the tree */
    int64_t count, places;
};

const pk_field pk_merge_fields[] = {
    F_ENUM(pk_merge_options, slak, PK_STRIPES_AUTO, "auto|dense|stripe",
           "crossed stripes: one dense kernel, two stripes, or which has less to do"),
    F_ENUM(pk_merge_options, expand, PK_EXPAND_DENSE, "dense|refine",
           "where the fine centre does not hold the small kernel: one weight a tap, or a finer grid"),
    F_BOOL(pk_merge_options, batch_norms, 1, "fold batch norms; false: only the branches of large kernels"),
};
const int pk_merge_nfields = F_COUNT(pk_merge_fields);

const pk_merge_options *pk_merge_asked(const pk_merge *r) { return &r->o; }

/* ---- the report ---- */

static pk_status put(pk_merge *r, const char *line, int64_t n) {
    if (r->size + n + 1 > r->room) {
        int64_t room = pk_max(2 * r->room, r->size + n + 1024);
        char *larger = pk_alloc(room);
        if (!larger) return pk_no_memory(room);
        if (r->size) memcpy(larger, r->text, (size_t)r->size);
        pk_free(r->text);
        r->text = larger;
        r->room = room;
    }
    memcpy(r->text + r->size, line, (size_t)n);
    r->size += n;
    r->text[r->size] = 0;
    return PK_OK;
}

pk_status pk_merge_note(pk_merge *r, const char *kind, const char *name, const char *format, ...) {
    char line[1024], what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *dot = *r->path && *name ? "." : "";
    int n = snprintf(line, sizeof line, "%s\t%s%s%s\t%s\n", kind, r->path, dot, name, what);
    return put(r, line, pk_min(n, (int64_t)sizeof line - 1));
}

/* ---- affines ---- */

pk_status pk_affine_new(int64_t channels, pk_affine *a) {
    int64_t bytes = 2 * channels * (int64_t)sizeof(double);
    *a = (pk_affine){.channels = channels, .scale = pk_alloc(bytes)};
    if (!a->scale) return pk_no_memory(bytes);
    a->shift = a->scale + channels;
    return PK_OK;
}

void pk_affine_free(pk_affine *a) {
    pk_free(a->scale);
    a->scale = a->shift = NULL;
}

pk_status pk_absorb(pk_module *m, const pk_affine *a, bool behind, bool *done) {
    *done = false;
    return m->cls->absorb ? m->cls->absorb(m, a, behind, done) : PK_OK;
}

/* ---- batch norms among modules in a row ---- */

static bool is(const pk_module *m, const pk_class *cls) { return m->cls == cls; }

pk_status pk_merge_norm(pk_module *m, int norm, int into, pk_merge *r, bool *done) {
    pk_affine a = {0};
    pk_module *identity = NULL;
    pk_status status;
    int64_t size = r->size;
    *done = false;
    if (!is(m->child[norm].module, &pk_class_BatchNorm)) return PK_OK;
    PK_TRY(pk_merge_make(&pk_class_Identity, NULL, &identity));
    identity->training = identity->merged = false;
    PK_TRY_DONE(pk_batch_norm_affine(m->child[norm].module, &a));
    PK_TRY_DONE(pk_merge_note(r, "folded", m->child[norm].name, "batch norm into %s", m->child[into].name));
    status = pk_absorb(m->child[into].module, &a, into < norm, done);
    if (status == PK_OK && *done) {
        identity->merged = true;
        pk_module_replace(m, norm, NULL, pk_module_retain(identity));
    }
done:
    if (!*done) r->size = size; /* the note was of what did not happen */
    pk_affine_free(&a);
    pk_module_release(identity);
    return status;
}

/* The next child of m from i on in steps of `step` that does something; -1 at the end. Means over all pixels change
 * places with an affine. */
static int neighbour(const pk_module *m, int i, int step) {
    for (i += step; i >= 0 && i < m->nchildren; i += step) {
        const pk_module *c = m->child[i].module;
        if (!is(c, &pk_class_Identity) && !(step > 0 && is(c, &pk_class_GlobalAvgPool))) return i;
    }
    return -1;
}

pk_status pk_merge_sequence(pk_module *m, pk_merge *r) {
    for (int i = 0; i < m->nchildren; i++) {
        bool done = false;
        if (!is(m->child[i].module, &pk_class_BatchNorm)) continue;
        for (int step = -1; step <= 1 && !done; step += 2) {
            int into = neighbour(m, i, step);
            if (into >= 0) PK_TRY(pk_merge_norm(m, i, into, r, &done));
        }
        if (!done) PK_TRY(pk_merge_note(r, "kept", m->child[i].name, "batch norm: nothing beside it can take it up"));
    }
    return PK_OK;
}

pk_status pk_merge_inside(pk_module *m, int i, pk_merge *r) {
    const char *outer = r->path;
    char path[512];
    snprintf(path, sizeof path, "%s%s%s", outer, *outer ? "." : "", m->child[i].name);
    r->path = path;
    pk_status status = pk_merge_sequence(m->child[i].module, r);
    r->path = outer;
    return status;
}

/* ---- the walk ---- */

static pk_status count_module(void *context, const char *path, pk_module *m, int depth) {
    pk_merge *r = context;
    (void)path, (void)depth;
    if (r->count < r->places) r->seen[r->count] = m;
    r->count++;
    return PK_OK;
}

static int compare(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)*(pk_module *const *)a, y = (uintptr_t)*(pk_module *const *)b;
    return x < y ? -1 : x > y;
}

/* A module with two places would be changed for both by what stands beside one. */
static pk_status check_places(pk_module *m, pk_merge *r) {
    PK_TRY(pk_module_each(m, count_module, r));
    r->places = r->count;
    r->seen = pk_alloc(r->places * (int64_t)sizeof *r->seen);
    if (!r->seen) return pk_no_memory(r->places * (int64_t)sizeof *r->seen);
    r->count = 0;
    PK_TRY(pk_module_each(m, count_module, r));
    qsort(r->seen, (size_t)r->count, sizeof *r->seen, compare);
    for (int64_t i = 1; i < r->count; i++)
        PK_RETURN_IF(r->seen[i] == r->seen[i - 1], PK_EINVAL, "merge: one and the same %s has two places in this %s",
                     r->seen[i]->cls->name, m->cls->name);
    return PK_OK;
}

static pk_status merge_below(pk_module *m, const char *path, pk_merge *r) {
    char name[512];
    for (int i = 0; i < m->nchildren; i++) {
        snprintf(name, sizeof name, "%s%s%s", path, *path ? "." : "", m->child[i].name);
        PK_TRY(merge_below(m->child[i].module, name, r));
    }
    r->path = path;
    return m->cls->merge ? m->cls->merge(m, r) : PK_OK;
}

static pk_status mark(void *context, const char *path, pk_module *m, int depth) {
    (void)context, (void)path, (void)depth;
    m->merged = true;
    return PK_OK;
}

/* ---- position maps that nobody reads any more ---- */

static pk_status find_user(void *context, const char *path, pk_module *m, int depth) {
    const pk_tensor **sought = context;
    (void)path, (void)depth;
    for (int i = 0; i < m->nslots; i++)
        if (*sought && m->slot[i].shared && m->slot[i].tensor == *sought) *sought = NULL;
    return PK_OK;
}

typedef struct dropping {
    pk_module *top;
    pk_merge *r;
} dropping;

static pk_status drop_position(void *context, const char *path, pk_module *m, int depth) {
    dropping *d = context;
    pk_slot *s = pk_module_slot(m, "position");
    (void)depth;
    if (!s || s->shared || is(m, &pk_class_PeripheralConv)) return PK_OK;
    const pk_tensor *sought = s->tensor;
    PK_TRY(pk_module_each(d->top, find_user, &sought));
    if (!sought) return PK_OK;
    d->r->path = path;
    PK_TRY(pk_merge_note(d->r, "folded", "position", "position map into the biases"));
    pk_module_drop_slot(m, "position");
    return PK_OK;
}

pk_status pk_module_merge(pk_module *m, const pk_merge_options *o, char **report) {
    pk_merge r = {.o = *o, .path = ""};
    dropping d = {m, &r};
    pk_status status;
    *report = NULL;
    PK_RETURN_IF(m->merged, PK_EINVAL, "merge: this %s has been merged before", m->cls->name);
    PK_TRY_DONE(check_places(m, &r));
    pk_module_train(m, false);
    PK_TRY_DONE(put(&r, "", 0));
    PK_TRY_DONE(merge_below(m, "", &r));
    PK_TRY_DONE(pk_module_each(m, drop_position, &d));
    pk_module_each(m, mark, NULL);
    *report = r.text;
    r.text = NULL;
done:
    pk_free(r.text);
    pk_free(r.seen);
    return status;
}
