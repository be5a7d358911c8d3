/* Averages of weights (pelk.EMA). */
#include <string.h>

#include "core/alloc.h"
#include "lua/l_bind.h"
#include "train/ema.h"

#define L_EMA "pelk.EMA"

static pk_ema *check_ema(lua_State *L, int arg) { return l_check_object(L, arg, L_EMA); }

/*** ema_new(module, {decay=0.9999, warmup=false}) */
static int ema_new(lua_State *L) {
    pk_ema_options options;
    l_check_module(L, 1);
    l_read_options(L, 2, "ema", pk_ema_fields, pk_ema_nfields, &options, sizeof options);
    l_box *box = l_new_box(L, L_EMA);
    pk_ema *e;
    pk_status status;
    L_RETRY(L, status, pk_ema_new(l_check_module(L, 1), &options, &e));
    l_check(L, status);
    box->object = e;
    l_note_memory(L);
    return 1;
}

static int ema_gc(lua_State *L) {
    pk_ema_free(l_take_object(L, 1, L_EMA));
    return 0;
}

/*** ema:step(): after the optimiser's. */
static int ema_step(lua_State *L) {
    pk_ema_step(check_ema(L, 1));
    return 0;
}

/*** ema:swap(): exchange the averages and the model's values. */
static int ema_swap(lua_State *L) {
    pk_ema_swap(check_ema(L, 1));
    return 0;
}

/*** ema:with(f, ...) -> what f(...) gives, the model holding the averages meanwhile; also after an error all is back. */
static int ema_with(lua_State *L) {
    check_ema(L, 1);
    l_check_callable(L, 2);
    pk_ema_swap(check_ema(L, 1));
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    if (!l_is_freed(L, 1, L_EMA)) pk_ema_swap(check_ema(L, 1));
    return status == LUA_OK ? lua_gettop(L) - 1 : lua_error(L);
}

/*** ema:state() -> tensor (flat, sharing the memory), steps */
static int ema_state(lua_State *L) {
    pk_ema *e = check_ema(L, 1);
    l_push_view(L, pk_tensor_retain(e->values));
    lua_pushinteger(L, e->steps);
    return 2;
}

/*** ema:load_state(tensor, steps): what state() gave, of an average of the same model. */
static int ema_load_state(lua_State *L) {
    pk_ema *e = check_ema(L, 1);
    pk_tensor *from = l_check_tensor(L, 2);
    lua_Integer steps = luaL_checkinteger(L, 3);
    luaL_argcheck(L, steps >= 0, 3, "steps cannot be negative");
    if (from->dtype != PK_FLOAT32 || !pk_same_shape(from, e->values))
        return luaL_error(L, "load_state: the averages must be float32 %s, got %s %s", pk_shape_text(e->values),
                          pk_dtype_name(from->dtype), pk_shape_text(from));
    l_check(L, pk_tensor_copy(e->values, from));
    e->steps = steps;
    return 0;
}

static int ema_index(lua_State *L) {
    pk_ema *e = check_ema(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "decay") == 0)
        lua_pushnumber(L, e->options.decay);
    else if (strcmp(key, "warmup") == 0)
        lua_pushboolean(L, e->options.warmup);
    else if (strcmp(key, "steps") == 0)
        lua_pushinteger(L, e->steps);
    else
        lua_getfield(L, lua_upvalueindex(1), key);
    return 1;
}

static int ema_tostring(lua_State *L) {
    if (l_is_freed(L, 1, L_EMA)) {
        lua_pushliteral(L, "pelk.EMA (freed)");
        return 1;
    }
    const pk_ema *e = check_ema(L, 1);
    lua_pushfstring(L, "ema: decay %f%s, %I tensors, %I steps", e->options.decay, e->options.warmup ? " with warm-up" : "",
                    (LUAI_UACINT)e->count, (LUAI_UACINT)e->steps);
    return 1;
}

void l_open_ema(lua_State *L) {
    static const luaL_Reg methods[] = {{"step", ema_step},   {"swap", ema_swap},
                                       {"with", ema_with},   {"state", ema_state},
                                       {"load_state", ema_load_state}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", ema_gc},       {"__close", ema_gc}, {"__index", ema_index},
                                    {"__tostring", ema_tostring}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"ema_new", ema_new}, {NULL, NULL}};
    l_class(L, L_EMA, methods, meta);
    luaL_setfuncs(L, functions, 0);
}
