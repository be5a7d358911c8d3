/* Walks over a module's tree for Lua: named parameters, buffers, children and modules, freezing, apply,
 * printing. Names are paths, "stages.2.blocks.1.conv_dw.weight". */
#include "lua/l_bind.h"

#include <string.h>

enum { DEEPEST = 48 };

/* ---- named lists ----
 * A list of {name = path, tensor = t} (or module = m) in the order of building. #list and list[i] work, and the list
 * can be called by a `for`: for name, tensor in m:named_parameters() do ... end */

/* (list, state, last name) -> next name and value. Upvalue: place of each name. */
static int next_named(lua_State *L) {
    lua_Integer i = 1;
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 3)) {
        lua_pushvalue(L, 3);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNUMBER) l_arg_error(L, 3, "%s is not in the list", l_given(L, 3));
        i = lua_tointeger(L, -1) + 1;
    }
    if (lua_rawgeti(L, 1, i) != LUA_TTABLE) {
        lua_pushnil(L);
        return 1;
    }
    int entry = lua_gettop(L);
    lua_getfield(L, entry, "name");
    if (lua_getfield(L, entry, "tensor") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_getfield(L, entry, "module");
    }
    return 2;
}

/* One line an entry: the name, and what the value says of itself. */
static int print_named(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, 1, i) != LUA_TTABLE) luaL_error(L, "element %I of a named list is no table", i);
        if (lua_getfield(L, -1, "name") != LUA_TSTRING) luaL_error(L, "element %I of a named list has no name", i);
        lua_getfield(L, -2, "tensor");
        const pk_tensor *t = lua_isnil(L, -1) ? NULL : l_test_object(L, -1, L_TENSOR);
        if (t != NULL) lua_pushfstring(L, "%s  %s", lua_tostring(L, -2), pk_shape_text(t));
        else lua_pushvalue(L, -2);
        lua_replace(L, -4); /* the text in the entry's place, the other two gone */
        lua_pop(L, 2);
        luaL_addvalue(&b);
        if (i < n) luaL_addchar(&b, '\n');
    }
    luaL_pushresult(&b);
    return 1;
}

static void begin_list(lua_State *L) {
    lua_newtable(L); /* the list */
    lua_newtable(L); /* places */
}

/* Append {name = path, [field] = value}: the path and the value are the two on top of list and places. */
static void append(lua_State *L, int list, const char *field) {
    lua_Integer place = (lua_Integer)lua_rawlen(L, list) + 1;
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, field); /* path, entry */
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "name");
    lua_rawseti(L, list, place); /* path */
    lua_pushinteger(L, place);
    lua_rawset(L, list + 1);
}

static void end_list(lua_State *L) {
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_pushcclosure(L, next_named, 1);
    lua_setfield(L, -2, "__call");
    lua_pushcfunction(L, print_named);
    lua_setfield(L, -2, "__tostring");
    lua_setmetatable(L, -2);
}

/* ---- walking ---- */

typedef enum which { PARAMETERS, BUFFERS, MODULES } which;

/* prefix + "." + name; pushes it. */
static const char *push_path(lua_State *L, const char *prefix, const char *name) {
    return lua_pushfstring(L, "%s%s%s", prefix, *prefix ? "." : "", name);
}

static bool wanted(const pk_slot *slot, which what) {
    return !slot->shared && slot->buffer == (what == BUFFERS);
}

/* Append what is asked for, m's own first, then its children's. */
static void walk(lua_State *L, int list, pk_module *m, const char *path, which what, int depth) {
    luaL_checkstack(L, 12, "modules");
    if (depth > DEEPEST) luaL_error(L, "modules are nested deeper than %d", DEEPEST);
    if (what == MODULES) {
        lua_pushstring(L, path);
        l_push_module(L, pk_module_retain(m));
        append(L, list, "module");
    }
    for (int i = 0; what != MODULES && i < m->nslots; i++) {
        if (!wanted(&m->slot[i], what)) continue;
        push_path(L, path, m->slot[i].name);
        l_push_view(L, pk_tensor_retain(m->slot[i].tensor));
        append(L, list, "tensor");
    }
    for (int i = 0; i < m->nchildren; i++) {
        const char *below = push_path(L, path, m->child[i].name);
        walk(L, list, m->child[i].module, below, what, depth + 1);
        lua_pop(L, 1);
    }
}

/* Push the named list of the module at 1, which a second box keeps alive meanwhile. */
static int push_named(lua_State *L, which what) {
    l_check_module(L, 1);
    l_box *hold = l_new_box(L, L_MODULE);
    hold->object = pk_module_retain(l_check_module(L, 1));
    begin_list(L);
    walk(L, lua_gettop(L) - 1, hold->object, "", what, 0);
    end_list(L);
    pk_module_release(hold->object);
    hold->object = NULL;
    return 1;
}

/* m:named_parameters() -> list of {name, tensor}, and what a `for` can call. */
static int named_parameters(lua_State *L) { return push_named(L, PARAMETERS); }
/* m:buffers(): the same of what is saved and never trained. */
static int buffers(lua_State *L) { return push_named(L, BUFFERS); }
/* m:modules(): the same of m ("" its path) and every module below it: {name, module}. */
static int modules(lua_State *L) { return push_named(L, MODULES); }

