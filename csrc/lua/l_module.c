/* The Module class and a constructor for every layer of the registry: core.nn.CLASS(options by position, then a table),
 * containers with their children in the argument list or in a table. A Lua function is a module too (Lambda). Walks
 * over the tree (names, parameters, printing) are in l_module_tree.c. */
#include "lua/l_bind.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"

enum { DEEPEST = 48 }; /* as the core's walks allow */

/* The state whose call is in the core just now: a Lambda's function runs there. */
static _Thread_local lua_State *current;

lua_State *l_enter(lua_State *L) {
    lua_State *outer = current;
    current = L;
    return outer;
}

void l_leave(lua_State *outer) { current = outer; }

/* ---- Lambda ---- */

typedef struct lua_hook {
    lua_State *main; /* for when nobody of this Lua is in the core */
    int function;    /* reference in the registry */
} lua_hook;

typedef struct hook_call {
    int function;
    pk_tensor *x, *y; /* y: a reference of the caller's once set */
} hook_call;

/* The running state of the hook's Lua, or its main thread. */
static lua_State *state_of(const lua_hook *hook) {
    if (current != NULL && lua_topointer(current, LUA_REGISTRYINDEX) == lua_topointer(hook->main, LUA_REGISTRYINDEX))
        return current;
    return hook->main;
}

static int run_hook(lua_State *L) {
    hook_call *call = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    l_push_view(L, pk_tensor_retain(call->x));
    lua_call(L, 1, 1);
    if (l_is_freed(L, -1, L_TENSOR)) luaL_error(L, "the function of a Lambda returned a tensor that was freed");
    if (l_test_object(L, -1, L_TENSOR) == NULL)
        luaL_error(L, "the function of a Lambda returns a tensor, got %s", l_given(L, -1));
    call->y = pk_tensor_retain(l_check_tensor(L, -1));
    return 0;
}

/* Error values that are no strings become strings. */
static int to_message(lua_State *L) {
    if (lua_type(L, 1) != LUA_TSTRING) luaL_tolstring(L, 1, NULL);
    return 1;
}

static pk_status call_function(void *context, pk_tensor *x, pk_tensor **y) {
    const lua_hook *hook = context;
    lua_State *L = state_of(hook);
    hook_call call = {.function = hook->function, .x = x};
    PK_RETURN_IF(!lua_checkstack(L, 16), PK_EINVAL, "Lua's stack is full");
    lua_pushcfunction(L, to_message);
    lua_pushcfunction(L, run_hook);
    lua_pushlightuserdata(L, &call);
    if (lua_pcall(L, 1, 0, -3) != LUA_OK) {
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "error in error handling";
        pk_status status = pk_fail(strstr(text, "interrupted!") ? PK_EINTERRUPTED : PK_EINVAL, "%s", text);
        lua_pop(L, 2);
        return status;
    }
    lua_pop(L, 1);
    *y = call.y;
    return PK_OK;
}

static void drop_function(void *context) {
    lua_hook *hook = context;
    lua_State *L = state_of(hook);
    if (lua_checkstack(L, 8)) luaL_unref(L, LUA_REGISTRYINDEX, hook->function);
    pk_free(hook);
}

