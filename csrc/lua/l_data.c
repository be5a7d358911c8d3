/* Data sets from Lua: readers of files, transforms (pelk.Transform), batches. Loaders and data sets themselves are
 * lua/pelk/data.lua. */
#include "lua/l_bind.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "data/batch.h"
#include "data/idx.h"

#define L_TRANSFORM "pelk.Transform"

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

/* cifar10_read(path) -> uint8 {N,32,32,3}, int32 {N} */
static int cifar10_read(lua_State *L) {
    pk_tensor *t[2] = {NULL, NULL};
    pk_status status;
    const char *path = check_path(L, 1);
    L_RETRY(L, status, pk_cifar10_read(path, &t[0], &t[1]));
    if (!l_ok(L, status)) return 2;
    l_push_tensors(L, t, 2);
    return 2;
}

/* ---- transforms ---- */

static int free_transform(lua_State *L) {
    l_box *box = luaL_testudata(L, 1, L_TRANSFORM);
    if (box == NULL) return 0;
    pk_transform_free(box->object);
    box->object = NULL;
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
    } else {
        v[0] = *(const double *)(const void *)at;
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

/* ---- batches ---- */

/* The list of transforms at arg; they stay alive in it while the call runs. */
static void read_pipeline(lua_State *L, int arg, pk_pipeline *p) {
    p->count = 0;
    luaL_checktype(L, arg, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, arg);
    if (n > PK_MAX_TRANSFORMS)
        l_arg_error(L, arg, "%llu transforms, at most %d", (unsigned long long)n, PK_MAX_TRANSFORMS);
    for (int i = 1; i <= (int)n; i++) {
        lua_rawgeti(L, arg, i);
        const pk_transform *t = l_test_object(L, -1, L_TRANSFORM);
        if (t == NULL) l_arg_error(L, arg, "transform %d must be a pelk.Transform, got %s", i, l_given(L, -1));
        p->step[p->count++] = t;
        lua_pop(L, 1);
    }
}

/* rows[first .. first+count-1], from 1. */
static const int32_t *check_rows(lua_State *L, int arg, int64_t first, int64_t count) {
    const pk_tensor *rows = l_check_tensor(L, arg);
    if (rows->dtype != PK_INT32 || rows->ndim != 1 || !pk_is_contiguous(rows))
        l_arg_error(L, arg, "rows must be a contiguous int32 {n}, got %s %s", pk_dtype_name(rows->dtype),
                    pk_shape_text(rows));
    if (first < 1 || count < 1 || first > rows->shape[0] || count > rows->shape[0] - first + 1)
        luaL_error(L, "batch: %I rows from %I on, there are %I", (lua_Integer)count, (lua_Integer)first,
                   (lua_Integer)rows->shape[0]);
    return pk_i32(rows) + first - 1;
}

/* batch(x, y or nil, rows, first, count, transforms, seed, epoch) -> float32 batch, labels or nil */
static int batch(lua_State *L) {
    lua_settop(L, 8);
    const pk_tensor *x = l_check_tensor(L, 1), *y = l_opt_tensor(L, 2);
    int64_t first = l_check_int(L, 4, "first row"), count = l_check_int(L, 5, "number of rows");
    const int32_t *rows = check_rows(L, 3, first, count);
    pk_pipeline p;
    read_pipeline(L, 6, &p);
    uint64_t seed = (uint64_t)l_check_int(L, 7, "seed"), epoch = (uint64_t)l_check_int(L, 8, "epoch");
    pk_status status;
    pk_tensor *t = NULL;
    L_RETRY(L, status, pk_batch(x, rows, count, &p, seed, epoch, &t));
    l_check(L, status);
    l_push_tensor(L, t);
    if (y == NULL) return 1;
    t = NULL;
    L_RETRY(L, status, pk_batch_rows(y, rows, count, &t));
    l_check(L, status);
    l_push_tensor(L, t);
    return 2;
}

/* batch_shape(x, transforms) -> {h, w, c}: what one picture becomes. */
static int batch_shape(lua_State *L) {
    const pk_tensor *x = l_check_tensor(L, 1);
    pk_pipeline p;
    read_pipeline(L, 2, &p);
    pk_extent e;
    l_check(L, pk_pipeline_infer(&p, x->ndim, x->shape, &e));
    const int64_t size[3] = {e.h, e.w, e.c};
    lua_createtable(L, 3, 0);
    for (int i = 0; i < 3; i++) {
        lua_pushinteger(L, size[i]);
        lua_rawseti(L, -2, i + 1);
    }
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
    {"cifar10_read", cifar10_read}, {"transform", new_transform},    {"transforms", list_transforms},
    {"batch", batch},               {"batch_shape", batch_shape},    {"epoch_order", epoch_order},
    {NULL, NULL},
};

void l_open_data(lua_State *L) {
    static const luaL_Reg methods[] = {{"name", transform_name}, {"options", transform_options}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", free_transform}, {"__tostring", transform_print}, {NULL, NULL}};
    l_class(L, L_TRANSFORM, methods, meta);
    luaL_setfuncs(L, functions, 0);
}
