/* Files from Lua: tensors under names (safetensors), models' weights, text written crash-safely.
 *
 * A dict of the core lives in a box of its own while it is filled from or emptied into Lua tables, so that a raise in
 * between frees it. */
#include "lua/l_bind.h"

#include <errno.h>
#include <string.h>

#include "core/alloc.h"
#include "io/safetensors.h"
#include "io/tensors.h"
#include "io/weights.h"

#define L_DICT "pelk.Dict"
#define NAMES "names" /* in a state's metatable: its names in order */

/* ---- the box ---- */

static int free_dict(lua_State *L) {
    l_box *box = luaL_testudata(L, 1, L_DICT);
    if (box == NULL || box->object == NULL) return 0;
    pk_dict_clear(box->object);
    pk_free(box->object);
    box->object = NULL;
    return 0;
}

/* An empty dict, in a box on the stack's top that is closed when the function is left. */
static pk_dict *new_dict(lua_State *L) {
    l_box *box = l_new_box(L, L_DICT);
    box->object = pk_alloc_zeroed(sizeof(pk_dict));
    if (box->object == NULL) l_check(L, pk_no_memory(sizeof(pk_dict)));
    lua_toclose(L, -1);
    return box->object;
}

/* ---- from Lua tables ---- */

/* The string at index; zero bytes inside would cut it. */
static const char *check_text(lua_State *L, int index, const char *what) {
    size_t n;
    if (lua_type(L, index) != LUA_TSTRING) luaL_error(L, "%s must be a string, got %s", what, l_given(L, index));
    const char *s = lua_tolstring(L, index, &n);
    if (strlen(s) != n) luaL_error(L, "%s holds a zero byte", what);
    return s;
}

static const char *check_path(lua_State *L, int arg) {
    luaL_checktype(L, arg, LUA_TSTRING);
    const char *path = check_text(L, arg, "a path");
    if (*path == '\0') l_arg_error(L, arg, "the path is empty");
    return path;
}

/* The tensor at the stack's top goes in under name. */
static void add(lua_State *L, pk_dict *d, const char *name) {
    pk_tensor *t = l_test_object(L, -1, L_TENSOR);
    if (t == NULL) luaL_error(L, "'%s' must be a pelk.Tensor, got %s", name, l_given(L, -1));
    l_check(L, pk_dict_add(d, name, t));
}

static void add_list_item(lua_State *L, pk_dict *d, int i) {
    if (lua_type(L, -1) != LUA_TTABLE) luaL_error(L, "item %d must be {name, tensor}, got %s", i, l_given(L, -1));
    int item = lua_gettop(L);
    lua_rawgeti(L, item, 1);
    const char *name = check_text(L, -1, "a tensor's name");
    lua_rawgeti(L, item, 2);
    add(L, d, name);
    lua_settop(L, item);
}

/* By the list of names at the stack's top, which a state carries. Entries taken out since are passed over; added ones
 * come last. */
static void add_in_order(lua_State *L, pk_dict *d, int table) {
    int names = lua_gettop(L);
    for (int i = 1; lua_rawgeti(L, names, i) == LUA_TSTRING; i++) {
        const char *name = check_text(L, -1, "a tensor's name");
        lua_pushvalue(L, -1);
        if (lua_rawget(L, table) != LUA_TNIL) add(L, d, name);
        lua_settop(L, names);
    }
    lua_settop(L, names);
}

static void add_all(lua_State *L, pk_dict *d, int table) {
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) add(L, d, check_text(L, -2, "a tensor's name"));
}

/* The entries that d, which is sorted, lacks; by name. */
static void add_others(lua_State *L, pk_dict *d, int table) {
    lua_newtable(L); /* adding ends the order that finds names: first all that are missing */
    const int others = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (pk_dict_find(d, check_text(L, -2, "a tensor's name")) >= 0) continue;
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, others);
    }
    add_all(L, d, others);
    lua_pop(L, 1);
}

/* {name = tensor} (by name, or in a state's own order) or {{name, tensor}, ...}. */
static void read_tensors(lua_State *L, int arg, pk_dict *d) {
    luaL_checktype(L, arg, LUA_TTABLE);
    luaL_checkstack(L, 10, "tensors");
    int top = lua_gettop(L);
    if (l_is_list(L, arg)) {
        int n = (int)lua_rawlen(L, arg);
        for (int i = 1; i <= n; i++) {
            lua_rawgeti(L, arg, i);
            add_list_item(L, d, i);
            lua_settop(L, top);
        }
        return;
    }
    if (luaL_getmetafield(L, arg, NAMES) == LUA_TTABLE) {
        add_in_order(L, d, arg);
        lua_settop(L, top);
        l_check(L, pk_dict_sort(d));
        add_others(L, d, arg);
        return;
    }
    lua_settop(L, top);
    add_all(L, d, arg);
    pk_dict_arrange(d);
}

