/* Guards of training steps (pelk.Guard). */
#include "core/alloc.h"
#include "lua/l_bind.h"
#include "train/guard.h"

#define L_GUARD "pelk.Guard"

static pk_guard *check_guard(lua_State *L, int arg) { return l_check_object(L, arg, L_GUARD); }

/*** guard_new(module): keeps its buffers and the random generator's place; marked at once. */
static int guard_new(lua_State *L) {
    l_check_module(L, 1);
    l_box *box = l_new_box(L, L_GUARD);
    pk_guard *g;
    pk_status status;
    L_RETRY(L, status, pk_guard_new(l_check_module(L, 1), &g));
    l_check(L, status);
    box->object = g;
    return 1;
}

static int guard_gc(lua_State *L) {
    pk_guard_free(l_take_object(L, 1, L_GUARD));
    return 0;
}

/*** guard:mark() */
static int guard_mark(lua_State *L) {
    pk_guard_mark(check_guard(L, 1));
    return 0;
}

/*** guard:restore() */
static int guard_restore(lua_State *L) {
    pk_guard_restore(check_guard(L, 1));
    return 0;
}

/*** guard:explain(x) -> a sentence about where the first value that is not finite is. */
static int guard_explain(lua_State *L) {
    char text[640];
    pk_guard *g = check_guard(L, 1);
    pk_tensor *x = l_hold_tensor(L, 2);
    l_box *box = lua_touserdata(L, 1);
    lua_State *outer = l_enter(L);
    box->object = NULL; /* a function of the model may close the guard */
    pk_status status = pk_guard_explain(g, x, text, sizeof text);
    box->object = g;
    l_leave(outer);
    l_check(L, status);
    lua_pushstring(L, text);
    return 1;
}

void l_open_guard(lua_State *L) {
    static const luaL_Reg methods[] = {{"mark", guard_mark}, {"restore", guard_restore}, {"explain", guard_explain},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", guard_gc}, {"__close", guard_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"guard_new", guard_new}, {NULL, NULL}};
    l_class(L, L_GUARD, methods, meta);
    luaL_setfuncs(L, functions, 0);
}
