/* The binding's common ground: boxes, argument checks, errors, and what Lua's collector must hear about memory. */
#include "lua/l_bind.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"

#define METHODS "methods"      /* field of a metatable: the table of methods */
#define NOTE_BYTES (64 * 1024L)         /* less than this is not worth a collector's step */
#define SLACK_BYTES (48L * 1024 * 1024) /* so much garbage is nothing to speak of */

/* ---- classes and boxes ---- */

/* Make the table on the stack's top known under its name, so that messages say 'pelk.Tensor.sum' when only the function
 * value was called. */
static void name_functions(lua_State *L, const char *tname) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, tname);
    lua_pop(L, 1);
}

void l_class(lua_State *L, const char *tname, const luaL_Reg *methods, const luaL_Reg *meta) {
    if (!luaL_newmetatable(L, tname)) { /* made before: another opening of the library */
        lua_getfield(L, -1, METHODS);
        name_functions(L, tname);
        lua_pop(L, 2);
        return;
    }
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, METHODS);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index");
    lua_pushstring(L, tname);
    lua_setfield(L, -3, "__metatable");
    name_functions(L, tname);
    for (; meta->name != NULL; meta++) {
        bool lookup = strcmp(meta->name, "__index") == 0; /* it finds the methods in its upvalue */
        if (lookup) lua_pushvalue(L, -1);
        lua_pushcclosure(L, meta->func, lookup);
        lua_setfield(L, -3, meta->name);
    }
    lua_pop(L, 2);
}

void l_add_methods(lua_State *L, const char *tname, const luaL_Reg *methods) {
    luaL_getmetatable(L, tname);
    lua_getfield(L, -1, METHODS);
    luaL_setfuncs(L, methods, 0);
    lua_pop(L, 2);
}

l_box *l_new_box(lua_State *L, const char *tname) {
    l_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = (l_box){.magic = L_MAGIC, .tname = tname, .object = NULL};
    luaL_setmetatable(L, tname);
    return box;
}

/* The box at arg when it is one of ours and of this class. The metatable is not asked: debug.setmetatable may lie. */
static l_box *test_box(lua_State *L, int arg, const char *tname) {
    if (lua_type(L, arg) != LUA_TUSERDATA || lua_rawlen(L, arg) != sizeof(l_box)) return NULL;
    l_box *box = lua_touserdata(L, arg);
    if (box->magic != L_MAGIC || strcmp(box->tname, tname) != 0) return NULL;
    return box;
}

void *l_test_object(lua_State *L, int arg, const char *tname) {
    l_box *box = test_box(L, arg, tname);
    if (box == NULL) return NULL;
    if (box->object == NULL) l_arg_error(L, arg, "%s was freed", tname);
    return box->object;
}

void *l_check_object(lua_State *L, int arg, const char *tname) {
    void *object = l_test_object(L, arg, tname);
    if (object == NULL) luaL_typeerror(L, arg, tname);
    return object;
}

void *l_take_object(lua_State *L, int arg, const char *tname) {
    l_box *box = test_box(L, arg, tname);
    if (box == NULL) luaL_typeerror(L, arg, tname);
    void *object = box->object;
    box->object = NULL;
    return object;
}

bool l_is_freed(lua_State *L, int arg, const char *tname) {
    const l_box *box = test_box(L, arg, tname);
    return box != NULL && box->object == NULL;
}

pk_tensor *l_check_tensor(lua_State *L, int arg) { return l_check_object(L, arg, L_TENSOR); }
pk_module *l_check_module(lua_State *L, int arg) { return l_check_object(L, arg, L_MODULE); }

pk_tensor *l_opt_tensor(lua_State *L, int arg) { return lua_isnoneornil(L, arg) ? NULL : l_check_tensor(L, arg); }

pk_tensor *l_check_tensor_or_number(lua_State *L, int arg) {
    if (lua_type(L, arg) != LUA_TNUMBER) {
        pk_tensor *t = l_check_tensor(L, arg);
        lua_pushvalue(L, arg);
        return t;
    }
    l_box *box = l_new_box(L, L_TENSOR);
    pk_tensor *t = NULL;
    pk_status status;
    L_RETRY(L, status, pk_tensor_scalar((float)lua_tonumber(L, arg), &t));
    l_check(L, status);
    return box->object = t;
}

