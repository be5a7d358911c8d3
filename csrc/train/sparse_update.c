/* Pruning and growing. An update looks at everything first and then only writes, so that a failure changes nothing.
 * Layers are tasks; each draws from a stream of its own, so the result does not depend on the threads. */
#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"
#include "core/rng.h"
#include "train/select.h"
#include "train/sparse.h"

typedef struct layer_job {
    pk_sparse_layer *l;
    float *w;
    uint8_t *mask;
    const float *grad;        /* null: none */
    float *moment[2];         /* of the optimiser; null: none */
    int64_t prune, grow;      /* counts */
    uint64_t stream;
    double mean;              /* of the connections' scores, for the redistribution */
    bool bad;                 /* a weight or score is no number */
} layer_job;

typedef struct update_job {
    pk_sparse *s;
    layer_job *layer;
    int64_t count;
    uint32_t *key;            /* a worker's share is `most` */
    int64_t most;
} update_job;

/* ---- scores ---- */

/* The moment's size: |m / sqrt(v)| of Adam's two, or |m|. */
static float moment_score(const layer_job *j, int64_t i) {
    float m = fabsf(j->moment[0][i]);
    if (!j->moment[1] || m == 0) return m;
    float root = sqrtf(j->moment[1][i]);
    return root > 0 ? m / root : 0;
}

static float score(const pk_sparse *s, const layer_job *j, int64_t i) {
    return s->options.growth == PK_GROW_GRADIENT ? j->grad[i] : moment_score(j, i);
}

static float share_score(int kind, const layer_job *j, int64_t i) {
    if (kind == PK_BY_GRADIENT) return fabsf(j->grad[i]);
    return kind == PK_BY_MOMENTUM ? moment_score(j, i) : fabsf(j->w[i]);
}

/* Is everything a number? And the mean score of the connections, before they are pruned. */
static void look(void *context, int64_t index, int worker) {
    const update_job *u = context;
    layer_job *j = &u->layer[index];
    const int growth = u->s->options.growth, kind = u->s->options.redistribute;
    double sum = 0;
    (void)worker;
    for (int64_t i = 0; i < j->l->count; i++) {
        if (growth != PK_GROW_RANDOM && !isfinite(score(u->s, j, i))) j->bad = true;
        if (!j->mask[i]) continue;
        if (!isfinite(j->w[i])) j->bad = true;
        if (kind != PK_KEEP_COUNTS) sum += share_score(kind, j, i);
    }
    j->mean = j->l->active ? sum / (double)j->l->active : 0;
    if (!isfinite(j->mean)) j->bad = true;
}

/* ---- pruning and growing ---- */

static void prune(void *context, int64_t index, int worker) {
    const update_job *u = context;
    layer_job *j = &u->layer[index];
    uint32_t *key = u->key + worker * u->most, threshold;
    int64_t ties;
    for (int64_t i = 0; i < j->l->count; i++) key[i] = j->mask[i] ? pk_key_of_small(j->w[i]) : 0;
    pk_select(key, j->l->count, j->prune, &threshold, &ties);
    for (int64_t i = 0; i < j->l->count; i++)
        if (key[i] > threshold || (key[i] == threshold && ties > 0 && ties-- > 0)) j->mask[i] = 0; /* born stays for now */
}

static uint32_t grow_key(const pk_sparse *s, const layer_job *j, int64_t i) {
    if (j->mask[i] || (j->l->live && !pk_u8(j->l->live)[i])) return 0;
    if (s->options.growth == PK_GROW_RANDOM) return (uint32_t)(pk_random_bits(j->stream, (uint64_t)i) >> 33) + 1;
    return pk_key_of(score(s, j, i));
}

/* A new connection: at zero, without a past; or with it, as SLaK. */
static void start(const pk_sparse *s, layer_job *j, int64_t i) {
    int32_t *born = pk_i32(j->l->born);
    const bool back = born[i] >= 0; /* was pruned a moment ago */
    const bool keep = s->options.keep_moments;
    j->mask[i] = 1;
    if (!keep || !back) j->w[i] = 0;
    /* with one moment SLaK holds it at zero where the mask is 0 */
    if (j->moment[0] && (!keep || (!j->moment[1] && !back))) j->moment[0][i] = 0;
    if (j->moment[1] && !keep) j->moment[1][i] = 0;
    if (!keep || !back) born[i] = (int32_t)pk_min(s->steps, INT32_MAX);
}

