/* Every op of the registry as a Lua function, from what the op says of itself: core.ops.NAME(inputs..., options).
 *
 * How arguments are taken, in order:
 *   tensors and nil        the next input (nil leaves out an optional one)
 *   a number               the next input while that is a required one (made a float32 scalar), else an option
 *   a list of tensors      the inputs of an op that takes any number (concat)
 *   a table with names     options; several such tables add up
 *   any other value        the next option by position: strings, booleans, numbers, lists of numbers
 * Results are the op's outputs. */
#include "lua/l_bind.h"

#include <string.h>

/* Arguments as they are sorted out. */
typedef struct l_args {
    const pk_op *op;
    void *params;
    uint64_t seen;       /* options given */
    int at[PK_MAX_IN];   /* stack place of each input; 0: absent */
    int nin;             /* inputs taken */
    int positional;      /* next option by position */
    bool options_begun;  /* no inputs come from here on unless they are tensors */
} l_args;

static const pk_arg *input_at(const pk_op *op, int i) {
    int last = -1;
    for (int a = 0; a < PK_MAX_IN && op->args[a].name != NULL; a++) last = a;
    if (i <= last) return &op->args[i];
    return last >= 0 && (op->args[last].flags & PK_VARIADIC) ? &op->args[last] : NULL;
}

/* "add (x, y)": for messages; pushes the text. */
static const char *signature(lua_State *L, const pk_op *op) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int a = 0; a < PK_MAX_IN && op->args[a].name != NULL; a++) {
        if (a > 0) luaL_addstring(&b, ", ");
        luaL_addstring(&b, op->args[a].name);
        if (op->args[a].flags & PK_VARIADIC) luaL_addstring(&b, "...");
        if (op->args[a].flags & PK_OPTIONAL) luaL_addchar(&b, '?');
    }
    if (op->nfields > 0) luaL_addstring(&b, ", {options}");
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

static void take_input(lua_State *L, l_args *a, int index) {
    if (a->nin >= PK_MAX_IN || input_at(a->op, a->nin) == NULL)
        luaL_error(L, "%s: too many inputs, wants (%s), at most %d", a->op->name, signature(L, a->op), PK_MAX_IN);
    a->at[a->nin++] = index;
}

/* A number for an input becomes a scalar in the argument's own place. */
static void take_scalar(lua_State *L, l_args *a, int index) {
    l_check_tensor_or_number(L, index);
    lua_replace(L, index);
    take_input(L, a, index);
}

static void take_positional(lua_State *L, l_args *a, int index) {
    const pk_op *op = a->op;
    const pk_arg *input = input_at(op, a->nin);
    bool wanted = input != NULL && !(input->flags & (PK_OPTIONAL | PK_VARIADIC));
    if (wanted || a->positional >= op->nfields)
        luaL_error(L, "%s: argument %d%s%s: %s expected, got %s; wants (%s)", op->name, index, wanted ? ", " : "",
                   wanted ? input->name : "", wanted ? "a tensor" : "an option table", l_given(L, index),
                   signature(L, op));
    const pk_field *f = &op->fields[a->positional++];
    l_read_field(L, index, op->name, f, a->params);
    a->seen |= (uint64_t)1 << (f - op->fields);
}

static bool is_tensor_list(lua_State *L, l_args *a, int index) {
    const pk_arg *input = input_at(a->op, a->nin);
    if (input == NULL || !(input->flags & PK_VARIADIC) || lua_rawlen(L, index) == 0) return false;
    bool yes = lua_rawgeti(L, index, 1) == LUA_TUSERDATA;
    lua_pop(L, 1);
    return yes;
}

static void take_table(lua_State *L, l_args *a, int index) {
    const pk_op *op = a->op;
    if (is_tensor_list(L, a, index)) {
        int n = (int)lua_rawlen(L, index);
        luaL_checkstack(L, PK_MAX_IN + 8, op->name);
        for (int i = 1; i <= n; i++) { /* take_input stops beyond PK_MAX_IN */
            lua_rawgeti(L, index, i);
            if (l_test_object(L, -1, L_TENSOR) == NULL)
                luaL_error(L, "%s: element %d of the list: %s expected, got %s", op->name, i, L_TENSOR, l_given(L, -1));
            take_input(L, a, lua_gettop(L));
        }
    } else if (l_is_list(L, index)) {
        take_positional(L, a, index);
    } else {
        l_read_table(L, index, op->name, op->fields, op->nfields, a->params, &a->seen);
        a->options_begun = true;
    }
}

