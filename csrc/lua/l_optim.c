/* Optimisers, gradient norms, and the measured forward behind summaries. */
#include <string.h>

#include "core/alloc.h"
#include "lua/l_bind.h"
#include "train/optim.h"

#define L_OPTIM "pelk.Optimizer"

static pk_optim *check_optim(lua_State *L, int arg) { return l_check_object(L, arg, L_OPTIM); }

/* ---- making ---- */

/* A list of strings at the stack's index as a null-ended array of borrowed pointers, in a userdata pushed on top. */
static const char *const *check_names(lua_State *L, int index, const char *what) {
    if (lua_isnil(L, index)) return NULL;
    if (!lua_istable(L, index)) luaL_error(L, "%s must be a list of strings, got %s", what, l_given(L, index));
    index = lua_absindex(L, index);
    lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    const char **names = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *names, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, index, i) != LUA_TSTRING)
            luaL_error(L, "%s[%d] must be a string, got %s", what, (int)i, l_given(L, -1));
        names[i - 1] = lua_tostring(L, -1); /* alive as long as the table is */
        lua_pop(L, 1);
    }
    names[n] = NULL;
    return names;
}

/*** optim_new(kind, module, options): options are the optimiser's fields and no_decay, a list of parts of names. */
static int optim_new(lua_State *L) {
    const pk_optim_class *cls = pk_optim_find(luaL_checkstring(L, 1));
    pk_optim_options options;
    l_check_module(L, 2);
    if (!cls) return luaL_error(L, "no optimiser is called '%s'; there are sgd, adamw and lamb", lua_tostring(L, 1));
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_newtable(L); /* 4: the options without no_decay */
    for (lua_pushnil(L); lua_next(L, 3);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, 4);
    }
    lua_pushnil(L);
    lua_setfield(L, 4, "no_decay");
    l_read_options(L, 4, cls->name, cls->fields, cls->nfields, &options, sizeof options);
    lua_getfield(L, 3, "no_decay");
    const char *const *names = check_names(L, -1, "no_decay");
    l_box *box = l_new_box(L, L_OPTIM);
    pk_optim *o;
    pk_status status;
    L_RETRY(L, status, pk_optim_new(cls, l_check_module(L, 2), &options, names, &o));
    l_check(L, status);
    box->object = o;
    l_note_memory(L);
    return 1;
}

static int optim_gc(lua_State *L) {
    pk_optim_free(l_take_object(L, 1, L_OPTIM));
    return 0;
}

/* ---- stepping ---- */

/*** opt:step(): one update from the gradients that are there. */
static int optim_step(lua_State *L) {
    l_check(L, pk_optim_step(check_optim(L, 1)));
    return 0;
}

/*** opt:zero_grad() */
static int optim_zero_grad(lua_State *L) {
    pk_params_zero_grad(check_optim(L, 1)->params);
    return 0;
}