static void grow(void *context, int64_t index, int worker) {
    const update_job *u = context;
    layer_job *j = &u->layer[index];
    uint32_t *key = u->key + worker * u->most, threshold;
    int64_t ties;
    for (int64_t i = 0; i < j->l->count; i++) key[i] = grow_key(u->s, j, i);
    pk_select(key, j->l->count, j->grow, &threshold, &ties);
    for (int64_t i = 0; i < j->l->count; i++) {
        if (key[i] > threshold || (key[i] == threshold && ties > 0 && ties-- > 0)) start(u->s, j, i);
        if (j->mask[i]) continue;
        j->w[i] = 0;
        pk_i32(j->l->born)[i] = -1;
    }
    j->l->active += j->grow - j->prune;
    j->l->pruned = j->prune;
    j->l->grown = j->grow;
}

/* ---- how many ---- */

static int64_t capacity(const layer_job *j) { return j->l->room - j->l->active + j->prune; }

/* Whole numbers of about total * weight, largest fractions first, none above its capacity; their sum is total. */
static void share_out(update_job *u, int64_t total) {
    for (int64_t i = 0; i < u->count; i++) u->layer[i].grow = 0;
    while (total > 0) {
        double sum = 0, room = 0, most = -1;
        int64_t given = 0, best = -1;
        for (int64_t i = 0; i < u->count; i++) {
            int64_t left = capacity(&u->layer[i]) - u->layer[i].grow;
            room += (double)left;
            if (left > 0) sum += u->layer[i].mean;
        }
        for (int64_t i = 0; i < u->count; i++) {
            layer_job *j = &u->layer[i];
            int64_t left = capacity(j) - j->grow;
            if (left <= 0) continue;
            double share = sum > 0 ? j->mean / sum : (double)left / room; /* nothing to go by: by room */
            double part = (double)total * share, whole = floor(part);
            int64_t n = whole < (double)left ? (int64_t)whole : left;
            if (n < left && part - whole > most) most = part - whole, best = i;
            j->grow += n;
            given += n;
        }
        total -= given;
        if (given == 0 && best >= 0) u->layer[best].grow++, total--; /* less than one each: the nearest to it */
        if (given == 0 && best < 0) return;
    }
}

static void count_changes(update_job *u, double rate) {
    int64_t total = 0;
    for (int64_t i = 0; i < u->count; i++) {
        layer_job *j = &u->layer[i];
        j->prune = pk_min((int64_t)ceil(rate * (double)j->l->active), j->l->active);
        j->grow = pk_min(j->prune, capacity(j));
        total += j->prune;
    }
    if (u->s->options.redistribute != PK_KEEP_COUNTS) share_out(u, total);
}

/* ---- an update ---- */

static pk_status place(const pk_sparse *s, pk_sparse_layer *l, int64_t at, layer_job *j) {
    const pk_sparse_options *o = &s->options;
    pk_params *p = pk_params_of(l->tensor);
    const pk_param *q = p ? pk_params_find(p, l->tensor) : NULL;
    *j = (layer_job){.l = l, .w = pk_f32(l->tensor), .mask = pk_u8(l->tensor->mask)};
    const pk_tensor *g = pk_tensor_grad(l->tensor);
    if (g) j->grad = pk_f32(g);
    for (int m = 0; q && m < 2; m++)
        if (p->moment[m]) j->moment[m] = pk_f32(p->moment[m]) + q->at;
    j->stream = pk_random_bits(pk_random_bits(o->seed, (uint64_t)s->updates + (1u << 20)), (uint64_t)at);
    PK_RETURN_IF(!j->grad && (o->growth == PK_GROW_GRADIENT || o->redistribute == PK_BY_GRADIENT), PK_EINVAL,
                 "sparse: growth by gradient: %s has none; step() comes after backward and before zero_grad", l->path);
    PK_RETURN_IF(!j->moment[0] && (o->growth == PK_GROW_MOMENTUM || o->redistribute == PK_BY_MOMENTUM), PK_EINVAL,
                 "sparse: growth by momentum: %s belongs to no optimiser that has moments", l->path);
    return PK_OK;
}