static void take_argument(lua_State *L, l_args *a, int index) {
    const pk_arg *input = input_at(a->op, a->nin);
    switch (lua_type(L, index)) {
    case LUA_TUSERDATA:
        if (l_test_object(L, index, L_TENSOR) == NULL)
            luaL_error(L, "%s: argument %d: %s expected, got %s", a->op->name, index, L_TENSOR, l_given(L, index));
        take_input(L, a, index);
        break;
    case LUA_TNIL:
        if (a->options_begun || input == NULL) break; /* an option left out */
        if (!(input->flags & PK_OPTIONAL))
            luaL_error(L, "%s: %s (argument %d) is nil, a tensor expected; wants (%s)", a->op->name, input->name, index,
                       signature(L, a->op));
        a->at[a->nin++] = 0;
        break;
    case LUA_TNUMBER:
        if (input != NULL && !(input->flags & (PK_OPTIONAL | PK_VARIADIC)) && !a->options_begun) take_scalar(L, a, index);
        else take_positional(L, a, index);
        break;
    case LUA_TTABLE: take_table(L, a, index); break;
    default: take_positional(L, a, index);
    }
}

int l_run_op(lua_State *L, const pk_op *op, const void *params, const int *at, int nin) {
    pk_tensor *in[PK_MAX_IN] = {NULL}, *out[PK_MAX_OUT];
    int nout = 0;
    for (int i = 0; i < nin; i++) /* all are checked before the first is retained */
        if (at[i] != 0) in[i] = l_check_tensor(L, at[i]);
    for (int i = 0; i < nin; i++)
        if (in[i] != NULL) pk_tensor_retain(in[i]);
    pk_status status;
    L_RETRY(L, status, pk_apply(op, params, in, nin, out, &nout));
    for (int i = 0; i < nin; i++) pk_tensor_release(in[i]);
    l_check(L, status);
    l_push_tensors(L, out, nout);
    return nout;
}

const pk_op *l_find_op(lua_State *L, const char *name) {
    const pk_op *op = pk_op_find(name);
    if (op == NULL) luaL_error(L, "there is no op '%s' in this library", name);
    return op;
}

static int call_op(lua_State *L) {
    const pk_op *op = lua_touserdata(L, lua_upvalueindex(1));
    int narg = lua_gettop(L);
    l_args a = {.op = op};
    a.params = l_new_params(L, op->fields, op->nfields, op->params_size);
    for (int i = 1; i <= narg; i++) take_argument(L, &a, i);
    const pk_arg *missing = input_at(op, a.nin);
    bool none = missing != NULL && (missing->flags & PK_VARIADIC) && a.nin == 0;
    if (none || (missing != NULL && !(missing->flags & (PK_OPTIONAL | PK_VARIADIC))))
        luaL_error(L, "%s: argument %d: %s (a tensor %s) is missing; wants (%s)", op->name, a.nin + 1, missing->name,
                   missing->doc != NULL ? missing->doc : "", signature(L, op));
    l_read_end(L, op->name, op->fields, op->nfields, a.params, a.seen);
    return l_run_op(L, op, a.params, a.at, a.nin);
}

/* ---- the list ---- */

static const char *dtype_wanted(const pk_arg *arg) {
    if (arg->flags & PK_ANY_DTYPE) return "any";
    if (arg->flags & PK_LABELS) return "int32";
    return arg->flags & PK_MAY_BE_LABELS ? "float32 or int32" : "float32";
}

static void set_text(lua_State *L, const char *key, const char *text) {
    lua_pushstring(L, text != NULL ? text : "");
    lua_setfield(L, -2, key);
}

