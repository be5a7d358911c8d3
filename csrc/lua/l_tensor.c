/* The Tensor class: looking at tensors, writing in place, comparing, autograd, lifetime. Ops join as methods
 * (l_op.c); views are in l_tensor_index.c, making in l_tensor_make.c, printing in l_tensor_print.c. */
#include "lua/l_bind.h"

#include <math.h>
#include <string.h>

/* ---- looking ---- */

/* t:shape() -> list of sizes. */
static int shape(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    int ndim = t->ndim;
    int64_t size[PK_MAX_DIMS];
    memcpy(size, t->shape, sizeof size);
    lua_createtable(L, ndim, 0);
    for (int i = 0; i < ndim; i++) {
        lua_pushinteger(L, size[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* t:size(d) -> size of one dimension; without d all of them, one result each. */
static int size(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    if (!lua_isnoneornil(L, 2)) {
        lua_pushinteger(L, t->shape[l_check_dim(L, 2, t->ndim)]);
        return 1;
    }
    for (int i = 0; i < t->ndim; i++) lua_pushinteger(L, t->shape[i]);
    return t->ndim;
}

static int dim(lua_State *L) {
    lua_pushinteger(L, l_check_tensor(L, 1)->ndim);
    return 1;
}

static int numel(lua_State *L) {
    lua_pushinteger(L, pk_numel(l_check_tensor(L, 1)));
    return 1;
}

static int dtype(lua_State *L) {
    lua_pushstring(L, pk_dtype_name(l_check_tensor(L, 1)->dtype));
    return 1;
}

static int is_contiguous(lua_State *L) {
    lua_pushboolean(L, pk_is_contiguous(l_check_tensor(L, 1)));
    return 1;
}

/* #t: size of the first dimension; a scalar has none. */
static int length(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    if (t->ndim == 0) return luaL_error(L, "a scalar tensor has no length");
    lua_pushinteger(L, t->shape[0]);
    return 1;
}

/* Numbers of int32 and uint8 tensors are Lua integers. */
static void push_number(lua_State *L, const pk_tensor *t, const int64_t *index) {
    double v = pk_tensor_get(t, index);
    if (t->dtype == PK_FLOAT32) lua_pushnumber(L, v);
    else lua_pushinteger(L, (lua_Integer)v);
}

/* t:item() -> the number in a tensor of one element. */
static int item(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    int64_t first[PK_MAX_DIMS] = {0};
    if (pk_numel(t) != 1) luaL_error(L, "item: wants one element, the tensor is %s", pk_shape_text(t));
    push_number(L, t, first);
    return 1;
}

/* The elements below index[0..d): a number, or a table of them. */
static void push_nested(lua_State *L, const pk_tensor *t, int64_t *index, int d) {
    if (d == t->ndim) {
        push_number(L, t, index);
        return;
    }
    lua_createtable(L, (int)(t->shape[d] < INT32_MAX ? t->shape[d] : 0), 0);
    for (int64_t i = 0; i < t->shape[d]; i++) {
        index[d] = i;
        push_nested(L, t, index, d + 1);
        lua_rawseti(L, -2, i + 1);
    }
}

/* t:tolist() -> nested tables (a number for a scalar). */
static int tolist(lua_State *L) {
    luaL_checkstack(L, PK_MAX_DIMS + 8, "tolist");
    const pk_tensor *t = l_hold_tensor(L, 1);
    int64_t index[PK_MAX_DIMS] = {0};
    push_nested(L, t, index, 0);
    l_drop_tensor(L, -2);
    return 1;
}

/* t:flat() -> all elements in one table, last dimension fastest. */
static int flat(lua_State *L) {
    const pk_tensor *t = l_hold_tensor(L, 1);
    int64_t index[PK_MAX_DIMS] = {0}, n = pk_numel(t);
    lua_createtable(L, (int)(n < INT32_MAX ? n : 0), 0);
    for (int64_t i = 0; i < n; i++) {
        push_number(L, t, index);
        lua_rawseti(L, -2, i + 1);
        for (int d = t->ndim - 1; d >= 0 && ++index[d] == t->shape[d]; d--) index[d] = 0;
    }
    l_drop_tensor(L, -2);
    return 1;
}

/* ---- copies and writing in place ---- */

/* Push a new packed tensor of that dtype with the values of the one at arg; no graph. */
static void push_copy(lua_State *L, int arg, pk_dtype type) {
    pk_tensor *copy = NULL;
    pk_status status;
    L_RETRY(L, status, pk_tensor_new(type, l_check_tensor(L, arg)->ndim, l_check_tensor(L, arg)->shape, &copy));
    l_check(L, status);
    l_push_tensor(L, copy);
    l_check(L, pk_tensor_copy(copy, l_check_tensor(L, arg)));
}

/* A copy that gradients flow through, where they are wanted: the tensor times 1. */
static void push_clone(lua_State *L, int arg) {
    const pk_tensor *t = l_check_tensor(L, arg);
    if (!pk_grad_enabled() || (t->node == NULL && !t->requires_grad)) {
        push_copy(L, arg, t->dtype);
        return;
    }
    lua_pushinteger(L, 1);
    l_check_tensor_or_number(L, lua_gettop(L));
    l_run_op(L, l_find_op(L, "mul"), NULL, (int[]){arg, lua_gettop(L)}, 2);
}

/* t:clone() -> a packed copy with its own memory. */
static int clone(lua_State *L) {
    push_clone(L, 1);
    return 1;
}

/* t:contiguous() -> t itself when it is packed, else a copy. */
static int contiguous(lua_State *L) {
    if (pk_is_contiguous(l_check_tensor(L, 1))) lua_settop(L, 1);
    else push_clone(L, 1);
    return 1;
}

/* t:to(dtype) -> t itself, or a converted copy: floats are rounded toward zero and clamped to the range. */
static int to(lua_State *L) {
    pk_dtype type;
    const pk_tensor *t = l_check_tensor(L, 1);
    luaL_checktype(L, 2, LUA_TSTRING);
    if (!pk_dtype_parse(lua_tostring(L, 2), &type))
        l_arg_error(L, 2, "dtype is float32, int32 or uint8, got %s", l_given(L, 2));
    if (t->dtype == type) lua_settop(L, 1);
    else push_copy(L, 1, type);
    return 1;
}

/* t:copy_(source) -> t, its elements now those of source (tensor or number), broadcast and converted. */
static int copy_(lua_State *L) {
    pk_tensor *t = l_check_tensor(L, 1);
    l_check(L, pk_check_writable("copy_", t));
    if (lua_type(L, 2) == LUA_TNUMBER) l_check(L, pk_tensor_fill(t, lua_tonumber(L, 2)));
    else l_check(L, pk_tensor_copy(t, l_check_tensor(L, 2)));
    lua_settop(L, 1);
    return 1;
}

/* t:fill_(number) -> t */
static int fill_(lua_State *L) {
    pk_tensor *t = l_check_tensor(L, 1);
    double value = luaL_checknumber(L, 2);
    l_check(L, pk_check_writable("fill_", t));
    l_check(L, pk_tensor_fill(t, value));
    lua_settop(L, 1);
    return 1;
}

/* ---- comparing ---- */

/* t:equal(o): same dtype, shape and values (NaN differs from itself). */
static int equal(lua_State *L) {
    const pk_tensor *a = l_check_tensor(L, 1), *b = l_check_tensor(L, 2);
    bool same = a->dtype == b->dtype && pk_same_shape(a, b);
    int64_t index[PK_MAX_DIMS] = {0}, n = same ? pk_numel(a) : 0;
    for (int64_t i = 0; i < n && same; i++) {
        same = pk_tensor_get(a, index) == pk_tensor_get(b, index);
        for (int d = a->ndim - 1; d >= 0 && ++index[d] == a->shape[d]; d--) index[d] = 0;
    }
    lua_pushboolean(L, same);
    return 1;
}

typedef struct close_options {
    double rtol, atol;
    bool equal_nan;
} close_options;

static const pk_field close_fields[] = {
    {.name = "rtol", .type = PK_FLOAT, .offset = offsetof(close_options, rtol), .def = 1e-5, .max = INFINITY,
     .doc = "tolerance relative to the second tensor"},
    {.name = "atol", .type = PK_FLOAT, .offset = offsetof(close_options, atol), .def = 1e-8, .max = INFINITY,
     .doc = "absolute tolerance"},
    {.name = "equal_nan", .type = PK_BOOL, .offset = offsetof(close_options, equal_nan), .doc = "NaN is close to NaN"},
};

static bool is_close(double a, double b, const close_options *o) {
    if (a == b) return true; /* infinities too */
    if (isnan(a) || isnan(b)) return o->equal_nan && isnan(a) && isnan(b);
    return !isinf(a) && !isinf(b) && fabs(a - b) <= o->atol + o->rtol * fabs(b);
}

/* t:allclose(o, {rtol = 1e-5, atol = 1e-8, equal_nan = false}) -> boolean, largest absolute difference.
 * |t - o| <= atol + rtol * |o| everywhere; different shapes are an error. */
static int allclose(lua_State *L) {
    close_options o;
    l_check_tensor(L, 1);
    l_check_tensor(L, 2);
    l_read_options(L, 3, "allclose", close_fields, 3, &o, sizeof o);
    const pk_tensor *a = l_check_tensor(L, 1), *b = l_check_tensor(L, 2);
    if (!pk_same_shape(a, b)) l_arg_error(L, 2, "shapes differ: %s and %s", pk_shape_text(a), pk_shape_text(b));
    int64_t index[PK_MAX_DIMS] = {0}, n = pk_numel(a);
    bool close = true;
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = pk_tensor_get(a, index), y = pk_tensor_get(b, index);
        close = close && is_close(x, y, &o);
        if (fabs(x - y) > worst) worst = fabs(x - y);
        for (int d = a->ndim - 1; d >= 0 && ++index[d] == a->shape[d]; d--) index[d] = 0;
    }
    lua_pushboolean(L, close);
    lua_pushnumber(L, worst);
    return 2;
}

/* t == o: the same tensor, not the same values (that is equal). */
static int same_object(lua_State *L) {
    lua_pushboolean(L, l_test_object(L, 1, L_TENSOR) == l_test_object(L, 2, L_TENSOR));
    return 1;
}

/* ---- autograd ---- */

/* t:requires_grad_(on = true) -> t: a float32 leaf whose gradient is wanted. */
static int requires_grad_(lua_State *L) {
    pk_tensor *t = l_check_tensor(L, 1);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TBOOLEAN);
    bool on = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
    if (on && t->dtype != PK_FLOAT32)
        return luaL_error(L, "requires_grad_: only float32 tensors have gradients, got %s", pk_dtype_name(t->dtype));
    if (t->node != NULL)
        return luaL_error(L, "requires_grad_: a computed tensor is no leaf: use t:detach()%s", on ? ":requires_grad_()" : "");
    t->requires_grad = on;
    lua_settop(L, 1);
    return 1;
}

/* t:backward(gradient?): gradients of t for every leaf it depends on, added to their grad. A scalar needs none. */
static int backward(lua_State *L) {
    pk_tensor *t = l_check_tensor(L, 1), *g = l_opt_tensor(L, 2);
    pk_tensor_retain(t);
    if (g != NULL) pk_tensor_retain(g);
    pk_status status = pk_backward(t, g);
    pk_tensor_release(t);
    pk_tensor_release(g);
    l_check(L, status);
    l_note_memory(L);
    return 0;
}

/* t:detach() -> the same memory, outside the graph. */
static int detach(lua_State *L) {
    pk_tensor *twin = NULL;
    l_check(L, pk_tensor_alias(l_check_tensor(L, 1), &twin));
    l_push_view(L, twin);
    return 1;
}

/* t:zero_grad() -> t, its gradient filled with zeros if there is one. */
static int zero_grad(lua_State *L) {
    pk_tensor *t = l_check_tensor(L, 1);
    if (t->grad != NULL) {
        l_check(L, pk_check_writable("zero_grad", t->grad));
        l_check(L, pk_tensor_fill(t->grad, 0));
    }
    lua_settop(L, 1);
    return 1;
}

/* ---- lifetime ---- */

/* t:free(), also at the end of a <close> variable and by the collector: lets go now; using t after it is an error. */
static int free_box(lua_State *L) {
    pk_tensor_release(l_take_object(L, 1, L_TENSOR));
    return 0;
}

/* ---- t[...] ---- */

static bool push_property(lua_State *L, const char *key) {
    if (strcmp(key, "grad") == 0) {
        pk_tensor *g = pk_tensor_grad(l_check_tensor(L, 1));
        if (g != NULL) l_push_view(L, pk_tensor_retain(g));
        else lua_pushnil(L);
    } else if (strcmp(key, "requires_grad") == 0) {
        const pk_tensor *t = l_check_tensor(L, 1);
        lua_pushboolean(L, t->requires_grad || t->node != NULL);
    } else if (strcmp(key, "is_leaf") == 0) {
        lua_pushboolean(L, l_check_tensor(L, 1)->node == NULL);
    } else {
        return false;
    }
    return true;
}

/* Methods and the properties grad, requires_grad, is_leaf by name; else a view: t[2], t[-1], t[{ {1,3}, {}, -1 }]. */
static int get(lua_State *L) {
    if (lua_type(L, 2) != LUA_TSTRING) return l_tensor_get_index(L);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    if (!push_property(L, lua_tostring(L, 2))) lua_pushnil(L);
    return 1;
}

/* t.grad = nil drops the gradient, t.grad = g takes a copy's place; t[key] = number or tensor writes to the view. */
static int set(lua_State *L) {
    if (lua_type(L, 2) != LUA_TSTRING) return l_tensor_set_index(L);
    pk_tensor *t = l_check_tensor(L, 1);
    if (strcmp(lua_tostring(L, 2), "grad") != 0)
        return luaL_error(L, "a tensor has no field %s to set (only grad)", l_given(L, 2));
    pk_tensor *g = NULL;
    if (!lua_isnil(L, 3)) {
        g = l_check_tensor(L, 3);
        if (g->dtype != PK_FLOAT32 || !pk_same_shape(t, g) || t->dtype != PK_FLOAT32)
            l_arg_error(L, 3, "the gradient of a tensor %s is float32 of that shape, got %s %s", pk_shape_text(t),
                        pk_dtype_name(g->dtype), pk_shape_text(g));
        pk_tensor *own = NULL; /* alone in its memory, outside of any graph */
        pk_status status = pk_tensor_like(g, &own);
        if (status == PK_OK) status = pk_tensor_copy(own, g);
        if (status != PK_OK) pk_tensor_release(own);
        l_check(L, status);
        g = own;
    }
    pk_tensor_release(t->grad);
    t->grad = g;
    return 0;
}

static const luaL_Reg methods[] = {
    {"shape", shape},       {"size", size},         {"dim", dim},           {"numel", numel},
    {"dtype", dtype},       {"item", item},         {"tolist", tolist},     {"flat", flat},
    {"clone", clone},       {"contiguous", contiguous}, {"to", to},         {"is_contiguous", is_contiguous},
    {"copy_", copy_},       {"fill_", fill_},       {"equal", equal},       {"allclose", allclose},
    {"backward", backward}, {"detach", detach},     {"zero_grad", zero_grad}, {"requires_grad_", requires_grad_},
    {"free", free_box},     {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__index", get},       {"__newindex", set},    {"__len", length},      {"__tostring", l_tensor_print},
    {"__eq", same_object},  {"__gc", free_box},     {"__close", free_box},  {NULL, NULL},
};

void l_open_tensor(lua_State *L) {
    l_class(L, L_TENSOR, methods, metamethods);
    l_add_methods(L, L_TENSOR, l_tensor_view_methods);
    luaL_setfuncs(L, l_tensor_make_functions, 0);
    luaL_getmetatable(L, L_TENSOR);
    lua_getfield(L, -1, "methods");
    lua_setfield(L, -3, "Tensor");
    lua_pop(L, 1);
}
