/* Data sets from Lua: readers of MNIST's and CIFAR's files, transforms (pelk.Transform), mixing of batches. Pictures in
 * files and the making of batches are in l_feed.c, loaders and data sets themselves in lua/pelk/data.lua. */
#include "lua/l_bind.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "data/augment.h"
#include "data/epoch.h"
#include "data/idx.h"
#include "data/mix.h"
#include "data/pictures.h"

#define MIX_KEY 0x6d6978u /* so that mixing and pictures draw from different streams */

/* ---- files ---- */

static const char *check_path(lua_State *L, int arg) {
    size_t n;
    luaL_checktype(L, arg, LUA_TSTRING);
    const char *path = lua_tolstring(L, arg, &n);
    if (n == 0 || strlen(path) != n) l_arg_error(L, arg, "not a path: empty, or with a zero byte");
    return path;
}

static int push_one(lua_State *L, pk_status status, pk_tensor *t) {
    if (!l_ok(L, status)) return 2;
    l_push_tensor(L, t);
    return 1;
}

static int read_tensor(lua_State *L, pk_status (*read)(const char *path, pk_tensor **out)) {
    pk_tensor *t = NULL;
    pk_status status;
    const char *path = check_path(L, 1);
    L_RETRY(L, status, read(path, &t));
    return push_one(L, status, t);
}

/* idx_read(path) -> uint8 tensor */
static int idx_read(lua_State *L) { return read_tensor(L, pk_idx_read); }

/* idx_images(path) -> uint8 {N,H,W,1} */
static int idx_images(lua_State *L) { return read_tensor(L, pk_idx_images); }

/* idx_labels(path, classes) -> int32 {N}, 1 .. classes */
static int idx_labels(lua_State *L) {
    pk_tensor *t = NULL;
    pk_status status;
    const char *path = check_path(L, 1);
    int64_t classes = lua_isnoneornil(L, 2) ? 10 : l_check_int(L, 2, "number of classes");
    if (classes < 1 || classes > 256)
        l_arg_error(L, 2, "number of classes must be 1..256, got %lld", (long long)classes);
    L_RETRY(L, status, pk_idx_labels(path, (int)classes, &t));
    return push_one(L, status, t);
}

/* cifar_read(path, "10" | "fine" | "coarse") -> uint8 {N,32,32,3}, int32 {N} */
static int cifar_read(lua_State *L) {
    static const char *const names[] = {"10", "fine", "coarse", NULL};
    static const pk_cifar kinds[] = {{1, 0, 10}, {2, 1, 100}, {2, 0, 20}};
    pk_tensor *t[2] = {NULL, NULL};
    pk_status status;
    const char *path = check_path(L, 1);
    const pk_cifar *kind = &kinds[luaL_checkoption(L, 2, "10", names)];
    L_RETRY(L, status, pk_cifar_read(path, kind, &t[0], &t[1]));
    if (!l_ok(L, status)) return 2;
    l_push_tensors(L, t, 2);
    return 2;
}

/* ---- transforms ---- */

static int free_transform(lua_State *L) {
    pk_transform_release(l_take_object(L, 1, L_TRANSFORM));
    return 0;
}

static const pk_transform_kind *check_kind(lua_State *L, int arg) {
    const char *name = luaL_checkstring(L, arg);
    const pk_transform_kind *kind = pk_transform_find(name);
    if (kind != NULL) return kind;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 0; pk_transform_at(i); i++) {
        luaL_addstring(&b, i ? ", " : "");
        luaL_addstring(&b, pk_transform_at(i)->name);
    }
    luaL_pushresult(&b);
    luaL_error(L, "there is no transform '%s'; there are %s", name, lua_tostring(L, -1));
    return NULL;
}

/* transform(name, options) -> pelk.Transform */
static int new_transform(lua_State *L) {
    lua_settop(L, 2);
    const pk_transform_kind *kind = check_kind(L, 1);
    void *options = l_new_params(L, kind->fields, kind->nfields, kind->options_size);
    l_read_options(L, 2, kind->name, kind->fields, kind->nfields, options, kind->options_size);
    l_box *box = l_new_box(L, L_TRANSFORM);
    pk_transform *t = NULL;
    l_check(L, pk_transform_new(kind, options, &t));
    box->object = t;
    return 1;
}

