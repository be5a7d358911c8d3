/* Sparse training from Lua: the core's half of pelk.sparse. What is written in Lua (options, patterns, densities, SNIP's
 * batches, reports) is lua/pelk/sparse. Layers count from 1. */
#include <string.h>

#include "core/alloc.h"
#include "io/masks.h"
#include "lua/l_bind.h"
#include "train/sparse.h"

#define L_SPARSE "pelk.Masks"

static pk_sparse *check_sparse(lua_State *L) { return l_check_object(L, 1, L_SPARSE); }

/* The layer whose number is argument 2, from 0. */
static int64_t check_layer(lua_State *L, const pk_sparse *s) {
    int64_t i = l_check_int(L, 2, "layer");
    if (i < 1 || i > s->count) l_arg_error(L, 2, "layer %lld is not in 1..%lld", (long long)i, (long long)s->count);
    return i - 1;
}

/*** sparse_new(options): no layer yet. */
static int sparse_new(lua_State *L) {
    pk_sparse_options options;
    pk_sparse *s;
    pk_status status;
    l_read_options(L, 1, "sparse", pk_sparse_fields, pk_sparse_nfields, &options, sizeof options);
    l_box *box = l_new_box(L, L_SPARSE);
    L_RETRY(L, status, pk_sparse_new(&options, &s));
    l_check(L, status);
    box->object = s;
    return 1;
}

static int sparse_gc(lua_State *L) {
    pk_sparse_free(l_take_object(L, 1, L_SPARSE));
    return 0;
}

/*** sparse_fields() -> the schema of the options. */
static int sparse_fields(lua_State *L) {
    l_push_schema(L, pk_sparse_fields, pk_sparse_nfields);
    return 1;
}

/*** s:options() */
static int options(lua_State *L) {
    l_push_options(L, pk_sparse_fields, pk_sparse_nfields, &check_sparse(L)->options);
    return 1;
}

/* ---- choosing ---- */

/*** s:add(path, tensor, live or nil) */
static int add(lua_State *L) {
    pk_sparse *s = check_sparse(L);
    const char *path = luaL_checkstring(L, 2);
    pk_tensor *t = l_check_tensor(L, 3), *live = l_opt_tensor(L, 4);
    pk_status status;
    L_RETRY(L, status, pk_sparse_add(s, path, t, live));
    l_check(L, status);
    l_note_memory(L);
    return 0;
}

/*** s:draw(i, n): n random connections. */
static int draw(lua_State *L) {
    pk_sparse *s = check_sparse(L);
    int64_t i = check_layer(L, s);
    pk_status status;
    L_RETRY(L, status, pk_sparse_draw(s, i, l_check_int(L, 3, "number of connections")));
    l_check(L, status);
    return 0;
}

