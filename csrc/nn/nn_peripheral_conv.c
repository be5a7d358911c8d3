/* PeripheralConv: a depthwise convolution whose weights are shared on the peripheral grid (PeLK, section 4.1), with its
 * own position map unless it is given one. */
#include <stdio.h>

#include "core/alloc.h"
#include "nn/args.h"
#include "nn/merge.h"
#include "nn/mixer.h"

typedef struct options {
    int64_t channels;
    pk_mixer mixer;
    bool bias, own_position;
} options;

static pk_status build(pk_module *m) {
    const options *o = m->options;
    pk_ints grid;
    PK_TRY(pk_mixer_grid(&o->mixer, &grid));
    const int64_t shape[] = {grid.n, grid.n, o->channels};
    PK_TRY(pk_module_parameter(m, "weight", 3, shape, PK_INIT_TRUNC_NORMAL, 0.02));
    if (o->bias) PK_TRY(pk_module_parameter(m, "bias", 1, &o->channels, PK_INIT_ZEROS, 0));
    return o->own_position ? pk_mixer_add_position(m, &o->mixer, o->channels) : PK_OK;
}

/* ---- the position of a merged kernel ----
 * The small kernel in the centre of `weight` never saw the position map, so the map's term is that of weight - small. It
 * depends on the image's size only: a table {H,W,C}, kept for the weights it was made from. */

enum { PARTS = 3 };
static const char *const part_names[PARTS] = {"weight", "position", "small"};

typedef struct table {
    pk_tensor *map;         /* {H,W,C} */
    pk_tensor *part[PARTS]; /* aliases of what it was made from */
    unsigned version[PARTS];
} table;

static void drop_table(void *cache) {
    table *t = cache;
    if (!t) return;
    pk_tensor_release(t->map);
    for (int i = 0; i < PARTS; i++) pk_tensor_release(t->part[i]);
    pk_free(t);
}

static bool is_current(const table *t, const pk_module *m, const pk_tensor *x) {
    if (!t || t->map->shape[0] != x->shape[1] || t->map->shape[1] != x->shape[2]) return false;
    for (int i = 0; i < PARTS; i++) {
        const pk_tensor *now = pk_module_tensor(m, part_names[i]), *then = t->part[i];
        if (!now != !then) return false;
        if (now && (now->storage != then->storage || now->offset != then->offset ||
                    atomic_load(&now->storage->version) != t->version[i]))
            return false;
    }
    return true;
}

static void keep_table(pk_module *m, pk_tensor *map) {
    table *t = pk_alloc_zeroed(sizeof *t);
    bool whole = t != NULL;
    for (int i = 0; i < PARTS && whole; i++) {
        const pk_tensor *now = pk_module_tensor(m, part_names[i]);
        if (!now) continue;
        t->version[i] = atomic_load(&now->storage->version);
        whole = pk_tensor_alias(now, &t->part[i]) == PK_OK;
    }
    if (t) t->map = pk_tensor_retain(map);
    drop_table(whole ? m->cache : t); /* without memory there is nothing kept: it is made again */
    if (whole) m->cache = t;
    m->drop_cache = drop_table;
}

static pk_status narrow(pk_tensor *t, int dim, int64_t start, int64_t length, pk_tensor **out) {
    pk_args args;
    pk_args_begin(&args, &pk_op_narrow);
    pk_args_set(&args, "dim", dim);
    pk_args_set(&args, "start", (double)start);
    pk_args_set(&args, "length", (double)length);
    return pk_args_run(&args, &t, 1, out);
}

/* The central k x k of position {K,K} or {K,K,C}. */
static pk_status centre(pk_tensor *position, int64_t k, pk_tensor **out) {
    int64_t start = (position->shape[0] - k) / 2;
    pk_tensor *rows;
    PK_TRY(narrow(position, 0, start, k, &rows));
    pk_status status = narrow(rows, 1, start, k, out);
    pk_tensor_release(rows);
    return status;
}

/* What the small kernel would give of an image of nothing but its position. */
static pk_status small_term(pk_module *m, pk_tensor *zeros, pk_tensor **out) {
    pk_tensor *small = pk_module_tensor(m, "small"), *seen;
    pk_args args;
    PK_TRY(centre(pk_module_tensor(m, "position"), small->shape[0], &seen));
    pk_args_begin(&args, &pk_op_peripheral_conv);
    pk_status status = pk_args_run(&args, (pk_tensor *[]){zeros, small, seen}, 3, out);
    pk_tensor_release(seen);
    return status;
}

static pk_status first_image(pk_tensor *x, pk_tensor **out) {
    pk_args args;
    pk_args_begin(&args, &pk_op_select);
    pk_args_set(&args, "dim", 0);
    pk_args_set(&args, "index", 0);
    return pk_args_run(&args, &x, 1, out);
}

static pk_status make_table(pk_module *m, const pk_tensor *x, pk_tensor **out) {
    pk_tensor *zeros = NULL, *all = NULL, *small = NULL, *rest = NULL;
    pk_status status;
    PK_TRY_DONE(pk_tensor_zeros(PK_FLOAT32, 4, (int64_t[]){1, x->shape[1], x->shape[2], x->shape[3]}, &zeros));
    pk_tensor *in[] = {zeros, pk_module_tensor(m, "weight"), pk_module_tensor(m, "position")};
    PK_TRY_DONE(pk_run_layer(&pk_op_peripheral_conv, m, in, 3, &all));
    if (pk_module_tensor(m, "small")) {
        PK_TRY_DONE(small_term(m, zeros, &small));
        PK_TRY_DONE(pk_run2(&pk_op_sub, all, small, &rest));
    }
    status = first_image(rest ? rest : all, out);
done:
    pk_tensor_release(zeros);
    pk_tensor_release(all);
    pk_tensor_release(small);
    pk_tensor_release(rest);
    return status;
}