void l_push_lambda(lua_State *L, int arg) {
    arg = lua_absindex(L, arg);
    l_check_callable(L, arg);
    const pk_class *cls = pk_class_find("Lambda");
    pk_module *m = NULL;
    pk_status status;
    if (cls == NULL) luaL_error(L, "there is no Lambda in this library");
    L_RETRY(L, status, pk_module_new(cls, NULL, &m));
    l_check(L, status);
    l_push_module(L, m);
    lua_hook *hook = pk_alloc(sizeof *hook);
    if (hook == NULL) {
        l_check(L, pk_no_memory(sizeof *hook));
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    *hook = (lua_hook){.main = lua_tothread(L, -1), .function = LUA_NOREF};
    lua_pop(L, 1);
    m->hook = hook; /* from here on the module lets go of it, whatever happens */
    m->drop_hook = drop_function;
    m->call_hook = call_function;
    lua_pushvalue(L, arg);
    hook->function = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* ---- adding children ---- */

static bool contains(const pk_module *tree, const pk_module *m) {
    if (tree == m) return true;
    for (int i = 0; i < tree->nchildren; i++)
        if (contains(tree->child[i].module, m)) return true;
    return false;
}

/* Levels of the tree, counted up to DEEPEST + 1 only: recursion stays shallow whatever was built. */
static int height(const pk_module *m, int above) {
    int most = above + 1;
    for (int i = 0; i < m->nchildren && most <= DEEPEST; i++) {
        int h = height(m->child[i].module, above + 1);
        if (h > most) most = h;
    }
    return most;
}

static void check_height(lua_State *L, const pk_module *m, int above, const char *what) {
    if (height(m, above) > DEEPEST) luaL_error(L, "%s: modules are nested deeper than %d", what, DEEPEST);
}

/* Add the module (or function) at the stack place child to the one at parent. */
static void add_child(lua_State *L, int parent, int child, const char *name) {
    pk_module *m = l_check_module(L, parent);
    if (!m->cls->container) luaL_error(L, "add: a %s takes no children", m->cls->name);
    if (l_test_object(L, child, L_MODULE) == NULL) { /* a function: the error of anything else names what a layer is */
        if (!lua_isfunction(L, child) && luaL_getmetafield(L, child, "__call") == LUA_TNIL)
            luaL_error(L, "%s: a child is a module or a function, got %s", m->cls->name, l_given(L, child));
        l_push_lambda(L, child);
        child = lua_gettop(L);
    }
    m = l_check_module(L, parent);
    pk_module *c = l_check_module(L, child);
    check_height(L, c, 1, "add");
    if (contains(c, m)) luaL_error(L, "add: a %s cannot become a part of itself", m->cls->name);
    pk_status status;
    L_RETRY(L, status, pk_module_add(m, name, pk_module_retain(c)));
    l_check(L, status);
}

/* m:add(child) | m:add(child, name) | m:add(name, child) -> m. Without a name it is the next number, from 0. */
static int add(lua_State *L) {
    l_check_module(L, 1);
    if (lua_type(L, 2) == LUA_TSTRING) { /* the name first */
        lua_settop(L, 3);
        lua_insert(L, 2);
    }
    size_t n = 0;
    const char *name = luaL_optlstring(L, 3, NULL, &n);
    if (name != NULL && strlen(name) != n) l_arg_error(L, 3, "a name has no zero bytes");
    luaL_checkany(L, 2);
    add_child(L, 1, 2, name);
    lua_settop(L, 1);
    return 1;
}

/* ---- constructors ---- */

typedef struct build {
    const pk_class *cls;
    void *options;
    uint64_t seen;
    int positional;
    int children; /* stack place of the list of children */
} build;

static void keep_child(lua_State *L, build *b, int index) {
    lua_pushvalue(L, index);
    lua_rawseti(L, b->children, (lua_Integer)lua_rawlen(L, b->children) + 1);
}

static void take_position(lua_State *L, build *b, int index) {
    const pk_class *cls = b->cls;
    if (b->positional >= cls->nfields)
        luaL_error(L, "%s: argument %d (%s) is one too many: there are %d options", cls->name, index, l_given(L, index),
                   cls->nfields);
    const pk_field *f = &cls->fields[b->positional++];
    if (lua_isnil(L, index)) return;
    l_read_field(L, index, cls->name, f, b->options);
    b->seen |= (uint64_t)1 << (f - cls->fields);
}

/* A container's table: children in its list part, options by name. */
static void take_mixed_table(lua_State *L, build *b, int index) {
    const pk_class *cls = b->cls;
    lua_newtable(L);
    int named = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, index);) {
        if (lua_isinteger(L, -2)) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, named);
    }
    l_read_table(L, named, cls->name, cls->fields, cls->nfields, b->options, &b->seen);
    lua_pop(L, 1);
    lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, index, i);
        keep_child(L, b, lua_gettop(L));
        lua_pop(L, 1);
    }
}

static void take_argument(lua_State *L, build *b, int index) {
    const pk_class *cls = b->cls;
    bool callable = lua_isfunction(L, index) || lua_isuserdata(L, index);
    if (cls->container && callable) keep_child(L, b, index);
    else if (lua_type(L, index) != LUA_TTABLE) take_position(L, b, index);
    else if (cls->container) take_mixed_table(L, b, index);
    else if (l_is_list(L, index)) take_position(L, b, index);
    else l_read_table(L, index, cls->name, cls->fields, cls->nfields, b->options, &b->seen);
}