/*** s:snip(keep, take) -> how many of each layer. */
static int snip(lua_State *L) {
    pk_sparse *s = check_sparse(L);
    int64_t keep = l_check_int(L, 2, "number of connections");
    int64_t *count = lua_newuserdatauv(L, (size_t)(s->count + 1) * sizeof *count, 0);
    pk_status status;
    L_RETRY(L, status, pk_sparse_snip(s, keep, lua_toboolean(L, 3), count));
    l_check(L, status);
    lua_createtable(L, (int)s->count, 0);
    for (int64_t i = 0; i < s->count; i++) {
        lua_pushinteger(L, count[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/*** s:take(i, mask) */
static int take(lua_State *L) {
    pk_sparse *s = check_sparse(L);
    int64_t i = check_layer(L, s);
    l_check(L, pk_sparse_take(s, i, l_check_tensor(L, 3)));
    return 0;
}

/*** s:commit(dense) */
static int commit(lua_State *L) {
    pk_sparse *s = check_sparse(L);
    pk_status status;
    L_RETRY(L, status, pk_sparse_commit(s, luaL_checknumber(L, 2)));
    l_check(L, status);
    l_note_memory(L);
    return 0;
}

/*** s:detach() */
static int detach(lua_State *L) {
    pk_sparse_detach(check_sparse(L));
    return 0;
}

/* ---- training ---- */

/*** s:step() -> did it prune and grow? */
static int step(lua_State *L) {
    pk_sparse *s = check_sparse(L);
    bool updated;
    pk_status status;
    L_RETRY(L, status, pk_sparse_step(s, &updated));
    l_check(L, status);
    lua_pushboolean(L, updated);
    return 1;
}

/*** s:update(rate) */
static int update(lua_State *L) {
    pk_sparse *s = check_sparse(L);
    pk_status status;
    L_RETRY(L, status, pk_sparse_update(s, luaL_checknumber(L, 2)));
    l_check(L, status);
    return 0;
}

/*** s:apply() */
static int apply(lua_State *L) {
    pk_sparse_apply(check_sparse(L));
    return 0;
}

/*** s:rate(steps) */
static int rate(lua_State *L) {
    const pk_sparse *s = check_sparse(L);
    lua_pushnumber(L, pk_sparse_rate(s, lua_isnoneornil(L, 2) ? s->steps : l_check_int(L, 2, "step")));
    return 1;
}

/* ---- accounts ---- */

static void set_integer(lua_State *L, const char *key, int64_t value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

static void push_layer(lua_State *L, const pk_sparse *s, int64_t i) {
    const pk_sparse_layer *l = &s->layer[i];
    double mean;
    int64_t most;
    pk_sparse_ages(s, i, &mean, &most);
    lua_createtable(L, 0, 11);
    lua_pushstring(L, l->path);
    lua_setfield(L, -2, "name");
    lua_createtable(L, l->tensor->ndim, 0);
    for (int d = 0; d < l->tensor->ndim; d++) lua_pushinteger(L, l->tensor->shape[d]), lua_rawseti(L, -2, d + 1);
    lua_setfield(L, -2, "shape");
    set_integer(L, "total", l->count);
    set_integer(L, "live", l->room);
    set_integer(L, "active", l->active);
    set_integer(L, "pruned", l->pruned);
    set_integer(L, "grown", l->grown);
    set_integer(L, "oldest", most);
    lua_pushnumber(L, mean);
    lua_setfield(L, -2, "age");
    lua_pushboolean(L, !l->dense);
    lua_setfield(L, -2, "masked");
}

/*** s:layers() -> list of {name, shape, total, live, active, pruned, grown, age, oldest, masked} */
static int layers(lua_State *L) {
    const pk_sparse *s = check_sparse(L);
    luaL_checkstack(L, 8, "layers");
    lua_createtable(L, (int)s->count, 0);
    for (int64_t i = 0; i < s->count; i++) {
        push_layer(L, s, i);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/*** s:counts() -> steps, updates, step of the last update (-1: none), connections, weights that can be connections */
static int counts(lua_State *L) {
    const pk_sparse *s = check_sparse(L);
    int64_t active = 0, room = 0;
    for (int64_t i = 0; i < s->count; i++) active += s->layer[i].active, room += s->layer[i].room;
    lua_pushinteger(L, s->steps);
    lua_pushinteger(L, s->updates);
    lua_pushinteger(L, s->last_update);
    lua_pushinteger(L, active);
    lua_pushinteger(L, room);
    return 5;
}

/*** s:tensor(i) -> the weight */
static int tensor(lua_State *L) {
    const pk_sparse *s = check_sparse(L);
    l_push_view(L, pk_tensor_retain(s->layer[check_layer(L, s)].tensor));
    return 1;
}

/*** s:born(i) -> int32 tensor, the layer's own: steps of birth, -1 masked; nil for a dense layer */
static int born(lua_State *L) {
    const pk_sparse *s = check_sparse(L);
    pk_tensor *t = s->layer[check_layer(L, s)].born;
    if (t) l_push_view(L, pk_tensor_retain(t));
    else lua_pushnil(L);
    return 1;
}

/*** s:mask(i) -> float32 tensor of the weight's shape: 1 where there is a connection */
static int mask(lua_State *L) {
    const pk_sparse *s = check_sparse(L);
    const pk_tensor *of = s->layer[check_layer(L, s)].tensor;
    pk_tensor *t;
    pk_status status;
    L_RETRY(L, status, pk_tensor_new(PK_FLOAT32, of->ndim, of->shape, &t));
    l_check(L, status);
    if (of->mask) pk_tensor_copy(t, of->mask);
    else pk_tensor_fill(t, 1);
    l_push_tensor(L, t);
    return 1;
}

/*** s:overlap(i, live) -> connections of layer i where live (uint8) is not 0 */
static int overlap(lua_State *L) {
    const pk_sparse *s = check_sparse(L);
    const pk_tensor *of = s->layer[check_layer(L, s)].tensor, *live = l_check_tensor(L, 3);
    int64_t n = 0;
    if (live->dtype != PK_UINT8 || !pk_same_shape(live, of) || !pk_is_contiguous(live))
        return luaL_error(L, "overlap: uint8 %s was expected, got %s", pk_shape_text(of), pk_shape_text(live));
    for (int64_t i = 0; i < pk_numel(of); i++) n += pk_u8(live)[i] && (!of->mask || pk_u8(of->mask)[i]);
    lua_pushinteger(L, n);
    return 1;
}

typedef struct finder {
    const pk_sparse *s;
    char *seen; /* one a layer */
    int64_t found;
} finder;

static pk_status find_layer(void *context, const char *path, pk_module *m, pk_slot *slot) {
    finder *f = context;
    (void)path, (void)m;
    for (int64_t i = 0; i < f->s->count; i++) {
        if (f->s->layer[i].tensor != slot->tensor) continue;
        f->found += !f->seen[i]; /* a layer may stand in several places */
        f->seen[i] = 1;
    }
    return PK_OK;
}

/*** s:belong_to(module): are all layers' weights parameters of the module? */
static int belong_to(lua_State *L) {
    finder f = {check_sparse(L), NULL, 0};
    f.seen = lua_newuserdatauv(L, (size_t)f.s->count + 1, 0);
    memset(f.seen, 0, (size_t)f.s->count + 1);
    l_check(L, pk_module_each_slot(l_check_module(L, 2), find_layer, &f));
    lua_pushboolean(L, f.found == f.s->count);
    return 1;
}

/*** s:load_state(births, steps, updates, last_update): births[i] is a tensor, or false for a dense layer. */
static int load_state(lua_State *L) {
    pk_sparse *s = check_sparse(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checkstack(L, (int)s->count + 8, "state");
    pk_tensor **from = lua_newuserdatauv(L, (size_t)(s->count + 1) * sizeof *from, 0);
    for (int64_t i = 0; i < s->count; i++) {
        lua_rawgeti(L, 2, i + 1); /* stays on the stack: alive */
        from[i] = lua_toboolean(L, -1) ? l_test_object(L, -1, L_TENSOR) : NULL;
        if (lua_toboolean(L, -1) && !from[i])
            return luaL_error(L, "sparse: the state of %s must be a tensor, got %s", s->layer[i].path, l_given(L, -1));
    }
    int64_t steps = l_check_int(L, 3, "steps"), updates = l_check_int(L, 4, "updates");
    if (steps < 0 || updates < 0) return luaL_error(L, "sparse: steps and updates cannot be negative");
    l_check(L, pk_sparse_set_state(s, from, steps, updates, l_check_int(L, 5, "last update")));
    return 0;
}

/* ---- masks of tensors ---- */

/*** mask_of(t) -> uint8 tensor, the mask itself; or nil */
static int mask_of(lua_State *L) {
    pk_tensor *t = l_check_tensor(L, 1);
    if (t->mask) l_push_view(L, pk_tensor_retain(t->mask));
    else lua_pushnil(L);
    return 1;
}

/*** mask_drop(t): no mask any more. */
static int mask_drop(lua_State *L) {
    pk_tensor_drop_mask(l_check_tensor(L, 1));
    return 0;
}

/* ---- files ---- */

static int free_dict(lua_State *L) {
    l_box *box = luaL_testudata(L, 1, "pelk.MaskDict");
    if (box == NULL || box->object == NULL) return 0;
    pk_dict_clear(box->object);
    pk_free(box->object);
    box->object = NULL;
    return 0;
}

/*** module_masks(m) -> {name = uint8 view in PyTorch's layout} of the parameters that have a mask. */
static int module_masks(lua_State *L) {
    pk_module *m = l_check_module(L, 1);
    l_box *box = l_new_box(L, "pelk.MaskDict");
    pk_dict *d = box->object = pk_alloc_zeroed(sizeof *d);
    if (!d) l_check(L, pk_no_memory(sizeof *d));
    lua_toclose(L, -1);
    l_check(L, pk_module_masks(m, d));
    lua_createtable(L, 0, (int)d->count);
    for (int64_t i = 0; i < d->count; i++) {
        l_push_view(L, pk_tensor_retain(d->item[i].tensor));
        lua_setfield(L, -2, d->item[i].name);
    }
    return 1;
}

/*** sparse_pack(t, mask or nil) -> bits, values */
static int sparse_pack(lua_State *L) {
    pk_tensor *t = l_check_tensor(L, 1), *m = l_opt_tensor(L, 2), *out[2];
    pk_status status;
    L_RETRY(L, status, pk_pack_sparse(t, m, &out[0], &out[1]));
    l_check(L, status);
    l_push_tensors(L, out, 2);
    return 2;
}

/*** sparse_unpack(bits, values, shape) -> t, mask; or nil, message */
static int sparse_unpack(lua_State *L) {
    const pk_tensor *bits = l_check_tensor(L, 1), *values = l_check_tensor(L, 2);
    int64_t shape[PK_MAX_DIMS];
    int ndim = l_check_shape(L, 3, shape);
    pk_tensor *out[2];
    pk_status status;
    L_RETRY(L, status, pk_unpack_sparse(bits, values, ndim, shape, &out[0], &out[1]));
    if (!l_ok(L, status)) return 2;
    l_push_tensors(L, out, 2);
    return 2;
}

static const luaL_Reg methods[] = {
    {"options", options}, {"add", add},       {"draw", draw},     {"snip", snip},   {"take", take},
    {"commit", commit},   {"detach", detach}, {"step", step},     {"update", update}, {"apply", apply},
    {"rate", rate},       {"layers", layers}, {"counts", counts}, {"tensor", tensor}, {"born", born},
    {"mask", mask},       {"overlap", overlap},   {"belong_to", belong_to},   {"load_state", load_state}, {NULL, NULL},
};
static const luaL_Reg metamethods[] = {{"__gc", sparse_gc}, {"__close", sparse_gc}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"sparse_new", sparse_new},   {"sparse_fields", sparse_fields}, {"module_masks", module_masks},
    {"sparse_pack", sparse_pack}, {"sparse_unpack", sparse_unpack}, {"mask_of", mask_of},
    {"mask_drop", mask_drop},     {NULL, NULL},
};

void l_open_sparse(lua_State *L) {
    static const luaL_Reg none[] = {{NULL, NULL}}, dict[] = {{"__gc", free_dict}, {"__close", free_dict}, {NULL, NULL}};
    l_class(L, "pelk.MaskDict", none, dict);
    l_class(L, L_SPARSE, methods, metamethods);
    luaL_setfuncs(L, functions, 0);
}