static void set_bool(lua_State *L, const char *key, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static void push_inputs(lua_State *L, const pk_op *op) {
    lua_newtable(L);
    for (int a = 0; a < PK_MAX_IN && op->args[a].name != NULL; a++) {
        const pk_arg *arg = &op->args[a];
        lua_createtable(L, 0, 6);
        set_text(L, "name", arg->name);
        set_text(L, "doc", arg->doc);
        set_text(L, "dtype", dtype_wanted(arg));
        set_bool(L, "optional", arg->flags & PK_OPTIONAL);
        set_bool(L, "variadic", arg->flags & PK_VARIADIC);
        set_bool(L, "differentiable", !(arg->flags & (PK_NO_GRAD | PK_LABELS)));
        lua_rawseti(L, -2, a + 1);
    }
}

/* ops.list() -> one table an op: name, doc, inputs, parameters, differentiable, view; sorted by name. */
static int list_ops(lua_State *L) {
    const pk_op *op;
    lua_newtable(L);
    for (int i = 0; (op = pk_op_at(i)) != NULL; i++) {
        lua_createtable(L, 0, 6);
        set_text(L, "name", op->name);
        set_text(L, "doc", op->doc);
        set_bool(L, "differentiable", op->backward != NULL || op->is_view);
        set_bool(L, "view", op->is_view);
        push_inputs(L, op);
        lua_setfield(L, -2, "inputs");
        l_push_schema(L, op->fields, op->nfields);
        lua_setfield(L, -2, "parameters");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* An op whose first input is a tensor is a method of tensors too. Where the class has a method of that name already (the
 * views, whose places count from 1 in Lua), that one is also the op. */
static void join_methods(lua_State *L, int ops) {
    luaL_getmetatable(L, L_TENSOR);
    lua_getfield(L, -1, "methods");
    int methods = lua_gettop(L);
    const pk_op *op;
    for (int i = 0; (op = pk_op_at(i)) != NULL; i++) {
        if (op->args[0].name == NULL || (op->args[0].flags & PK_OPTIONAL)) continue;
        bool known = lua_getfield(L, methods, op->name) != LUA_TNIL;
        if (!known) lua_getfield(L, ops, op->name);
        lua_setfield(L, known ? ops : methods, op->name);
        lua_settop(L, methods);
    }
    lua_pop(L, 2);
}

/* ---- operators ---- */

/* An operator calls its op (upvalue 1), whose arguments are tensors and numbers. */
static int operator_op(lua_State *L) {
    const pk_op *op = lua_touserdata(L, lua_upvalueindex(1));
    int at[2], nin = (int)lua_tointeger(L, lua_upvalueindex(2));
    for (int i = 0; i < nin; i++) {
        if (lua_type(L, i + 1) != LUA_TNUMBER && l_test_object(L, i + 1, L_TENSOR) == NULL)
            return luaL_error(L, "%s: operand %d: a number or %s expected, got %s", op->name, i + 1, L_TENSOR,
                              l_given(L, i + 1));
    }
    lua_settop(L, nin);
    for (int i = 0; i < nin; i++) {
        l_check_tensor_or_number(L, i + 1);
        at[i] = lua_gettop(L);
    }
    l_run_op(L, op, NULL, at, nin);
    return 1;
}

/* The operators. t ^ n is the op pow with its exponent as an option. */
static void add_operators(lua_State *L, int ops) {
    static const struct { const char *event, *op; int nin; } list[] = {
        {"__add", "add", 2}, {"__sub", "sub", 2}, {"__mul", "mul", 2}, {"__div", "div", 2}, {"__unm", "neg", 1},
    };
    luaL_getmetatable(L, L_TENSOR);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const pk_op *op = pk_op_find(list[i].op);
        if (op == NULL) continue;
        lua_pushlightuserdata(L, (void *)(uintptr_t)op);
        lua_pushinteger(L, list[i].nin);
        lua_pushcclosure(L, operator_op, 2);
        lua_setfield(L, -2, list[i].event);
    }
    lua_getfield(L, ops, "pow");
    lua_setfield(L, -2, "__pow");
    lua_pop(L, 1);
}

void l_open_op(lua_State *L) {
    lua_newtable(L);
    int ops = lua_gettop(L);
    const pk_op *op;
    for (int i = 0; (op = pk_op_at(i)) != NULL; i++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)op);
        lua_pushcclosure(L, call_op, 1);
        lua_setfield(L, ops, op->name);
    }
    join_methods(L, ops);
    add_operators(L, ops);
    lua_pushcfunction(L, list_ops);
    lua_setfield(L, ops, "list");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE); /* names for messages, see l_class */
    lua_pushvalue(L, ops);
    lua_setfield(L, -2, "pelk.core.ops");
    lua_pop(L, 1);
    lua_setfield(L, -2, "ops");
}