static int construct(lua_State *L) {
    build b = {.cls = lua_touserdata(L, lua_upvalueindex(1))};
    const pk_class *cls = b.cls;
    int narg = lua_gettop(L);
    if (strcmp(cls->name, "Lambda") == 0) {
        l_push_lambda(L, 1);
        return 1;
    }
    b.options = l_new_params(L, cls->fields, cls->nfields, cls->options_size);
    lua_newtable(L);
    b.children = lua_gettop(L);
    for (int i = 1; i <= narg; i++) take_argument(L, &b, i);
    l_read_end(L, cls->name, cls->fields, cls->nfields, b.options, b.seen);
    pk_module *m = NULL;
    pk_status status;
    L_RETRY(L, status, pk_module_new(cls, b.options, &m));
    l_check(L, status);
    l_push_module(L, m);
    int made = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, b.children);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, b.children, i);
        add_child(L, made, lua_gettop(L), NULL);
        lua_settop(L, made);
    }
    return 1;
}

/* ---- running ---- */

/* m:forward(x), m(x) -> y. The message of a failure begins with the layer's path. */
static int forward(lua_State *L) {
    pk_module *m = l_check_module(L, 1);
    pk_tensor *x = l_check_tensor(L, 2), *y = NULL;
    check_height(L, m, 0, "forward");
    l_poll(L);
    lua_State *outer = l_enter(L);
    pk_module_retain(m); /* a Lambda's function may free what it runs in */
    pk_tensor_retain(x);
    pk_status status = pk_module_forward(m, x, &y);
    if (status == PK_ENOMEM && !m->training) { /* in training a second run would count statistics twice */
        l_reclaim(L);
        status = pk_module_forward(m, x, &y);
    }
    pk_tensor_release(x);
    pk_module_release(m);
    l_leave(outer);
    l_check(L, status);
    l_push_tensor(L, y);
    return 1;
}

/* m:train(on = true) -> m, with all below it. */
static int train(lua_State *L) {
    pk_module *m = l_check_module(L, 1);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TBOOLEAN);
    pk_module_train(m, lua_isnoneornil(L, 2) || lua_toboolean(L, 2));
    lua_settop(L, 1);
    return 1;
}

/* m:eval() -> m: train(false). */
static int eval(lua_State *L) {
    pk_module_train(l_check_module(L, 1), false);
    lua_settop(L, 1);
    return 1;
}

/* m:clone() -> a deep copy with parameters of its own. Modules that hold Lua functions cannot be copied. */
static int clone(lua_State *L) {
    pk_module *m = NULL;
    pk_status status;
    check_height(L, l_check_module(L, 1), 0, "clone");
    L_RETRY(L, status, pk_module_clone(l_check_module(L, 1), &m));
    l_check(L, status);
    l_push_module(L, m);
    return 1;
}

static int class_name(lua_State *L) {
    lua_pushstring(L, l_check_module(L, 1)->cls->name);
    return 1;
}

/* m:options() -> what it was made with, as a table. */
static int options(lua_State *L) {
    const pk_module *m = l_check_module(L, 1);
    l_push_options(L, m->cls->fields, m->cls->nfields, m->options);
    return 1;
}

/* m:free(), also by <close> and the collector: lets go of the tree; using m after it is an error. */
static int free_box(lua_State *L) {
    pk_module *m = l_take_object(L, 1, L_MODULE);
    lua_State *outer = l_enter(L);
    pk_module_release(m);
    l_leave(outer);
    return 0;
}

/* ---- looking into it ---- */

static bool push_part(lua_State *L, const pk_module *m, const char *name) {
    pk_module *child = pk_module_child(m, name);
    pk_tensor *t = child == NULL ? pk_module_tensor(m, name) : NULL;
    if (child != NULL) l_push_module(L, pk_module_retain(child));
    else if (t != NULL) l_push_view(L, pk_tensor_retain(t));
    return child != NULL || t != NULL;
}