/* m:parameters() -> list of tensors. */
static int parameters(lua_State *L) {
    push_named(L, PARAMETERS);
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        lua_getfield(L, -1, "tensor");
        lua_rawseti(L, -3, i);
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    lua_setmetatable(L, -2);
    return 1;
}

/* m:children() -> the same kind of list, {name, module}, of the direct children. */
static int children(lua_State *L) {
    l_check_module(L, 1);
    begin_list(L);
    int list = lua_gettop(L) - 1;
    for (int i = 0; i < l_check_module(L, 1)->nchildren; i++) {
        lua_pushstring(L, l_check_module(L, 1)->child[i].name);
        l_push_module(L, pk_module_retain(l_check_module(L, 1)->child[i].module));
        append(L, list, "module");
    }
    end_list(L);
    return 1;
}

/* m:apply(fn) -> m; fn(module, path) for each module below m, then for m itself (""). */
static int apply(lua_State *L) {
    l_check_module(L, 1);
    l_check_callable(L, 2);
    lua_settop(L, 2);
    push_named(L, MODULES);
    int list = lua_gettop(L);
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, list); i >= 1; i--) {
        lua_pushvalue(L, 2);
        lua_rawgeti(L, list, i);
        lua_getfield(L, -1, "module");
        lua_getfield(L, -2, "name");
        lua_remove(L, -3);
        lua_call(L, 2, 0);
    }
    lua_settop(L, 1);
    return 1;
}

/* ---- freezing ---- */

/* Does the name at the top match the Lua pattern at stack place 2? string.find is reached through strings themselves. */
static bool matches(lua_State *L) {
    if (lua_isnoneornil(L, 2)) return true;
    if (luaL_getmetafield(L, -1, "__index") != LUA_TTABLE) luaL_error(L, "strings have lost their methods");
    lua_getfield(L, -1, "find");
    lua_pushvalue(L, -3);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
    bool yes = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return yes;
}

static int set_trained(lua_State *L, bool trained) {
    l_check_module(L, 1);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TSTRING);
    lua_settop(L, 2);
    push_named(L, PARAMETERS);
    int list = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, list), found = 0;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, list, i);
        lua_getfield(L, -1, "tensor");
        lua_getfield(L, -2, "name");
        if (matches(L)) {
            l_check_tensor(L, -2)->requires_grad = trained;
            found++;
        }
        lua_settop(L, list);
    }
    if (found == 0 && n > 0) l_arg_error(L, 2, "no parameter's name matches %s", l_given(L, 2));
    lua_settop(L, 1);
    lua_pushinteger(L, found);
    return 2;
}

/* m:freeze(pattern?) -> m, how many: parameters whose name matches the Lua pattern (all without one) are no longer
 * trained. An error when none matches. */
static int freeze(lua_State *L) { return set_trained(L, false); }
/* m:unfreeze(pattern?): the way back. */
static int unfreeze(lua_State *L) { return set_trained(L, true); }

/* m:zero_grad() -> m: gradients of all parameters set to zero. */
static int zero_grad(lua_State *L) {
    push_named(L, PARAMETERS);
    int list = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, list, i);
        lua_getfield(L, -1, "tensor");
        pk_tensor *t = l_check_tensor(L, -1);
        if (t->grad != NULL) l_check(L, pk_tensor_fill(t->grad, 0));
        lua_settop(L, list);
    }
    lua_settop(L, 1);
    return 1;
}

/* ---- printing ---- */

static void add_indent(luaL_Buffer *b, int depth) {
    for (int i = 0; i < depth; i++) luaL_addstring(b, "  ");
}

/* "Linear(96 -> 384)", containers with a line for each child. */
static void print_tree(luaL_Buffer *b, const pk_module *m, int depth) {
    char text[256] = "";
    if (m->cls->describe != NULL) m->cls->describe(m, text, sizeof text);
    luaL_addstring(b, m->cls->name);
    luaL_addchar(b, '(');
    luaL_addstring(b, text);
    if (m->nchildren > 0 && depth < DEEPEST) {
        luaL_addchar(b, '\n');
        for (int i = 0; i < m->nchildren; i++) {
            add_indent(b, depth + 1);
            luaL_addchar(b, '(');
            luaL_addstring(b, m->child[i].name);
            luaL_addstring(b, "): ");
            print_tree(b, m->child[i].module, depth + 1);
            luaL_addchar(b, '\n');
        }
        add_indent(b, depth);
    }
    luaL_addchar(b, ')');
}

int l_module_print(lua_State *L) {
    if (l_is_freed(L, 1, L_MODULE)) {
        lua_pushliteral(L, L_MODULE " (freed)");
        return 1;
    }
    l_check_module(L, 1);
    l_box *hold = l_new_box(L, L_MODULE);
    hold->object = pk_module_retain(l_check_module(L, 1));
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    print_tree(&b, hold->object, 0);
    luaL_pushresult(&b);
    return 1;
}

const luaL_Reg l_module_tree_methods[] = {
    {"named_parameters", named_parameters}, {"parameters", parameters}, {"buffers", buffers},
    {"modules", modules},     {"children", children},   {"apply", apply},         {"freeze", freeze},
    {"unfreeze", unfreeze},   {"zero_grad", zero_grad}, {NULL, NULL},
};