static pk_status prepare(pk_sparse *s, update_job *u) {
    u->layer = pk_alloc_zeroed(s->count * (int64_t)sizeof *u->layer);
    if (!u->layer) return pk_no_memory(s->count * (int64_t)sizeof *u->layer);
    for (int64_t i = 0; i < s->count; i++) {
        pk_sparse_layer *l = &s->layer[i];
        l->pruned = l->grown = 0;
        if (l->dense || !l->tensor->mask || !l->tensor->requires_grad) continue; /* frozen ones stay as they are */
        PK_TRY(place(s, l, i, &u->layer[u->count++]));
        u->most = pk_max(u->most, l->count);
    }
    int64_t bytes;
    if (!pk_mul_ok(u->most * (int64_t)sizeof *u->key, pk_threads(), &bytes)) return pk_no_memory(INT64_MAX);
    u->key = pk_alloc(bytes);
    return u->key ? PK_OK : pk_no_memory(bytes);
}

static void written(const update_job *u) {
    for (int64_t i = 0; i < u->count; i++) {
        pk_tensor *t = u->layer[i].l->tensor;
        pk_params *p = pk_params_of(t);
        bool clean = p && p->masks && atomic_load(&p->values->storage->version) == p->masked;
        pk_tensor_written(t);
        if (clean) p->masked = atomic_load(&p->values->storage->version); /* an update leaves nothing to mask */
    }
}

static pk_status check_attached(const pk_sparse *s) {
    bool gone = !s->committed;
    for (int64_t i = 0; i < s->count; i++) gone |= !s->layer[i].dense && !s->layer[i].tensor->mask;
    PK_RETURN_IF(gone, PK_EINVAL, "sparse: the masks were detached from the model");
    return PK_OK;
}

pk_status pk_sparse_update(pk_sparse *s, double rate) {
    update_job u = {.s = s};
    PK_TRY(check_attached(s));
    PK_RETURN_IF(!(rate >= 0 && rate <= 1), PK_EINVAL, "sparse: a rate of 0 to 1 was expected, got %g", rate);
    pk_status status = prepare(s, &u);
    if (status == PK_OK) {
        pk_parallel(u.count, look, &u);
        for (int64_t i = 0; i < u.count && status == PK_OK; i++)
            if (u.layer[i].bad)
                status = pk_fail(PK_EINVAL, "sparse: %s holds a weight or a score that is no finite number; masks and weights "
                                            "are as they were", u.layer[i].l->path);
    }
    if (status == PK_OK) {
        count_changes(&u, rate);
        pk_parallel(u.count, prune, &u);
        pk_parallel(u.count, grow, &u);
        written(&u);
        s->updates++;
        s->last_update = s->steps;
    }
    pk_free(u.key);
    pk_free(u.layer);
    return status;
}

double pk_sparse_rate(const pk_sparse *s, int64_t steps) {
    const pk_sparse_options *o = &s->options;
    const double end = o->stop * (double)o->total_steps;
    if (o->update_every == 0) return 0;
    if (o->total_steps == 0) return o->prune_rate;
    if ((double)steps > end || end <= 0) return 0;
    return o->prune_rate_end + (o->prune_rate - o->prune_rate_end) * 0.5 * (1 + cos(3.141592653589793 * (double)steps / end));
}

pk_status pk_sparse_step(pk_sparse *s, bool *updated) {
    *updated = false;
    PK_TRY(check_attached(s));
    pk_sparse_apply(s);
    s->steps++;
    double rate = pk_sparse_rate(s, s->steps);
    if (rate <= 0 || s->steps % s->options.update_every != 0) return PK_OK;
    pk_status status = pk_sparse_update(s, rate);
    if (status != PK_OK) s->steps--;
    *updated = status == PK_OK;
    return status;
}