/* Numbers and bools of the options, by name: opt.lr. Otherwise methods. */
static int optim_index(lua_State *L) {
    pk_optim *o = check_optim(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    const pk_field *f = pk_schema_find(o->cls->fields, o->cls->nfields, key);
    if (f && f->type == PK_FLOAT)
        lua_pushnumber(L, *(double *)((char *)&o->options + f->offset));
    else if (f)
        lua_pushboolean(L, *(bool *)((char *)&o->options + f->offset));
    else if (strcmp(key, "steps") == 0)
        lua_pushinteger(L, o->steps);
    else
        lua_getfield(L, lua_upvalueindex(1), key);
    return 1;
}

static int optim_newindex(lua_State *L) {
    pk_optim *o = check_optim(L, 1);
    pk_optim_options changed = o->options;
    uint64_t seen = 0;
    luaL_checkstring(L, 2);
    lua_newtable(L);
    lua_insert(L, 2);
    lua_rawset(L, 2);
    l_read_table(L, 2, o->cls->name, o->cls->fields, o->cls->nfields, &changed, &seen);
    l_check(L, pk_schema_check(o->cls->name, o->cls->fields, o->cls->nfields, &changed));
    o->options = changed;
    return 0;
}

static int optim_tostring(lua_State *L) {
    if (l_is_freed(L, 1, L_OPTIM)) {
        lua_pushliteral(L, "pelk.Optimizer (freed)");
        return 1;
    }
    const pk_optim *o = check_optim(L, 1);
    lua_pushfstring(L, "%s: lr %f, %I parameters, %I steps", o->cls->name, o->options.lr,
                    (LUAI_UACINT)o->params->count, (LUAI_UACINT)o->steps);
    return 1;
}

/* ---- groups ---- */

/*** opt:group(path, lr_scale, weight_decay): weight_decay nil leaves the optimiser's. */
static int optim_group(lua_State *L) {
    pk_optim *o = check_optim(L, 1);
    double decay = luaL_optnumber(L, 4, -1);
    luaL_argcheck(L, lua_isnoneornil(L, 4) || decay >= 0, 4, "weight_decay cannot be negative");
    l_check(L, pk_optim_group(o, luaL_checkstring(L, 2), luaL_optnumber(L, 3, 1), decay));
    return 0;
}

/*** opt:parameters() -> list of {name, elements, lr_scale, weight_decay}, in the order of the arenas. */
static int optim_parameters(lua_State *L) {
    pk_optim *o = check_optim(L, 1);
    lua_createtable(L, (int)o->params->count, 0);
    for (int64_t i = 0; i < o->params->count; i++) {
        const pk_param *p = &o->params->param[i];
        lua_createtable(L, 0, 4);
        lua_pushstring(L, p->path), lua_setfield(L, -2, "name");
        lua_pushinteger(L, p->count), lua_setfield(L, -2, "elements");
        lua_pushnumber(L, p->lr_scale), lua_setfield(L, -2, "lr_scale");
        lua_pushnumber(L, p->weight_decay >= 0 ? p->weight_decay : p->decay ? o->options.weight_decay : 0);
        lua_setfield(L, -2, "weight_decay");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

typedef struct finder {
    const pk_optim *o;
    char *seen; /* a flag a parameter */
    int64_t found;
} finder;

static pk_status find_parameter(void *context, const char *path, pk_module *m, pk_slot *slot) {
    finder *f = context;
    (void)path, (void)m;
    const pk_param *p = pk_params_find(f->o->params, slot->tensor);
    if (!p) return PK_OK;
    const int64_t i = p - f->o->params->param;
    f->found += !f->seen[i]; /* a layer may stand in several places */
    f->seen[i] = 1;
    return PK_OK;
}

/*** opt:belong_to(module): are all the optimiser's parameters the module's? */
static int optim_belong_to(lua_State *L) {
    finder f = {check_optim(L, 1), NULL, 0};
    f.seen = lua_newuserdatauv(L, (size_t)f.o->params->count + 1, 0);
    memset(f.seen, 0, (size_t)f.o->params->count + 1);
    l_check(L, pk_module_each_slot(l_check_module(L, 2), find_parameter, &f));
    lua_pushboolean(L, f.found == f.o->params->count);
    return 1;
}

/* ---- checkpoints ---- */

/*** opt:state() -> {name = tensor} (flat, sharing the optimiser's memory), steps */
static int optim_state(lua_State *L) {
    pk_optim *o = check_optim(L, 1);
    lua_newtable(L);
    for (int i = 0; i < o->cls->nstates; i++) {
        l_push_view(L, pk_tensor_retain(o->state[i]));
        lua_setfield(L, -2, o->cls->state[i]);
    }
    lua_pushinteger(L, o->steps);
    return 2;
}

/*** opt:load_state(tensors, steps): what state() gave, of an optimiser of the same kind and model. */
static int optim_load_state(lua_State *L) {
    pk_optim *o = check_optim(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer steps = luaL_checkinteger(L, 3);
    luaL_argcheck(L, steps >= 0, 3, "steps cannot be negative");
    pk_tensor *from[2] = {0};
    lua_settop(L, 3);
    for (int i = 0; i < o->cls->nstates; i++) {
        lua_pushstring(L, o->cls->state[i]);
        lua_rawget(L, 2); /* no code of others runs; stays on the stack: alive */
        from[i] = l_test_object(L, -1, L_TENSOR);
        if (!from[i]) return luaL_error(L, "load_state: '%s' must be a tensor, got %s", o->cls->state[i], l_given(L, -1));
        if (from[i]->dtype != PK_FLOAT32 || !pk_same_shape(from[i], o->state[i]))
            return luaL_error(L, "load_state: '%s' must be float32 %s, got %s %s", o->cls->state[i],
                              pk_shape_text(o->state[i]), pk_dtype_name(from[i]->dtype), pk_shape_text(from[i]));
    }
    for (int i = 0; i < o->cls->nstates; i++) pk_tensor_copy(o->state[i], from[i]);
    o->steps = steps;
    return 0;
}

/* ---- gradients ---- */

/*** grad_norm(module): 2-norm of all gradients. */
static int grad_norm(lua_State *L) {
    double norm;
    l_check(L, pk_grad_norm(l_check_module(L, 1), &norm));
    lua_pushnumber(L, norm);
    return 1;
}

/*** clip_grad_norm(module, max_norm) -> the norm before. */
static int clip_grad_norm(lua_State *L) {
    double norm;
    l_check(L, pk_clip_grad_norm(l_check_module(L, 1), luaL_checknumber(L, 2), &norm));
    lua_pushnumber(L, norm);
    return 1;
}

static const luaL_Reg methods[] = {{"step", optim_step},   {"zero_grad", optim_zero_grad}, {"state", optim_state},
                                   {"load_state", optim_load_state}, {"group", optim_group},
                                   {"parameters", optim_parameters}, {"belong_to", optim_belong_to}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", optim_gc},       {"__close", optim_gc},       {"__index", optim_index},
                                       {"__newindex", optim_newindex}, {"__tostring", optim_tostring}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"optim_new", optim_new}, {"grad_norm", grad_norm}, {"clip_grad_norm", clip_grad_norm},
                                     {NULL, NULL}};

void l_open_optim(lua_State *L) {
    l_class(L, L_OPTIM, methods, metamethods);
    luaL_setfuncs(L, functions, 0);
}