/* nil or {key = text}. */
static void read_metadata(lua_State *L, int arg, pk_dict *d) {
    if (lua_isnoneornil(L, arg)) return;
    luaL_checktype(L, arg, LUA_TTABLE);
    luaL_checkstack(L, 10, "metadata");
    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
        const char *key = check_text(L, -2, "a metadata key");
        lua_pushfstring(L, "metadata '%s'", key);
        const char *value = check_text(L, -2, lua_tostring(L, -1));
        l_check(L, pk_dict_note(d, key, value));
        lua_pop(L, 1);
    }
}

/* ---- to Lua tables ---- */

/* The next name of a state and its tensor. Upvalues: the table, the names, the place. */
static int next_in_order(lua_State *L) {
    for (lua_Integer i = lua_tointeger(L, lua_upvalueindex(3)) + 1;; i++) {
        lua_settop(L, 0);
        if (lua_rawgeti(L, lua_upvalueindex(2), i) != LUA_TSTRING) return 0;
        lua_pushinteger(L, i);
        lua_replace(L, lua_upvalueindex(3));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 2;
    }
}

/* __pairs of a state: in the order of the names. Upvalue: the names. */
static int pairs_in_order(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_in_order, 3);
    return 1;
}

static int count_names(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)));
    return 1;
}

/* The metatable of a state: pairs goes through it in the order of d, # counts. */
static void set_order(lua_State *L, const pk_dict *d) {
    lua_createtable(L, 0, 3);
    lua_createtable(L, (int)d->count, 0);
    for (int64_t i = 0; i < d->count; i++) {
        lua_pushstring(L, d->item[i].name);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, NAMES);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, pairs_in_order, 1);
    lua_setfield(L, -3, "__pairs");
    lua_pushcclosure(L, count_names, 1);
    lua_setfield(L, -2, "__len");
    lua_setmetatable(L, -2);
}

static void push_tensors(lua_State *L, const pk_dict *d) {
    luaL_checkstack(L, 10, "tensors");
    lua_createtable(L, 0, (int)d->count);
    for (int64_t i = 0; i < d->count; i++) {
        l_push_tensor(L, pk_tensor_retain(d->item[i].tensor));
        lua_setfield(L, -2, d->item[i].name);
    }
    set_order(L, d);
}

static void push_metadata(lua_State *L, const pk_dict *d) {
    lua_createtable(L, 0, (int)d->pairs);
    for (int64_t i = 0; i < d->pairs; i++) {
        lua_pushstring(L, d->pair[i].value);
        lua_setfield(L, -2, d->pair[i].key);
    }
}

static int push_true(lua_State *L, pk_status status) {
    if (!l_ok(L, status)) return 2;
    lua_pushboolean(L, true);
    return 1;
}

/* ---- tensors ---- */

/* save_tensors(path, tensors, metadata): tensors as read_tensors takes them. */
static int save_tensors(lua_State *L) {
    lua_settop(L, 3);
    const char *path = check_path(L, 1);
    pk_dict *d = new_dict(L);
    read_tensors(L, 2, d);
    read_metadata(L, 3, d);
    pk_status status;
    L_RETRY(L, status, pk_safetensors_save(d, path));
    return push_true(L, status);
}

/* load_tensors(path) -> {name = tensor} (pairs in the file's order), metadata. */
static int load_tensors(lua_State *L) {
    lua_settop(L, 1);
    const char *path = check_path(L, 1);
    pk_dict *d = new_dict(L);
    pk_status status;
    L_RETRY(L, status, pk_safetensors_load(path, d));
    if (!l_ok(L, status)) return 2;
    push_tensors(L, d);
    push_metadata(L, d);
    return 2;
}

/* parse_tensors(bytes, name): the same from a string; name is for messages. */
static int parse_tensors(lua_State *L) {
    size_t n;
    luaL_checktype(L, 1, LUA_TSTRING);
    const char *bytes = lua_tolstring(L, 1, &n);
    const char *name = luaL_optstring(L, 2, "string");
    lua_settop(L, 2);
    pk_dict *d = new_dict(L);
    pk_source s;
    pk_source_memory(&s, name, bytes, (int64_t)n);
    pk_status status;
    L_RETRY(L, status, pk_safetensors_read(&s, d));
    if (!l_ok(L, status)) return 2;
    push_tensors(L, d);
    push_metadata(L, d);
    return 2;
}

