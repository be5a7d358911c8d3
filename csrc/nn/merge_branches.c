/* Parallel depthwise branches that are added, as one kernel: RepLKNet's and PeLK's small kernel in the centre of the large
 * one, SLaK's stripes. A peripheral kernel stays shared where its fine centre holds the small one. */
#include <stdio.h>
#include <string.h>

#include "core/checked.h"
#include "nn/args.h"
#include "nn/merge.h"
#include "nn/mixer.h"
#include "ops/grid.h"

enum { MOST = 8 };

typedef struct branch {
    pk_module *conv;
    int64_t h, w; /* of the kernel, in taps */
} branch;

typedef struct branches {
    branch v[MOST];
    int n, peripheral; /* which one; -1: none */
    int64_t channels;
    int64_t h, w; /* largest sides of the dense ones */
} branches;

/* ---- looking ---- */

/* What a branch does: itself, or the one part of it that is no Identity. */
static pk_module *work_of(pk_module *m) {
    pk_module *found = NULL;
    if (m->cls != &pk_class_Sequential) return m;
    for (int i = 0; i < m->nchildren; i++) {
        if (m->child[i].module->cls == &pk_class_Identity) continue;
        if (found) return NULL;
        found = m->child[i].module;
    }
    return found;
}

/* A depthwise convolution whose kernel has a centre that stays where it is. */
static bool take_dense(pk_module *m, branch *b) {
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    if (!pk_module_pair(m, "kernel", kernel) || !pk_module_pair(m, "stride", stride) ||
        !pk_module_pair(m, "padding", padding) || !pk_module_pair(m, "dilation", dilation))
        return false;
    for (int i = 0; i < 2; i++)
        if (kernel[i] % 2 == 0 || stride[i] != 1 || dilation[i] != 1 ||
            (padding[i] != PK_SAME && padding[i] != kernel[i] / 2))
            return false;
    *b = (branch){m, kernel[0], kernel[1]};
    return true;
}

static bool take(branches *all, pk_module *m) {
    branch *b = &all->v[all->n];
    pk_ints grid;
    if (!m || all->n == MOST) return false;
    if (m->cls == &pk_class_DepthwiseConv) {
        if (!take_dense(m, b)) return false;
        all->h = pk_max(all->h, b->h);
        all->w = pk_max(all->w, b->w);
    } else if (m->cls == &pk_class_PeripheralConv && all->peripheral < 0 && pk_peripheral_grid(m, &grid) == PK_OK) {
        *b = (branch){m, pk_grid_total(&grid), pk_grid_total(&grid)};
        all->peripheral = all->n;
    } else {
        return false;
    }
    all->channels = pk_module_tensor(m, "weight")->shape[2];
    all->n++;
    return true;
}

/* ---- adding up ---- */

/* to {H,W,C} += from {h,w,C}, centres on each other. */
static void add_kernel(float *to, int64_t h, int64_t w, const branch *b, int64_t channels) {
    const float *from = pk_f32(pk_module_tensor(b->conv, "weight"));
    for (int64_t y = 0; y < b->h; y++) {
        float *row = to + ((y + (h - b->h) / 2) * w + (w - b->w) / 2) * channels;
        for (int64_t i = 0; i < b->w * channels; i++) row[i] += from[y * b->w * channels + i];
    }
}

static pk_status sum_biases(const branches *all, pk_tensor **out) {
    PK_TRY(pk_tensor_zeros(PK_FLOAT32, 1, &all->channels, out));
    for (int i = 0; i < all->n; i++) {
        const pk_tensor *bias = pk_module_tensor(all->v[i].conv, "bias");
        for (int64_t c = 0; bias && c < all->channels; c++) pk_f32(*out)[c] += pk_f32(bias)[c];
    }
    return PK_OK;
}

/* The only child from now on: takes over the reference. */
static void install(pk_module *m, pk_module *merged) {
    bool official = strcmp(m->child[0].name, "lkb_origin") == 0; /* RepLKNet's name for it */
    pk_module_replace(m, 0, official ? "lkb_reparam" : "reparam", merged);
    pk_module_cut(m, 1);
}

/* ---- a peripheral kernel and dense ones ---- */