/* transforms() -> {{name, doc, fields}, ...} */
static int list_transforms(lua_State *L) {
    lua_newtable(L);
    for (int i = 0; pk_transform_at(i); i++) {
        const pk_transform_kind *kind = pk_transform_at(i);
        lua_createtable(L, 0, 3);
        lua_pushstring(L, kind->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, kind->doc);
        lua_setfield(L, -2, "doc");
        l_push_schema(L, kind->fields, kind->nfields);
        lua_setfield(L, -2, "fields");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int transform_name(lua_State *L) {
    const pk_transform *t = l_check_object(L, 1, L_TRANSFORM);
    lua_pushstring(L, t->kind->name);
    return 1;
}

static int transform_options(lua_State *L) {
    const pk_transform *t = l_check_object(L, 1, L_TRANSFORM);
    l_push_options(L, t->kind->fields, t->kind->nfields, t->options);
    return 1;
}

static void add_numbers(luaL_Buffer *b, const double *v, int n) {
    char text[32];
    if (n != 1) luaL_addstring(b, "{");
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%s%.6g", i ? "," : "", v[i]);
        luaL_addstring(b, text);
    }
    if (n != 1) luaL_addstring(b, "}");
}

/* The option as a constructor takes it. */
static void add_value(luaL_Buffer *b, const pk_field *f, const void *options) {
    const char *at = (const char *)options + f->offset;
    double v[PK_MAX_STAGES];
    int n = 1;
    if (f->type == PK_PAIR) {
        n = 2;
        for (int i = 0; i < 2; i++) v[i] = (double)((const int64_t *)(const void *)at)[i];
    } else if (f->type == PK_FLOATS) {
        const pk_floats *list = (const pk_floats *)(const void *)at;
        n = list->n;
        for (int i = 0; i < n; i++) v[i] = list->v[i];
    } else if (f->type == PK_ENUM || f->type == PK_BOOL) {
        char name[32];
        luaL_addstring(b, f->type == PK_BOOL ? (*(const bool *)(const void *)at ? "true" : "false")
                                             : pk_choice_name(f->choices, *(const int *)(const void *)at, name,
                                                              sizeof name));
        return;
    } else {
        v[0] = f->type == PK_INT ? (double)*(const int64_t *)(const void *)at : *(const double *)(const void *)at;
    }
    add_numbers(b, v, n);
}

/* "random_crop{size={0,0}, padding={4,4}}" */
static int transform_print(lua_State *L) {
    const pk_transform *t = l_check_object(L, 1, L_TRANSFORM);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, t->kind->name);
    for (int i = 0; i < t->kind->nfields; i++) {
        luaL_addstring(&b, i ? ", " : "{");
        luaL_addstring(&b, t->kind->fields[i].name);
        luaL_addstring(&b, "=");
        add_value(&b, &t->kind->fields[i], t->options);
    }
    if (t->kind->nfields > 0) luaL_addstring(&b, "}");
    luaL_pushresult(&b);
    return 1;
}

/* ---- whole batches ---- */

/* mix(x, y, options, seed, epoch, number) -> soft targets; x is changed in place. */
static int mix(lua_State *L) {
    lua_settop(L, 6);
    pk_mix o;
    l_read_options(L, 3, "mixup", pk_mix_fields, pk_mix_nfields, &o, sizeof o);
    uint64_t stream = pk_recipe_stream((uint64_t)l_check_int(L, 4, "seed"), (uint64_t)l_check_int(L, 5, "epoch"));
    stream = pk_random_bits(stream ^ MIX_KEY, (uint64_t)l_check_int(L, 6, "batch"));
    pk_status status;
    pk_tensor *targets = NULL;
    L_RETRY(L, status, pk_mix_apply(&o, stream, l_check_tensor(L, 1), l_check_tensor(L, 2), &targets));
    l_check(L, status);
    l_push_tensor(L, targets);
    return 1;
}

