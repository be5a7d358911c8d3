/* Masks of a model: life, choosing the first connections, putting them in place. Updates are in sparse_update.c. */
#include "train/sparse.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#include "nn/fields.h"
#include "train/select.h"

const pk_field pk_sparse_fields[] = {
    {"growth", PK_ENUM, offsetof(pk_sparse_options, growth), 0, 0, 0, "random|gradient|momentum", false,
     "what grows: any masked weight, or those with the largest gradient or moment"},
    {"redistribute", PK_ENUM, offsetof(pk_sparse_options, redistribute), 0, 0, 0, "none|magnitude|gradient|momentum",
     false, "layers keep their counts, or share what was pruned by the mean of their connections' ..."},
    F_FLOAT(pk_sparse_options, prune_rate, 0.3, 0, 1, "share of the connections replaced by an update, at first"),
    F_FLOAT(pk_sparse_options, prune_rate_end, 0.005, 0, 1, "and at the end; between them a cosine"),
    F_INT(pk_sparse_options, update_every, 100, 0, INT32_MAX, "optimiser steps between updates; 0: masks stay"),
    F_INT(pk_sparse_options, total_steps, 0, 0, INT32_MAX, "of the training; 0: unknown, the rate stays"),
    F_FLOAT(pk_sparse_options, stop, 1, 0, 1, "share of total_steps after which masks stay"),
    F_BOOL(pk_sparse_options, keep_moments, 0, "grown weights keep moments, and values of this update (SLaK)"),
    {"seed", PK_SEED, offsetof(pk_sparse_options, seed), 0, 0, 0, NULL, false, "of all that is drawn"},
};
const int pk_sparse_nfields = F_COUNT(pk_sparse_fields);

/* ---- life ---- */

pk_status pk_sparse_new(const pk_sparse_options *options, pk_sparse **out) {
    *out = NULL;
    PK_TRY(pk_schema_check("sparse", pk_sparse_fields, pk_sparse_nfields, options));
    pk_sparse *s = pk_alloc_zeroed(sizeof *s);
    if (!s) return pk_no_memory(sizeof *s);
    s->options = *options;
    s->last_update = -1;
    *out = s;
    return PK_OK;
}

static void clear_layer(pk_sparse_layer *l) {
    pk_tensor_release(l->tensor);
    pk_tensor_release(l->live);
    pk_tensor_release(l->born);
    pk_free(l->path);
}

void pk_sparse_free(pk_sparse *s) {
    if (!s) return;
    for (int64_t i = 0; i < s->count; i++) clear_layer(&s->layer[i]);
    pk_free(s->layer);
    pk_free(s);
}

static pk_status make_room(pk_sparse *s) {
    if (s->count & (s->count - 1)) return PK_OK; /* room doubles at powers of two */
    int64_t bytes = (s->count ? 2 * s->count : 1) * (int64_t)sizeof *s->layer;
    pk_sparse_layer *larger = pk_alloc_zeroed(bytes);
    if (!larger) return pk_no_memory(bytes);
    if (s->count) memcpy(larger, s->layer, (size_t)s->count * sizeof *larger);
    pk_free(s->layer);
    s->layer = larger;
    return PK_OK;
}

static bool is_live(const pk_sparse_layer *l, int64_t i) { return !l->live || pk_u8(l->live)[i]; }

static void activate_all(pk_sparse_layer *l) {
    l->room = 0;
    for (int64_t i = 0; i < l->count; i++) {
        bool live = is_live(l, i);
        pk_i32(l->born)[i] = live ? 0 : -1;
        l->room += live;
    }
    l->active = l->room;
}