/* ---- files of any format ---- */

/* save_file(path, tensor or tensors, metadata): the format by the name's end. */
static int save_file(lua_State *L) {
    lua_settop(L, 3);
    const char *path = check_path(L, 1);
    pk_dict *d = new_dict(L);
    pk_tensor *t = l_test_object(L, 2, L_TENSOR);
    if (t)
        l_check(L, pk_dict_add(d, "array", t));
    else
        read_tensors(L, 2, d);
    read_metadata(L, 3, d);
    pk_status status;
    L_RETRY(L, status, pk_tensors_save(d, path));
    return push_true(L, status);
}

/* The tensors and the metadata; of an .npy file the tensor alone. */
static int push_file(lua_State *L, const pk_dict *d, pk_format format) {
    if (format == PK_FORMAT_NPY) {
        l_push_tensor(L, pk_tensor_retain(d->item[0].tensor));
        return 1;
    }
    push_tensors(L, d);
    push_metadata(L, d);
    return 2;
}

/* The strings of the list at arg (or nil), null at the end: in a userdata on the stack's top, borrowed from Lua. */
static const char *const *read_names(lua_State *L, int arg, const char *what) {
    if (!lua_isnoneornil(L, arg)) luaL_checktype(L, arg, LUA_TTABLE);
    size_t n = lua_isnoneornil(L, arg) ? 0 : lua_rawlen(L, arg);
    const char **names = lua_newuserdatauv(L, (n + 1) * sizeof *names, 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, arg, (lua_Integer)i + 1);
        names[i] = check_text(L, -1, what);
        lua_pop(L, 1); /* the table keeps it */
    }
    names[n] = NULL;
    return names;
}

/* load_file(path, key, opaque, map) -> {name = tensor} (pairs in the file's order), metadata; or a tensor. key: the
 * entry of a PyTorch file; opaque: a list of classes to pass over in it; map: see the file itself. */
static int load_file(lua_State *L) {
    lua_settop(L, 4);
    const char *path = check_path(L, 1);
    const pk_pick pick = {luaL_optstring(L, 2, NULL), read_names(L, 3, "opaque: a class")};
    bool map = lua_toboolean(L, 4);
    pk_dict *d = new_dict(L);
    pk_format format;
    pk_status status;
    L_RETRY(L, status, pk_tensors_load(path, &pick, map, d, &format));
    return l_ok(L, status) ? push_file(L, d, format) : 2;
}

/* parse_file(bytes, name, key, opaque): the same from a string; name is for messages. */
static int parse_file(lua_State *L) {
    size_t n;
    luaL_checktype(L, 1, LUA_TSTRING);
    lua_settop(L, 4);
    const char *bytes = lua_tolstring(L, 1, &n);
    const char *name = luaL_optstring(L, 2, "string");
    const pk_pick pick = {luaL_optstring(L, 3, NULL), read_names(L, 4, "opaque: a class")};
    pk_dict *d = new_dict(L);
    pk_source s;
    pk_source_memory(&s, name, bytes, (int64_t)n);
    pk_format format;
    pk_status status;
    L_RETRY(L, status, pk_tensors_read(&s, &pick, d, &format));
    return l_ok(L, status) ? push_file(L, d, format) : 2;
}

/* ---- models ---- */

typedef struct load_options {
    bool strict;
    int head, resize;
    char prefix[64], source[64], key[64];
} load_options;

static const pk_field load_fields[] = {
    {.name = "strict", .type = PK_BOOL, .offset = offsetof(load_options, strict), .def = 1,
     .doc = "missing and unexpected names are an error"},
    {.name = "head", .type = PK_ENUM, .offset = offsetof(load_options, head), .choices = "keep|reset",
     .doc = "what becomes of a classifier of another number of classes: an error, or made anew"},
    {.name = "resize", .type = PK_ENUM, .offset = offsetof(load_options, resize), .choices = PK_RESIZE_CHOICES,
     .doc = "kernels and position maps of another size or grid: an error, centred, or stretched"},
    {.name = "prefix", .type = PK_TEXT, .offset = offsetof(load_options, prefix),
     .doc = "only names that begin so, without it; found out where all names share one"},
    {.name = "source", .type = PK_TEXT, .offset = offsetof(load_options, source),
     .doc = "whose names the file has: convnext, slak; found out"},
    {.name = "key", .type = PK_TEXT, .offset = offsetof(load_options, key),
     .doc = "entry of a PyTorch file that holds the weights"},
};