/* "stages.2.blocks.1" or, for a tensor, "stages.2.blocks.1.conv_dw.weight". */
static bool push_path(lua_State *L, pk_module *m, const char *path) {
    pk_module *found = pk_module_get(m, path);
    if (found != NULL) {
        l_push_module(L, pk_module_retain(found));
        return true;
    }
    const char *dot = strrchr(path, '.');
    if (dot == NULL) return push_part(L, m, path);
    m = pk_module_get(m, lua_pushlstring(L, path, (size_t)(dot - path)));
    return m != NULL && push_part(L, m, dot + 1);
}

static void push_child(lua_State *L, const pk_module *m, lua_Integer i) {
    if (i < 0) i += m->nchildren + 1;
    if (i >= 1 && i <= m->nchildren) l_push_module(L, pk_module_retain(m->child[i - 1].module));
    else lua_pushnil(L);
}

/* m:get("stages.2.blocks.1.conv_dw") -> that module (or tensor, when the path names one); m:get(i) -> child i from 1. */
static int get(lua_State *L) {
    pk_module *m = l_check_module(L, 1);
    if (lua_type(L, 2) == LUA_TSTRING) {
        if (!push_path(L, m, lua_tostring(L, 2))) l_arg_error(L, 2, "this %s has no part %s", m->cls->name, l_given(L, 2));
        return 1;
    }
    int64_t i = l_check_int(L, 2, "child");
    push_child(L, m, i);
    if (lua_isnil(L, -1)) l_arg_error(L, 2, "child %lld is not in 1..%d", (long long)i, m->nchildren);
    return 1;
}

/* m.name: a method, `training`, a parameter or buffer, or a child; m[i]: child i from 1; nil when there is none. */
static int get_part(lua_State *L) {
    lua_pushvalue(L, 2);
    if (!lua_isnil(L, 2) && lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    const pk_module *m = l_check_module(L, 1);
    if (lua_isinteger(L, 2)) {
        push_child(L, m, lua_tointeger(L, 2));
    } else if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "training") == 0) {
        lua_pushboolean(L, m->training);
    } else if (lua_type(L, 2) != LUA_TSTRING || !push_part(L, m, lua_tostring(L, 2))) {
        lua_pushnil(L);
    }
    return 1;
}

/* #m: how many children. */
static int length(lua_State *L) {
    lua_pushinteger(L, l_check_module(L, 1)->nchildren);
    return 1;
}

static int same_object(lua_State *L) {
    lua_pushboolean(L, l_test_object(L, 1, L_MODULE) == l_test_object(L, 2, L_MODULE));
    return 1;
}

static const luaL_Reg methods[] = {
    {"forward", forward}, {"add", add},     {"get", get},       {"train", train},     {"eval", eval},
    {"clone", clone},     {"class", class_name}, {"options", options}, {"free", free_box}, {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__index", get_part}, {"__call", forward},  {"__len", length},    {"__tostring", l_module_print},
    {"__eq", same_object}, {"__gc", free_box},  {"__close", free_box}, {NULL, NULL},
};

/* nn.list() -> one table a class: name, doc, options (as ops.list() shows parameters), container. */
static int list_classes(lua_State *L) {
    const pk_class *cls;
    lua_newtable(L);
    for (int i = 0; (cls = pk_class_at(i)) != NULL; i++) {
        lua_createtable(L, 0, 4);
        lua_pushstring(L, cls->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, cls->doc != NULL ? cls->doc : "");
        lua_setfield(L, -2, "doc");
        lua_pushboolean(L, cls->container);
        lua_setfield(L, -2, "container");
        l_push_schema(L, cls->fields, cls->nfields);
        lua_setfield(L, -2, "options");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void l_open_module(lua_State *L) {
    l_class(L, L_MODULE, methods, metamethods);
    l_add_methods(L, L_MODULE, l_module_tree_methods);
    lua_newtable(L);
    const pk_class *cls;
    for (int i = 0; (cls = pk_class_at(i)) != NULL; i++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)cls);
        lua_pushcclosure(L, construct, 1);
        lua_setfield(L, -2, cls->name);
    }
    lua_pushcfunction(L, list_classes);
    lua_setfield(L, -2, "list");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE); /* names for messages, see l_class */
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "pelk.core.nn");
    lua_pop(L, 1);
    lua_setfield(L, -2, "nn");
    luaL_getmetatable(L, L_MODULE);
    lua_getfield(L, -1, "methods");
    lua_setfield(L, -3, "Module");
    lua_pop(L, 1);
}