/* The band that begins at this tap; -1: none does. */
static int band_at(const pk_ints *grid, int64_t tap) {
    int64_t at = 0;
    for (int i = 0; i < grid->n; at += grid->v[i++])
        if (at == tap) return i;
    return -1;
}

/* Are the central `side` taps bands of their own? */
static bool holds(const pk_ints *grid, int64_t side) {
    int first = band_at(grid, (pk_grid_total(grid) - side) / 2);
    for (int64_t i = 0; i < side; i++)
        if (first < 0 || first + i >= grid->n || grid->v[first + i] != 1) return false;
    return true;
}

static pk_status add_band(pk_ints *grid, int64_t width) {
    if (width < 1) return PK_OK;
    PK_RETURN_IF(grid->n == PK_MAX_LIST, PK_EINVAL,
                 "the merged kernel would have more than %d bands a side: try expand = \"refine\"", PK_MAX_LIST);
    grid->v[grid->n++] = (int32_t)width;
    return PK_OK;
}

/* A finer grid: the taps from low to high are bands of their own, other bands end there at most. */
static pk_status split(const pk_ints *grid, int64_t low, int64_t high, pk_ints *fine) {
    int64_t at = 0;
    fine->n = 0;
    for (int i = 0; i < grid->n; i++) {
        int64_t end = at + grid->v[i], from = pk_max(at, low), to = pk_min(end, high);
        if (from >= to) {
            PK_TRY(add_band(fine, end - at));
        } else {
            PK_TRY(add_band(fine, from - at));
            for (int64_t t = from; t < to; t++) PK_TRY(add_band(fine, 1));
            PK_TRY(add_band(fine, end - to));
        }
        at = end;
    }
    return PK_OK;
}

/* For each band of the fine grid the band of the coarse one it lies in. */
static void parents(const pk_ints *coarse, const pk_ints *fine, int32_t *parent) {
    int64_t at = 0, end = coarse->v[0];
    for (int i = 0, p = 0; i < fine->n; at += fine->v[i++]) {
        while (at >= end) end += coarse->v[++p];
        parent[i] = p;
    }
}

/* fine {n,n,C} = the same kernel as coarse {m,m,C}. */
static void spread(const pk_ints *from, const float *coarse, const pk_ints *to, float *fine, int64_t channels) {
    int32_t parent[PK_MAX_LIST];
    parents(from, to, parent);
    for (int i = 0; i < to->n; i++)
        for (int j = 0; j < to->n; j++)
            memcpy(fine + ((int64_t)i * to->n + j) * channels,
                   coarse + ((int64_t)parent[i] * from->n + parent[j]) * channels, (size_t)channels * sizeof *fine);
}

/* The grid that the merged kernel has, and the note about it. */
static pk_status choose_grid(const branches *all, const pk_ints *grid, pk_ints *merged, pk_merge *r) {
    int64_t k = pk_grid_total(grid), side = pk_max(all->h, all->w);
    const char *what = all->n > 1 ? "small kernel into the large one" : "one branch";
    *merged = *grid;
    if (holds(grid, side))
        return pk_merge_note(r, "merged", "", "%s: %lldx%lld, shared on %dx%d", what, (long long)k, (long long)k, grid->n,
                             grid->n);
    if (pk_merge_asked(r)->expand == PK_EXPAND_REFINE) {
        PK_TRY(split(grid, (k - side) / 2, (k + side) / 2, merged));
        return pk_merge_note(r, "refined", "", "%s: the fine centre does not hold %lldx%lld, %dx%d shared weights become %dx%d",
                             what, (long long)side, (long long)side, grid->n, grid->n, merged->n, merged->n);
    }
    PK_TRY(split(grid, 0, k, merged));
    return pk_merge_note(r, "expanded", "", "%s: the fine centre does not hold %lldx%lld, %dx%d shared weights become %lldx%lld",
                         what, (long long)side, (long long)side, grid->n, grid->n, (long long)k, (long long)k);
}

typedef struct result {
    pk_tensor *weight, *bias, *small;
} result;

static void free_result(result *s) {
    pk_tensor_release(s->weight);
    pk_tensor_release(s->bias);
    pk_tensor_release(s->small);
}