pk_status pk_sparse_add(pk_sparse *s, const char *path, pk_tensor *t, pk_tensor *live) {
    PK_RETURN_IF(t->dtype != PK_FLOAT32 || !pk_is_contiguous(t) || pk_numel(t) == 0, PK_EINVAL,
                 "sparse: %s is no weight that can be masked: %s %s", path, pk_dtype_name(t->dtype), pk_shape_text(t));
    PK_RETURN_IF(live && (live->dtype != PK_UINT8 || !pk_same_shape(live, t) || !pk_is_contiguous(live)), PK_EINVAL,
                 "sparse: live weights of %s must be uint8 %s, got %s %s", path, pk_shape_text(t),
                 pk_dtype_name(live->dtype), pk_shape_text(live));
    for (int64_t i = 0; i < s->count; i++)
        PK_RETURN_IF(s->layer[i].tensor == t, PK_EINVAL, "sparse: %s is %s, which is a layer already", path,
                     s->layer[i].path);
    PK_TRY(make_room(s));
    pk_sparse_layer l = {.path = pk_strdup(path), .count = pk_numel(t)};
    pk_status status = l.path ? pk_tensor_new(PK_INT32, t->ndim, t->shape, &l.born) : pk_no_memory((int64_t)strlen(path));
    if (status != PK_OK) {
        clear_layer(&l);
        return status;
    }
    l.tensor = pk_tensor_retain(t);
    l.live = pk_tensor_retain(live);
    activate_all(&l);
    s->layer[s->count++] = l;
    return PK_OK;
}

/* ---- the first connections ---- */

/* The n candidates with the highest keys become connections, born in step 0; all others are masked. */
static void connect(pk_sparse_layer *l, const uint32_t *key, uint32_t threshold, int64_t *ties) {
    int32_t *born = pk_i32(l->born);
    l->active = 0;
    for (int64_t i = 0; i < l->count; i++) {
        bool chosen = key[i] > threshold || (key[i] == threshold && *ties > 0 && (*ties)-- > 0);
        born[i] = chosen ? 0 : -1;
        l->active += chosen;
    }
}

/* What was left dense at the commit has no connections to choose. */
static pk_status check_open(const pk_sparse_layer *l) {
    PK_RETURN_IF(!l->born, PK_EINVAL, "sparse: %s was left without a mask", l->path);
    return PK_OK;
}

pk_status pk_sparse_draw(pk_sparse *s, int64_t at, int64_t n) {
    pk_sparse_layer *l = &s->layer[at];
    PK_TRY(check_open(l));
    PK_RETURN_IF(n < 1 || n > l->room, PK_EINVAL, "sparse: %lld connections for %s, which has room for 1 to %lld",
                 (long long)n, l->path, (long long)l->room);
    uint32_t *key = pk_alloc(l->count * (int64_t)sizeof *key), threshold;
    if (!key) return pk_no_memory(l->count * (int64_t)sizeof *key);
    const uint64_t stream = pk_random_bits(s->options.seed, (uint64_t)at);
    for (int64_t i = 0; i < l->count; i++)
        key[i] = is_live(l, i) ? (uint32_t)(pk_random_bits(stream, (uint64_t)i) >> 33) + 1 : 0;
    int64_t ties;
    pk_select(key, l->count, n, &threshold, &ties);
    connect(l, key, threshold, &ties);
    pk_free(key);
    return PK_OK;
}

static pk_status snip_keys(const pk_sparse_layer *l, uint32_t *key) {
    const pk_tensor *g = pk_tensor_grad(l->tensor);
    PK_RETURN_IF(!g, PK_EINVAL, "sparse: SNIP: no gradient reached %s", l->path);
    const float *w = pk_f32(l->tensor), *dw = pk_f32(g);
    for (int64_t i = 0; i < l->count; i++) {
        float score = w[i] * dw[i];
        PK_RETURN_IF(!isfinite(score), PK_EINVAL,
                     "sparse: SNIP: weight times gradient is %g in %s: a batch that holds NaN or infinity, or a loss that is none",
                     (double)score, l->path);
        key[i] = is_live(l, i) ? pk_key_of(score) : 0;
    }
    return PK_OK;
}