static pk_status table_for(pk_module *m, const pk_tensor *x, pk_tensor **map) {
    bool grad = pk_grad_enabled() && (pk_module_tensor(m, "weight")->requires_grad ||
                                      pk_module_tensor(m, "position")->requires_grad);
    if (!grad && is_current(m->cache, m, x)) {
        *map = pk_tensor_retain(((table *)m->cache)->map);
        return PK_OK;
    }
    PK_TRY(make_table(m, x, map));
    if (!grad) keep_table(m, *map);
    return PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *in[] = {x, pk_module_tensor(m, "weight"), pk_module_tensor(m, "position"), pk_module_tensor(m, "bias"),
                       NULL};
    if (m->merged && pk_counting()) in[2] = NULL; /* the table is there after the first forward */
    if (!m->merged || !in[2] || x->ndim != 4) return pk_run_layer(&pk_op_peripheral_conv, m, in, 4, y);
    PK_TRY(table_for(m, x, &in[4]));
    in[2] = NULL;
    pk_status status = pk_run_layer(&pk_op_peripheral_conv, m, in, 5, y);
    pk_tensor_release(in[4]);
    return status;
}

/* ---- merging ---- */

/* A position that padded taps see too is one number a channel: it goes into the bias. */
static pk_status merge(pk_module *m, pk_merge *r) {
    options *o = m->options;
    pk_tensor *zeros = NULL, *constant = NULL;
    pk_affine a = {0};
    bool done;
    pk_status status = PK_OK;
    if (!pk_module_tensor(m, "position") || o->mixer.position_mode != PK_POSITION_ALL) return PK_OK;
    PK_TRY_DONE(pk_tensor_zeros(PK_FLOAT32, 4, (int64_t[]){1, 1, 1, o->channels}, &zeros));
    pk_tensor *in[] = {zeros, pk_module_tensor(m, "weight"), pk_module_tensor(m, "position")};
    PK_TRY_DONE(pk_run_layer(&pk_op_peripheral_conv, m, in, 3, &constant));
    PK_TRY_DONE(pk_affine_new(o->channels, &a));
    for (int64_t c = 0; c < o->channels; c++) {
        a.scale[c] = 1;
        a.shift[c] = pk_f32(constant)[c];
    }
    PK_TRY_DONE(pk_merge_note(r, "folded", "position", "position map (all taps) into the bias"));
    PK_TRY_DONE(pk_absorb_lanes(m, &a, &done));
    o->mixer.position_mode = PK_POSITION_OFF;
    pk_module_drop_slot(m, "position");
done:
    pk_affine_free(&a);
    pk_tensor_release(zeros);
    pk_tensor_release(constant);
    return status;
}

/* Zeros are padded around it, so only what comes behind can be taken up. */
static pk_status absorb(pk_module *m, const pk_affine *a, bool behind, bool *done) {
    return behind && !pk_module_tensor(m, "small") ? pk_absorb_lanes(m, a, done) : PK_OK;
}

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    pk_ints grid;
    if (pk_mixer_grid(&o->mixer, &grid) != PK_OK) return;
    int n = snprintf(text, size, "%lld, kernel %lld, grid", (long long)o->channels, (long long)o->mixer.kernel);
    for (int i = 0; i < (grid.n + 1) / 2 && n > 0 && (size_t)n < size; i++) /* outer -> centre, as the paper prints it */
        n += snprintf(text + n, size - (size_t)n, "%s%d", i ? "," : " ", (int)grid.v[i]);
}

static const pk_field fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_MIXER(options, mixer),
    F_BOOL(options, bias, 0, "add a learned bias"),
    F_BOOL(options, own_position, 1, "make a position map (unless position_mode is off)"),
};

const pk_class pk_class_PeripheralConv = {
    .name = "PeripheralConv",
    .doc = "Depthwise convolution with weights shared on the peripheral grid: {N,H,W,C} to the same; weight {k',k',C}.",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
    .merge = merge,
    .absorb = absorb,
};

pk_status pk_peripheral_grid(const pk_module *m, pk_ints *grid) {
    return pk_mixer_grid(&((const options *)m->options)->mixer, grid);
}

const pk_mixer *pk_peripheral_mixer(const pk_module *m) { return &((const options *)m->options)->mixer; }

void pk_peripheral_regrid(pk_module *m, const pk_ints *grid) { ((options *)m->options)->mixer.grid = *grid; }

/* For mixers: a bias only without batch norm, the position given or none. */
pk_status pk_peripheral_make(pk_module *m, const char *name, const pk_mixer *mixer, int64_t channels, pk_tensor *position) {
    options o;
    pk_module *made;
    pk_schema_defaults(fields, F_COUNT(fields), &o, sizeof o);
    o.channels = channels;
    o.mixer = *mixer;
    o.bias = !mixer->reparam;
    o.own_position = false;
    PK_TRY(pk_module_make(m, name, &pk_class_PeripheralConv, &o, &made));
    return position ? pk_module_share(made, "position", position) : PK_OK;
}