/* (n, class name): n empty boxes. */
static int make_boxes(lua_State *L) {
    int n = (int)lua_tointeger(L, 1);
    const char *tname = lua_touserdata(L, 2);
    for (int i = 0; i < n; i++) l_new_box(L, tname);
    return n;
}

static void release(const char *tname, void *object) {
    if (strcmp(tname, L_TENSOR) == 0) pk_tensor_release(object);
    else pk_module_release(object);
}

/* Box n objects; a raise in between would leak them, so the boxes are made in a protected call. */
static void push_objects(lua_State *L, const char *tname, void *const *object, int n) {
    int status = LUA_ERRMEM;
    bool room = lua_checkstack(L, n + 8);
    if (room) {
        lua_pushcfunction(L, make_boxes);
        lua_pushinteger(L, n);
        lua_pushlightuserdata(L, (void *)(uintptr_t)tname);
        status = lua_pcall(L, 2, n, 0);
    }
    if (status != LUA_OK) {
        for (int i = 0; i < n; i++) release(tname, object[i]);
        if (room) lua_error(L);
        luaL_error(L, "stack overflow");
    }
    for (int i = 0; i < n; i++) ((l_box *)lua_touserdata(L, i - n))->object = object[i];
}

void l_push_tensors(lua_State *L, pk_tensor *const *t, int n) {
    void *object[PK_MAX_OUT];
    for (int i = 0; i < n; i++) object[i] = t[i];
    push_objects(L, L_TENSOR, object, n);
    l_note_memory(L);
}

void l_push_view(lua_State *L, pk_tensor *t) {
    void *object = t;
    push_objects(L, L_TENSOR, &object, 1);
}

void l_push_tensor(lua_State *L, pk_tensor *t) { l_push_tensors(L, &t, 1); }

void l_push_module(lua_State *L, pk_module *m) {
    void *object = m;
    push_objects(L, L_MODULE, &object, 1);
    l_note_memory(L);
}

pk_tensor *l_hold_tensor(lua_State *L, int arg) {
    arg = lua_absindex(L, arg);
    l_box *box = l_new_box(L, L_TENSOR);
    return box->object = pk_tensor_retain(l_check_tensor(L, arg));
}

void l_drop_tensor(lua_State *L, int index) {
    l_box *box = lua_touserdata(L, index);
    pk_tensor *t = box->object;
    box->object = NULL;
    pk_tensor_release(t);
}

/* ---- memory ---- */

/* Bytes the library held when the collector was last told, and how many it may hold before all garbage is looked for.
 * A graph holds far more than the tensor that is pushed, so the whole growth counts. lua5.4 runs its collector in
 * generational mode, where a step never sees what has survived two others (in `y = f(y)` every y does): hence the limit,
 * which moves with what a full collection leaves. */
static _Thread_local int64_t noted, limit = SLACK_BYTES;

static void take_step(lua_State *L, int64_t bytes) {
#if LUA_VERSION_NUM >= 505
    lua_gc(L, LUA_GCSTEP, (size_t)bytes);
#else
    lua_gc(L, LUA_GCSTEP, (int)(bytes / 1024 < INT32_MAX ? bytes / 1024 : INT32_MAX));
#endif
}

void l_note_memory(lua_State *L) {
    int64_t live = pk_memory_stats().live;
    if (live - noted < NOTE_BYTES) {
        if (live < noted) noted = live;
        return;
    }
    int64_t roof = 3 * live + 2 * SLACK_BYTES; /* what was large once need not stay so */
    if (limit > roof) limit = roof;
    if (lua_gc(L, LUA_GCISRUNNING)) {
        take_step(L, live - noted);
        if (pk_memory_stats().live > limit) {
            lua_gc(L, LUA_GCCOLLECT);
            live = pk_memory_stats().live;
            limit = live + live / 2 + SLACK_BYTES;
        }
    }
    noted = pk_memory_stats().live;
}

void l_reclaim(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT);
    pk_memory_trim();
}

/* ---- errors ---- */

void l_check(lua_State *L, pk_status status) {
    if (status != PK_OK) luaL_error(L, "%s", pk_message());
}

bool l_ok(lua_State *L, pk_status status) {
    if (status == PK_OK) return true;
    if (status != PK_EIO && status != PK_EFORMAT) l_check(L, status);
    luaL_pushfail(L);
    lua_pushstring(L, pk_message());
    return false;
}