/* The options at arg and the list of opaque classes behind it; leaves a userdata on the stack. */
static pk_load_options read_load_options(lua_State *L, int arg, const char *owner, load_options *o) {
    l_read_options(L, arg, owner, load_fields, sizeof load_fields / sizeof *load_fields, o, sizeof *o);
    return (pk_load_options){o->strict, o->head, o->resize, o->prefix, o->source,
                             {o->key, read_names(L, arg + 1, "opaque: a class")}};
}

static int module_save(lua_State *L) {
    lua_settop(L, 3);
    pk_module *m = l_check_module(L, 1);
    const char *path = check_path(L, 2);
    pk_dict *metadata = new_dict(L);
    read_metadata(L, 3, metadata);
    pk_status status;
    L_RETRY(L, status, pk_module_save(m, path, metadata));
    return push_true(L, status);
}

/* true, and what did not fit ("" when all did). */
static int push_fit(lua_State *L, pk_status status, const pk_fit *fit) {
    if (!l_ok(L, status)) return 2;
    lua_pushboolean(L, true);
    lua_pushstring(L, fit->text);
    return 2;
}

/* module_load(m, path, options, opaque) -> true, account of what was passed over or changed. */
static int module_load(lua_State *L) {
    pk_fit fit;
    pk_status status;
    load_options given;
    lua_settop(L, 4);
    pk_module *m = l_check_module(L, 1);
    const char *path = check_path(L, 2);
    const pk_load_options o = read_load_options(L, 3, "load", &given);
    L_RETRY(L, status, pk_module_load(m, path, &o, &fit));
    return push_fit(L, status, &fit);
}

/* module_state(m) -> {name = tensor}: PyTorch's names and layouts, sharing the model's memory; pairs in order. */
static int module_state(lua_State *L) {
    lua_settop(L, 1);
    pk_module *m = l_check_module(L, 1);
    pk_dict *d = new_dict(L);
    l_check(L, pk_module_state(m, d));
    push_tensors(L, d);
    return 1;
}

/* module_set_state(m, tensors, options) -> the same; raises what does not fit. */
static int module_set_state(lua_State *L) {
    load_options given;
    lua_settop(L, 3);
    lua_pushnil(L);
    pk_fit fit;
    pk_status status;
    pk_module *m = l_check_module(L, 1);
    const pk_load_options o = read_load_options(L, 3, "load_state_dict", &given);
    pk_dict *d = new_dict(L);
    read_tensors(L, 2, d);
    l_check(L, pk_dict_sort(d));
    L_RETRY(L, status, pk_module_set_state(m, d, &o, PK_EINVAL, &fit));
    return push_fit(L, status, &fit);
}

/* ---- text ---- */

/* write_file(path, text): all of it or the old file, whatever happens. */
static int write_file(lua_State *L) {
    size_t n;
    const char *path = check_path(L, 1);
    luaL_checktype(L, 2, LUA_TSTRING);
    const char *text = lua_tolstring(L, 2, &n);
    return push_true(L, pk_file_write(path, text, (int64_t)n));
}

/* ---- for tests ---- */

/* _fail_file(n, error, persist): let the n-th system call on files from now fail ("ENOSPC", "EIO", "EINTR", or "short"
 * for a write of half); 0 ends it. */
static int fail_file(lua_State *L) {
    static const char *const names[] = {"ENOSPC", "EIO", "EINTR", "short", NULL};
    static const int errors[] = {ENOSPC, EIO, EINTR, 0};
    int64_t n = l_check_int(L, 1, "call");
    int which = luaL_checkoption(L, 2, "EIO", names);
    pk_file_fail_at(n, errors[which], lua_toboolean(L, 3));
    return 0;
}

static int file_calls(lua_State *L) {
    lua_pushinteger(L, pk_file_calls());
    return 1;
}

static const luaL_Reg functions[] = {
    {"save_tensors", save_tensors}, {"load_tensors", load_tensors},         {"parse_tensors", parse_tensors},
    {"module_save", module_save},   {"module_load", module_load},           {"module_state", module_state},
    {"save_file", save_file},       {"load_file", load_file},               {"parse_file", parse_file},
    {"write_file", write_file},     {"module_set_state", module_set_state}, {"_fail_file", fail_file},
    {"_file_calls", file_calls},    {NULL, NULL},
};

void l_open_io(lua_State *L) {
    static const luaL_Reg none[] = {{NULL, NULL}}, meta[] = {{"__gc", free_dict}, {"__close", free_dict}, {NULL, NULL}};
    l_class(L, L_DICT, none, meta);
    luaL_setfuncs(L, functions, 0);
}