pk_status pk_sparse_snip(pk_sparse *s, int64_t keep, bool take, int64_t *count) {
    int64_t total = 0, room = 0, at = 0, ties;
    for (int64_t i = 0; i < s->count; i++) PK_TRY(check_open(&s->layer[i]));
    for (int64_t i = 0; i < s->count; i++) total += s->layer[i].count, room += s->layer[i].room;
    PK_RETURN_IF(keep < 1 || keep > room, PK_EINVAL, "sparse: SNIP: %lld of %lld weights cannot be kept", (long long)keep,
                 (long long)room);
    uint32_t *key = pk_alloc(total * (int64_t)sizeof *key), threshold;
    if (!key) return pk_no_memory(total * (int64_t)sizeof *key);
    pk_status status = PK_OK;
    for (int64_t i = 0; i < s->count && status == PK_OK; at += s->layer[i++].count)
        status = snip_keys(&s->layer[i], key + at);
    if (status == PK_OK) pk_select(key, total, keep, &threshold, &ties);
    at = 0;
    for (int64_t i = 0; i < s->count && status == PK_OK; at += s->layer[i++].count) {
        pk_sparse_layer kept = s->layer[i];
        connect(&s->layer[i], key + at, threshold, &ties);
        count[i] = s->layer[i].active;
        if (take) continue;
        s->layer[i] = kept;
        activate_all(&s->layer[i]);
    }
    pk_free(key);
    return status;
}

static bool says_yes(const pk_tensor *mask, int64_t i) {
    if (mask->dtype == PK_UINT8) return pk_u8(mask)[i] != 0;
    if (mask->dtype == PK_INT32) return pk_i32(mask)[i] >= 0;
    return pk_f32(mask)[i] != 0;
}

pk_status pk_sparse_take(pk_sparse *s, int64_t at, const pk_tensor *mask) {
    pk_sparse_layer *l = &s->layer[at];
    PK_TRY(check_open(l));
    PK_RETURN_IF(!pk_same_shape(mask, l->tensor) || !pk_is_contiguous(mask), PK_EINVAL,
                 "sparse: the mask of %s is %s, the weight %s", l->path, pk_shape_text(mask), pk_shape_text(l->tensor));
    l->active = 0;
    for (int64_t i = 0; i < l->count; i++) {
        bool yes = says_yes(mask, i) && is_live(l, i);
        pk_i32(l->born)[i] = !yes ? -1 : mask->dtype == PK_INT32 ? pk_i32(mask)[i] : 0;
        l->active += yes;
    }
    l->masked = mask->dtype != PK_FLOAT32;
    return PK_OK;
}

/* ---- putting masks on and off ---- */

static void write_mask(const pk_sparse_layer *l) {
    uint8_t *mask = pk_u8(l->tensor->mask);
    for (int64_t i = 0; i < l->count; i++) mask[i] = pk_i32(l->born)[i] >= 0;
}

/* Masks of all ones on every layer that gets one. */
static pk_status make_masks(pk_sparse *s) {
    for (int64_t i = 0; i < s->count; i++) {
        pk_tensor *t = s->layer[i].tensor;
        if (s->layer[i].dense) continue;
        PK_TRY(pk_tensor_new(PK_UINT8, t->ndim, t->shape, &t->mask));
        memset(pk_u8(t->mask), 1, (size_t)s->layer[i].count);
    }
    for (int64_t i = 0; i < s->count; i++) {
        const pk_tensor *t = s->layer[i].tensor;
        pk_params *p = pk_params_of(t);
        if (t->mask && p && (!p->masks || t->mask->storage != p->masks->storage)) PK_TRY(pk_params_adopt_masks(p));
    }
    return PK_OK;
}