int l_arg_error(lua_State *L, int arg, const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return luaL_argerror(L, arg, text);
}

const char *l_given(lua_State *L, int index) {
    switch (lua_type(L, index)) {
    case LUA_TSTRING: {
        size_t n;
        const char *s = lua_tolstring(L, index, &n);
        return n <= 40 ? lua_pushfstring(L, "'%s'", s) : lua_pushfstring(L, "a string of %I bytes", (lua_Integer)n);
    }
    case LUA_TNUMBER: /* tolstring would change the value in place: copy first */
        lua_pushvalue(L, index);
        return lua_tostring(L, -1);
    case LUA_TBOOLEAN: return lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
    case LUA_TUSERDATA:
        if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) return lua_tostring(L, -1);
        return lua_pushstring(L, "userdata");
    default: return lua_pushstring(L, luaL_typename(L, index));
    }
}

void l_check_callable(lua_State *L, int arg) {
    if (lua_isfunction(L, arg)) return;
    if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL) luaL_typeerror(L, arg, "function");
    lua_pop(L, 1);
}

/* ---- integers, shapes, dimensions ---- */

int64_t l_check_int(lua_State *L, int arg, const char *what) {
    int ok = 0;
    lua_Integer n = lua_type(L, arg) == LUA_TNUMBER ? lua_tointegerx(L, arg, &ok) : 0;
    if (!ok) l_arg_error(L, arg, "%s must be an integer, got %s", what, l_given(L, arg));
    return n;
}

int l_read_ints(lua_State *L, int arg, const char *what, int64_t *out, int max) {
    bool table = lua_type(L, arg) == LUA_TTABLE;
    lua_Unsigned n = table ? lua_rawlen(L, arg) : 0;
    if (!table)
        while (lua_type(L, arg + (int)n) == LUA_TNUMBER) n++;
    if (n > (lua_Unsigned)max) l_arg_error(L, arg, "at most %d %ss, got %llu", max, what, (unsigned long long)n);
    if (!table && n == 0 && !lua_isnone(L, arg))
        l_arg_error(L, arg, "%s must be an integer, got %s", what, l_given(L, arg));
    for (int i = 0; i < (int)n; i++) {
        int ok = 0;
        if (table) lua_rawgeti(L, arg, i + 1);
        else lua_pushvalue(L, arg + i);
        if (lua_type(L, -1) == LUA_TNUMBER) out[i] = lua_tointegerx(L, -1, &ok);
        if (!ok) l_arg_error(L, table ? arg : arg + i, "%s %d must be an integer, got %s", what, i + 1, l_given(L, -1));
        lua_pop(L, 1);
    }
    return (int)n;
}

int l_check_shape(lua_State *L, int arg, int64_t shape[PK_MAX_DIMS]) {
    int ndim = l_read_ints(L, arg, "dimension", shape, PK_MAX_DIMS);
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 0)
            l_arg_error(L, arg, "dimension %d must not be negative, got %lld", i + 1, (long long)shape[i]);
    return ndim;
}

int l_check_dim(lua_State *L, int arg, int ndim) {
    int64_t d = l_check_int(L, arg, "dimension");
    if (d == 0 || d > ndim || d < -ndim)
        l_arg_error(L, arg, "dimension %lld is not in 1..%d (or -%d..-1)", (long long)d, ndim, ndim);
    return (int)(d > 0 ? d - 1 : d + ndim);
}

bool l_is_list(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TTABLE) return false;
    index = lua_absindex(L, index);
    lua_Unsigned n = lua_rawlen(L, index), count = 0;
    if (n == 0) return false;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (!lua_isinteger(L, -2)) {
            lua_pop(L, 2);
            return false;
        }
        count++;
    }
    return count == n;
}

/* ---- interruption ---- */

/* lua.c answers Ctrl-C by setting a hook on the main thread for every event there is, at count 1. Nobody else does. */
void l_poll(lua_State *L) {
    const int all = LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT;
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_State *main = lua_tothread(L, -1);
    lua_pop(L, 1);
    if (main != NULL && lua_gethook(main) != NULL && (lua_gethookmask(main) & all) == all && lua_gethookcount(main) == 1)
        luaL_error(L, "interrupted!");
}