/* soft_targets(y, classes, smoothing, weights or nil) -> float32 {N,classes} */
static int soft_targets(lua_State *L) {
    lua_settop(L, 4);
    int64_t classes = l_check_int(L, 2, "number of classes");
    double smoothing = luaL_optnumber(L, 3, 0);
    if (classes < 1) l_arg_error(L, 2, "number of classes must be at least 1, got %lld", (long long)classes);
    if (!(smoothing >= 0 && smoothing <= 1)) l_arg_error(L, 3, "label smoothing must be in [0, 1], got %g", smoothing);
    pk_status status;
    pk_tensor *targets = NULL;
    L_RETRY(L, status, pk_soft_targets(l_check_tensor(L, 1), classes, smoothing, l_opt_tensor(L, 4), &targets));
    l_check(L, status);
    l_push_tensor(L, targets);
    return 1;
}

/* _augment(x uint8 {h,w,c}, name, value, "bilinear" | "bicubic") -> what rand_augment's change of that name makes of
 * it, for tests */
static int augment(lua_State *L) {
    const pk_tensor *x = l_check_tensor(L, 1);
    const char *name = luaL_checkstring(L, 2);
    pk_augment_step a = {.value = luaL_optnumber(L, 3, 0), .fill = {124, 116, 104}};
    int op = pk_choice_find(PK_AUGMENT_NAMES, name),
        filter = pk_choice_find(PK_FILTERS, luaL_optstring(L, 4, "bicubic"));
    if (op < 0 || filter < 0) return luaL_error(L, "_augment: no change '%s', or no such filter", name);
    a.op = (pk_augment_op)op;
    a.filter = (pk_filter)filter;
    if (x->dtype != PK_UINT8 || x->ndim != 3 || !pk_is_contiguous(x) || (x->shape[2] != 1 && x->shape[2] != 3))
        return luaL_error(L, "_augment: wants uint8 {h,w,1 or 3}");
    pk_tensor *out = NULL;
    l_check(L, pk_tensor_like(x, &out));
    const pk_bytes_map p = {pk_u8(x), pk_u8(out), x->shape[0], x->shape[1], x->shape[2]};
    pk_augment_apply(&a, &p);
    l_push_tensor(L, out);
    return 1;
}

/* _augment_value(name, level, increasing, negative) -> what a strength of 0..10 means to the change of that name, for
 * tests */
static int augment_value(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    double level = luaL_checknumber(L, 2);
    int op = pk_choice_find(PK_AUGMENT_NAMES, name);
    if (op < 0) return luaL_error(L, "_augment_value: no change '%s'", name);
    lua_pushnumber(L, pk_augment_value((pk_augment_op)op, level, lua_toboolean(L, 3), lua_toboolean(L, 4)));
    return 1;
}

/* epoch_order(n or subset, shuffle, seed, epoch) -> int32 rows */
static int epoch_order(lua_State *L) {
    lua_settop(L, 4);
    const pk_tensor *subset = l_test_object(L, 1, L_TENSOR);
    int64_t n = subset ? (subset->ndim == 1 ? subset->shape[0] : -1) : l_check_int(L, 1, "number of rows");
    uint64_t seed = (uint64_t)l_check_int(L, 3, "seed"), epoch = (uint64_t)l_check_int(L, 4, "epoch");
    pk_status status;
    pk_tensor *t = NULL;
    L_RETRY(L, status, pk_epoch_order(n, subset, lua_toboolean(L, 2), seed, epoch, &t));
    l_check(L, status);
    l_push_tensor(L, t);
    return 1;
}

static const luaL_Reg functions[] = {
    {"idx_read", idx_read},         {"idx_images", idx_images},      {"idx_labels", idx_labels},
    {"cifar_read", cifar_read},     {"transform", new_transform},    {"transforms", list_transforms},
    {"mix", mix},                   {"soft_targets", soft_targets},  {"epoch_order", epoch_order},
    {"_augment", augment},          {"_augment_value", augment_value}, {NULL, NULL},
};

void l_open_data(lua_State *L) {
    static const luaL_Reg methods[] = {{"name", transform_name}, {"options", transform_options}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", free_transform}, {"__tostring", transform_print}, {NULL, NULL}};
    l_class(L, L_TRANSFORM, methods, meta);
    luaL_setfuncs(L, functions, 0);
}