pk_status pk_sparse_commit(pk_sparse *s, double dense) {
    for (int64_t i = 0; i < s->count; i++) {
        pk_sparse_layer *l = &s->layer[i];
        PK_RETURN_IF(l->tensor->mask, PK_EINVAL, "sparse: %s has a mask already", l->path);
        bool full = l->active == l->count || (!l->live && (double)l->active >= dense * (double)l->room);
        l->dense = full && !l->masked;
    }
    pk_status status = make_masks(s);
    if (status != PK_OK) {
        for (int64_t i = 0; i < s->count; i++) pk_tensor_release(s->layer[i].tensor->mask), s->layer[i].tensor->mask = NULL;
        return status;
    }
    s->committed = true;
    for (int64_t i = 0; i < s->count; i++) {
        pk_sparse_layer *l = &s->layer[i];
        if (!l->dense) {
            write_mask(l);
            continue;
        }
        l->active = l->count;
        pk_tensor_release(l->born);
        l->born = NULL;
    }
    pk_sparse_apply(s);
    return PK_OK;
}

void pk_sparse_detach(pk_sparse *s) {
    for (int64_t i = 0; i < s->count && s->committed; i++) {
        if (!s->layer[i].dense) pk_tensor_drop_mask(s->layer[i].tensor);
    }
    s->committed = false;
}

void pk_sparse_apply(pk_sparse *s) {
    for (int64_t i = 0; i < s->count; i++) {
        pk_tensor *t = s->layer[i].tensor;
        pk_params *p = pk_params_of(t);
        if (!t->mask) continue;
        if (p && pk_params_find(p, t)) {
            pk_params_apply_masks(p);
        } else {
            pk_k()->mask_apply(s->layer[i].count, pk_f32(t), pk_u8(t->mask));
            pk_tensor_written(t);
        }
    }
}

/* ---- accounts ---- */

void pk_sparse_ages(const pk_sparse *s, int64_t at, double *mean, int64_t *most) {
    const pk_sparse_layer *l = &s->layer[at];
    double sum = 0;
    *most = l->born ? 0 : s->steps;
    *mean = (double)*most;
    if (!l->born) return;
    for (int64_t i = 0; i < l->count; i++) {
        int32_t born = pk_i32(l->born)[i];
        if (born < 0) continue;
        sum += (double)(s->steps - born);
        *most = pk_max(*most, s->steps - born);
    }
    *mean = l->active ? sum / (double)l->active : 0;
}

pk_status pk_sparse_set_state(pk_sparse *s, pk_tensor *const *born, int64_t steps, int64_t updates,
                              int64_t last_update) {
    for (int64_t i = 0; i < s->count; i++) {
        const pk_sparse_layer *l = &s->layer[i];
        PK_RETURN_IF(!born[i] != l->dense, PK_EINVAL, "sparse: the state has %s mask of %s, the model has %s",
                     born[i] ? "a" : "no", l->path, l->dense ? "none" : "one");
        PK_RETURN_IF(born[i] && !l->tensor->mask, PK_EINVAL, "sparse: %s has no mask (not committed, or detached)", l->path);
        PK_RETURN_IF(born[i] && (born[i]->dtype != PK_INT32 || !pk_same_shape(born[i], l->tensor) || !pk_is_contiguous(born[i])),
                     PK_EINVAL, "sparse: the state of %s must be int32 %s, got %s %s", l->path, pk_shape_text(l->tensor),
                     pk_dtype_name(born[i]->dtype), pk_shape_text(born[i]));
    }
    for (int64_t i = 0; i < s->count; i++) {
        if (!born[i]) continue;
        PK_TRY(pk_sparse_take(s, i, born[i])); /* its shape was checked */
        write_mask(&s->layer[i]);
    }
    s->steps = steps;
    s->updates = updates;
    s->last_update = last_update;
    for (int64_t i = 0; i < s->count; i++) { /* masks changed, not the values: they are applied anew */
        pk_params *p = pk_params_of(s->layer[i].tensor);
        if (p) p->masked = atomic_load(&p->values->storage->version) - 1;
    }
    pk_sparse_apply(s);
    return PK_OK;
}