static pk_status add_up_peripheral(const branches *all, const pk_ints *from, const pk_ints *to, result *s) {
    int64_t c = all->channels, side = pk_max(all->h, all->w), k = pk_grid_total(from);
    PK_TRY(pk_tensor_zeros(PK_FLOAT32, 3, (int64_t[]){to->n, to->n, c}, &s->weight));
    PK_TRY(pk_tensor_zeros(PK_FLOAT32, 3, (int64_t[]){side, side, c}, &s->small));
    PK_TRY(sum_biases(all, &s->bias));
    for (int i = 0; i < all->n; i++)
        if (i != all->peripheral) add_kernel(pk_f32(s->small), side, side, &all->v[i], c);
    spread(from, pk_f32(pk_module_tensor(all->v[all->peripheral].conv, "weight")), to, pk_f32(s->weight), c);
    int first = side ? band_at(to, (k - side) / 2) : 0;
    for (int64_t y = 0; y < side; y++) {
        float *row = pk_f32(s->weight) + ((first + y) * to->n + first) * c;
        for (int64_t i = 0; i < side * c; i++) row[i] += pk_f32(s->small)[y * side * c + i];
    }
    return PK_OK;
}

static pk_status into_peripheral(pk_module *m, const branches *all, pk_merge *r) {
    pk_module *large = all->v[all->peripheral].conv;
    pk_tensor *bias;
    pk_ints from, to;
    result s = {0};
    pk_status status;
    PK_RETURN_IF(pk_max(all->h, all->w) > all->v[all->peripheral].h, PK_EINVAL,
                 "merge: a kernel of %lldx%lld does not fit into the large one of %lld", (long long)all->h,
                 (long long)all->w, (long long)all->v[all->peripheral].h);
    PK_TRY(pk_peripheral_grid(large, &from));
    PK_TRY_DONE(choose_grid(all, &from, &to, r));
    PK_TRY_DONE(add_up_peripheral(all, &from, &to, &s));
    PK_TRY_DONE(pk_need_bias(large, all->channels, &bias));
    if (all->n > 1 && pk_module_tensor(large, "position") && !pk_module_slot(large, "small"))
        PK_TRY_DONE(pk_module_buffer(large, "small", 3, s.small->shape, 0));
    /* nothing can fail from here on */
    pk_slot_set(pk_module_slot(large, "weight"), pk_tensor_retain(s.weight));
    pk_slot_set(pk_module_slot(large, "bias"), pk_tensor_retain(s.bias));
    if (pk_module_slot(large, "small")) pk_slot_set(pk_module_slot(large, "small"), pk_tensor_retain(s.small));
    if (to.n != from.n) pk_peripheral_regrid(large, &to);
    large->merged = true;
    install(m, pk_module_retain(large));
done:
    free_result(&s);
    return status;
}

/* ---- dense kernels ---- */

static pk_status make_conv(const pk_class *cls, const branches *all, int64_t h, int64_t w, pk_module **out) {
    pk_options o;
    pk_options_begin(&o, cls);
    pk_options_set(&o, "channels", (double)all->channels);
    pk_options_set(&o, "bias", true);
    if (cls == &pk_class_StripeConv) {
        pk_options_set(&o, "kernel", (double)h);
        pk_options_set(&o, "short_side", (double)w);
    } else {
        pk_options_set_pair(&o, "kernel", h, w);
    }
    PK_RETURN_IF(!o.known, PK_EINVAL, "merge: %s lacks an option", cls->name);
    return pk_merge_make(cls, o.values, out);
}

static void follow_training(pk_module *conv, const branches *all) {
    for (int i = 0; i < conv->nslots; i++)
        conv->slot[i].tensor->requires_grad = pk_module_tensor(all->v[0].conv, "weight")->requires_grad;
    for (int i = 0; i < conv->nchildren; i++) follow_training(conv->child[i].module, all);
}

static pk_status into_dense(pk_module *m, const branches *all, pk_merge *r) {
    pk_module *conv = NULL;
    pk_tensor *bias = NULL;
    pk_status status;
    PK_TRY_DONE(make_conv(&pk_class_DepthwiseConv, all, all->h, all->w, &conv));
    PK_TRY_DONE(sum_biases(all, &bias));
    pk_tensor *weight = pk_module_tensor(conv, "weight");
    PK_TRY_DONE(pk_tensor_fill(weight, 0));
    for (int i = 0; i < all->n; i++) add_kernel(pk_f32(weight), all->h, all->w, &all->v[i], all->channels);
    follow_training(conv, all);
    pk_slot_set(pk_module_slot(conv, "bias"), pk_tensor_retain(bias));
    PK_TRY_DONE(pk_merge_note(r, "merged", "", "%d branch%s into one dense kernel of %lldx%lld", all->n,
                              all->n > 1 ? "es" : "", (long long)all->h, (long long)all->w));
    install(m, pk_module_retain(conv));
done:
    pk_module_release(conv);
    pk_tensor_release(bias);
    return status;
}

/* The short side when the largest kernels are two crossed stripes that hold all others; 0: they are not. */
static int64_t stripe_side(const branches *all) {
    int64_t tall = 0, wide = 0;
    if (all->h != all->w) return 0;
    for (int i = 0; i < all->n; i++) {
        if (all->v[i].h == all->h) tall = pk_max(tall, all->v[i].w);
        if (all->v[i].w == all->w) wide = pk_max(wide, all->v[i].h);
    }
    for (int i = 0; i < all->n; i++)
        if (pk_min(all->v[i].h, all->v[i].w) > tall) return 0;
    return tall == wide && tall < all->h ? tall : 0;
}

static pk_status into_stripes(pk_module *m, const branches *all, int64_t side, pk_merge *r) {
    pk_module *conv = NULL;
    pk_tensor *bias = NULL;
    pk_status status;
    PK_TRY_DONE(make_conv(&pk_class_StripeConv, all, all->h, side, &conv));
    PK_TRY_DONE(sum_biases(all, &bias));
    pk_module *tall = pk_module_child(conv, "tall"), *wide = pk_module_child(conv, "wide");
    PK_TRY_DONE(pk_tensor_fill(pk_module_tensor(tall, "weight"), 0));
    PK_TRY_DONE(pk_tensor_fill(pk_module_tensor(wide, "weight"), 0));
    for (int i = 0; i < all->n; i++) {
        const branch *b = &all->v[i];
        if (b->w <= side)
            add_kernel(pk_f32(pk_module_tensor(tall, "weight")), all->h, side, b, all->channels);
        else
            add_kernel(pk_f32(pk_module_tensor(wide, "weight")), side, all->w, b, all->channels);
    }
    follow_training(conv, all);
    pk_slot_set(pk_module_slot(tall, "bias"), pk_tensor_retain(bias));
    PK_TRY_DONE(pk_merge_note(r, "merged", "", "%d branches into two stripes, %lldx%lld and %lldx%lld", all->n,
                              (long long)all->h, (long long)side, (long long)side, (long long)all->w));
    install(m, pk_module_retain(conv));
done:
    pk_module_release(conv);
    pk_tensor_release(bias);
    return status;
}

/* Which has less to do here: a kernel costs its taps, and a pass over the image about as much as 25 of them. As measured
 * on maps of 7 to 56 pixels, up to 13x13 the dense kernel is faster, from 17x17 or so on the stripes are. */
static bool stripes_are_faster(const branches *all, int64_t side) {
    const int64_t pass = 25;
    return 2 * (all->h * side + pass) + pass < all->h * all->w + pass;
}

pk_status pk_merge_branches(pk_module *m, pk_merge *r) {
    branches all = {.peripheral = -1};
    int form = pk_merge_asked(r)->slak;
    if (m->nchildren == 1 && m->child[0].module->cls != &pk_class_Sequential) return PK_OK; /* it has been done */
    for (int i = 0; i < m->nchildren; i++) {
        pk_module *c = m->child[i].module;
        if (c->cls == &pk_class_Sequential) PK_TRY(pk_merge_inside(m, i, r));
        if (!take(&all, work_of(c)))
            return pk_merge_note(r, "kept", "", "branch %s has no odd kernel of stride 1 alone", m->child[i].name);
    }
    if (all.n == 0) return PK_OK;
    if (all.peripheral >= 0) return into_peripheral(m, &all, r);
    int64_t side = stripe_side(&all);
    bool stripes = form == PK_STRIPES_KEEP || (form == PK_STRIPES_AUTO && stripes_are_faster(&all, side));
    return side && stripes ? into_stripes(m, &all, side, r) : into_dense(m, &all, r);
}
