/* Views of tensors: reshape, permute, narrow and their kin, and t[...]. Reading goes through the view ops, so gradients
 * flow; t[...] = v writes through plain windows. Everything counts from 1, negatives from the end. */
#include "lua/l_bind.h"

#include <string.h>


/* ---- calling the view ops ---- */

/* A view op and its parameters, set by name. */
typedef struct view_args {
    const pk_op *op;
    _Alignas(16) char params[2048];
} view_args;

static void begin(lua_State *L, view_args *a, const char *name) {
    a->op = l_find_op(L, name);
    if (a->op->params_size > sizeof a->params) luaL_error(L, "%s has too many parameters", name);
    pk_schema_defaults(a->op->fields, a->op->nfields, a->params, a->op->params_size);
}

static void set_number(lua_State *L, view_args *a, const char *field, int64_t value) {
    if (!pk_schema_set(a->op->fields, a->op->nfields, a->params, field, (double)value))
        luaL_error(L, "%s has no number '%s'", a->op->name, field);
}

/* Give the list `field` of the op n values. */
static void set_list(lua_State *L, view_args *a, const char *field, const int64_t *value, int n) {
    const pk_field *f = pk_schema_find(a->op->fields, a->op->nfields, field);
    if (f == NULL || (f->type != PK_INTS && f->type != PK_DIMS)) luaL_error(L, "%s has no list '%s'", a->op->name, field);
    pk_ints *list = (pk_ints *)(void *)(a->params + f->offset);
    list->n = n;
    for (int i = 0; i < n; i++) {
        if (value[i] > INT32_MAX || value[i] < INT32_MIN)
            luaL_error(L, "%s: %I is too large", a->op->name, (lua_Integer)value[i]);
        list->v[i] = (int32_t)value[i];
    }
}

/* Run on the tensor at arg and push the view. */
static int run(lua_State *L, const view_args *a, int arg) { return l_run_op(L, a->op, a->params, &arg, 1); }

/* Push the field of an option table; without metamethods, which could free tensors. */
static void raw_field(lua_State *L, int table, const char *name) {
    lua_pushstring(L, name);
    lua_rawget(L, table);
}

/* Integers of a method's arguments: a list, several numbers, or the field of an option table. */
static int read_list(lua_State *L, int arg, const char *field, const char *what, int64_t *out) {
    if (lua_type(L, arg) == LUA_TTABLE && lua_rawlen(L, arg) == 0) {
        bool named = false;
        lua_pushnil(L);
        while (lua_next(L, arg)) {
            lua_pop(L, 1);
            named = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), field) == 0;
            if (!named) l_arg_error(L, arg, "wants numbers, a list of them, or {%s = list}", field);
        }
        if (named) {
            raw_field(L, arg, field);
            lua_replace(L, arg);
        }
    }
    return l_read_ints(L, arg, what, out, PK_MAX_DIMS);
}

/* ---- shapes ---- */

static int run_reshape(lua_State *L, int arg, const int64_t *shape, int ndim) {
    view_args a;
    begin(L, &a, "reshape");
    set_list(L, &a, "shape", shape, ndim);
    return run(L, &a, arg);
}

/* t:reshape(shape) with at most one -1, whatever is left: a view where the memory allows it, else a copy. */
static int reshape(lua_State *L) {
    int64_t shape[PK_MAX_DIMS];
    l_check_tensor(L, 1);
    return run_reshape(L, 1, shape, read_list(L, 2, "shape", "dimension", shape));
}

/* t:view(shape): as reshape, but never a copy: an error when t is not packed. */
static int view(lua_State *L) {
    if (!pk_is_contiguous(l_check_tensor(L, 1)))
        return luaL_error(L, "view: the tensor %s is not contiguous: use reshape, or contiguous() first",
                          pk_shape_text(l_check_tensor(L, 1)));
    return reshape(L);
}

/* t:expand(shape): dimensions of 1 repeated without memory; -1 keeps a size. */
static int expand(lua_State *L) {
    int64_t shape[PK_MAX_DIMS];
    const pk_tensor *t = l_check_tensor(L, 1);
    int n = read_list(L, 2, "shape", "dimension", shape);
    for (int i = 0; i < n; i++)
        if (shape[i] == -1 && i >= n - t->ndim) shape[i] = t->shape[i - (n - t->ndim)];
    view_args a;
    begin(L, &a, "expand");
    set_list(L, &a, "shape", shape, n);
    return run(L, &a, 1);
}

/* t:flatten(first = 1, last = -1): those dimensions as one. */
static int flatten(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    int64_t shape[PK_MAX_DIMS], product = 1;
    int first = lua_isnoneornil(L, 2) || t->ndim == 0 ? 0 : l_check_dim(L, 2, t->ndim), n = 0;
    int last = lua_isnoneornil(L, 3) || t->ndim == 0 ? t->ndim - 1 : l_check_dim(L, 3, t->ndim);
    if (last < first && t->ndim > 0) l_arg_error(L, 3, "flatten: the last dimension comes before the first");
    for (int d = 0; d < first; d++) shape[n++] = t->shape[d];
    for (int d = first; d <= last; d++) product *= t->shape[d];
    shape[n++] = product;
    for (int d = last + 1; d < t->ndim; d++) shape[n++] = t->shape[d];
    return run_reshape(L, 1, shape, n);
}

/* t:squeeze(d?): without that dimension (or any) of size 1. */
static int squeeze(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    int64_t shape[PK_MAX_DIMS];
    int only = lua_isnoneornil(L, 2) ? -1 : l_check_dim(L, 2, t->ndim), n = 0;
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] != 1 || (only >= 0 && d != only)) shape[n++] = t->shape[d];
    return run_reshape(L, 1, shape, n);
}

/* t:unsqueeze(d): a dimension of size 1 put at place d (1 .. dim + 1; -1 behind the last). */
static int unsqueeze(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    int64_t shape[PK_MAX_DIMS];
    if (t->ndim == PK_MAX_DIMS) l_arg_error(L, 1, "the tensor has %d dimensions, the most there can be", PK_MAX_DIMS);
    int place = l_check_dim(L, 2, t->ndim + 1), n = 0;
    for (int d = 0; d <= t->ndim; d++) {
        if (d == place) shape[n++] = 1;
        if (d < t->ndim) shape[n++] = t->shape[d];
    }
    return run_reshape(L, 1, shape, n);
}

/* ---- order of dimensions ---- */

static int run_permute(lua_State *L, const int64_t *order, int n) {
    view_args a;
    begin(L, &a, "permute");
    set_list(L, &a, "dims", order, n);
    return run(L, &a, 1);
}

/* t:permute(order): dimension order[i] becomes dimension i. */
static int permute(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    int64_t order[PK_MAX_DIMS];
    int n = read_list(L, 2, "dims", "dimension", order);
    unsigned seen = 0;
    for (int i = 0; i < n; i++) {
        int64_t d = order[i];
        if (d == 0 || d > t->ndim || d < -t->ndim)
            l_arg_error(L, 2, "dimension %lld is not in 1..%d", (long long)d, t->ndim);
        order[i] = d > 0 ? d - 1 : d + t->ndim;
        seen |= 1u << order[i];
    }
    if (n != t->ndim || seen != (1u << n) - 1)
        l_arg_error(L, 2, "wants each of the dimensions 1..%d once, in the new order", t->ndim);
    return run_permute(L, order, n);
}

/* t:transpose(a, b): two dimensions exchanged; of a matrix both may be left out. */
static int transpose(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    int64_t order[PK_MAX_DIMS];
    bool matrix = lua_isnoneornil(L, 2) && t->ndim == 2;
    int a = matrix ? 0 : l_check_dim(L, 2, t->ndim), b = matrix ? 1 : l_check_dim(L, 3, t->ndim);
    for (int d = 0; d < t->ndim; d++) order[d] = d == a ? b : d == b ? a : d;
    return run_permute(L, order, t->ndim);
}

/* ---- parts ---- */

static int run_narrow(lua_State *L, int arg, int d, int64_t start, int64_t count) {
    view_args a;
    begin(L, &a, "narrow");
    set_number(L, &a, "dim", d);
    set_number(L, &a, "start", start);
    set_number(L, &a, "length", count);
    return run(L, &a, arg);
}

static int run_select(lua_State *L, int arg, int d, int64_t index) {
    view_args a;
    begin(L, &a, "select");
    set_number(L, &a, "dim", d);
    set_number(L, &a, "index", index);
    return run(L, &a, arg);
}

/* Put the fields of an option table at arg 2 in the places of positional arguments. */
static void spread(lua_State *L, const char *const *names, int n) {
    if (lua_type(L, 2) != LUA_TTABLE) return;
    for (int i = 0; i < n; i++) raw_field(L, 2, names[i]);
    lua_remove(L, 2);
}

/* A place counted from 1 or, if negative, from the end, as one counted from 0; -1 when there is none such. */
static int64_t place(int64_t i, int64_t size) {
    if (i > 0 && i <= size) return i - 1;
    return i < 0 && i >= -size ? i + size : -1;
}

/* t:narrow(d, first, count): count slices along d beginning with first. */
static int narrow(lua_State *L) {
    static const char *const names[] = {"dim", "start", "length"};
    const pk_tensor *t = l_check_tensor(L, 1);
    spread(L, names, 3);
    int d = l_check_dim(L, 2, t->ndim);
    int64_t first = l_check_int(L, 3, "first"), count = l_check_int(L, 4, "count"), size = t->shape[d];
    int64_t start = first == size + 1 && count == 0 ? size : place(first, size);
    if (start < 0) l_arg_error(L, 3, "first %lld is not in 1..%lld", (long long)first, (long long)size);
    if (count < 0 || count > size - start)
        l_arg_error(L, 4, "%lld slices from %lld on: dimension %d has %lld", (long long)count, (long long)first, d + 1,
                    (long long)size);
    return run_narrow(L, 1, d, start, count);
}

/* t:select(d, i): slice i along d, which is gone from the result. */
static int select_(lua_State *L) {
    static const char *const names[] = {"dim", "index"};
    const pk_tensor *t = l_check_tensor(L, 1);
    spread(L, names, 2);
    int d = l_check_dim(L, 2, t->ndim);
    int64_t i = l_check_int(L, 3, "index"), at = place(i, t->shape[d]);
    if (at < 0)
        l_arg_error(L, 3, "index %lld is not in 1..%lld (dimension %d)", (long long)i, (long long)t->shape[d], d + 1);
    return run_select(L, 1, d, at);
}

const luaL_Reg l_tensor_view_methods[] = {
    {"reshape", reshape},   {"view", view},           {"expand", expand}, {"flatten", flatten}, {"squeeze", squeeze},
    {"unsqueeze", unsqueeze}, {"permute", permute},   {"transpose", transpose}, {"narrow", narrow},
    {"select", select_},    {NULL, NULL},
};

/* ---- t[...] ---- */

/* What an index keeps of one dimension: `count` slices from `first` on, or one that takes the dimension away. */
typedef struct pick {
    int64_t first, count;
    bool gone;
} pick;

static int no_place(lua_State *L, int64_t i, int d, int64_t size) {
    return luaL_error(L, "index %I is out of range 1..%I of dimension %d", (lua_Integer)i, (lua_Integer)size, d + 1);
}

static void pick_one(lua_State *L, int64_t i, int d, int64_t size, pick *p) {
    *p = (pick){place(i, size), 1, true};
    if (p->first < 0) no_place(L, i, d, size);
}

/* {} all, {a} one slice (the dimension stays), {a, b} from a to b, both included; the table is at the stack's top. */
static void pick_range(lua_State *L, int d, int64_t size, pick *p) {
    int64_t bound[2] = {1, size};
    lua_Unsigned n = lua_rawlen(L, -1);
    *p = (pick){0, size, false};
    if (n == 0) return;
    if (n > 2) luaL_error(L, "index of dimension %d: {first, last} expected, got %I numbers", d + 1, (lua_Integer)n);
    for (int i = 0; i < 2; i++) {
        int ok = 0;
        lua_rawgeti(L, -1, n == 1 ? 1 : i + 1);
        if (lua_type(L, -1) == LUA_TNUMBER) bound[i] = lua_tointegerx(L, -1, &ok);
        if (!ok) luaL_error(L, "index of dimension %d: {first, last} wants integers, got %s", d + 1, l_given(L, -1));
        lua_pop(L, 1);
    }
    int64_t first = place(bound[0], size), last = place(bound[1], size);
    if (first < 0) no_place(L, bound[0], d, size);
    if (last < 0) no_place(L, bound[1], d, size);
    if (last < first)
        luaL_error(L, "index of dimension %d: {%I, %I} ends before it begins", d + 1, (lua_Integer)bound[0],
                   (lua_Integer)bound[1]);
    *p = (pick){first, last - first + 1, false};
}

/* Read the key at stack place 2 for tensor t; returns how many dimensions it speaks of. */
static int read_key(lua_State *L, const pk_tensor *t, pick *list) {
    if (lua_type(L, 2) != LUA_TTABLE) {
        int ok = 0;
        lua_Integer i = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &ok) : 0;
        if (!ok) luaL_error(L, "a tensor is indexed by an integer, a table of integers and ranges, or a name, not %s", l_given(L, 2));
        if (t->ndim == 0) luaL_error(L, "a scalar tensor cannot be indexed");
        pick_one(L, i, 0, t->shape[0], &list[0]);
        return 1;
    }
    lua_Unsigned n = lua_rawlen(L, 2);
    if (n > (lua_Unsigned)t->ndim) luaL_error(L, "%I indices for a tensor %s", (lua_Integer)n, pk_shape_text(t));
    for (int d = 0; d < (int)n; d++) {
        int ok = 0;
        int type = lua_rawgeti(L, 2, d + 1);
        lua_Integer i = type == LUA_TNUMBER ? lua_tointegerx(L, -1, &ok) : 0;
        if (ok) pick_one(L, i, d, t->shape[d], &list[d]);
        else if (type == LUA_TTABLE) pick_range(L, d, t->shape[d], &list[d]);
        else luaL_error(L, "index of dimension %d: an integer or a range {first, last} expected, got %s", d + 1, l_given(L, -1));
        lua_pop(L, 1);
    }
    return (int)n;
}

int l_tensor_get_index(lua_State *L) {
    pick list[PK_MAX_DIMS];
    const pk_tensor *t = l_check_tensor(L, 1);
    int n = read_key(L, t, list), gone = 0, at = 1;
    int64_t size[PK_MAX_DIMS];
    memcpy(size, t->shape, sizeof size);
    lua_pushvalue(L, 1);
    for (int d = 0; d < n; d++) {
        at = lua_gettop(L);
        if (list[d].gone) run_select(L, at, d - gone, list[d].first);
        else if (list[d].count != size[d]) run_narrow(L, at, d - gone, list[d].first, list[d].count);
        gone += list[d].gone;
    }
    return 1;
}

/* The window that the picks leave of t, written without the graph. */
static pk_status open_window(const pk_tensor *t, const pick *list, int n, pk_tensor **out) {
    int64_t shape[PK_MAX_DIMS], stride[PK_MAX_DIMS], offset = 0;
    int ndim = 0;
    for (int d = 0; d < t->ndim; d++) {
        if (d < n) offset += list[d].first * t->stride[d];
        if (d < n && list[d].gone) continue;
        shape[ndim] = d < n ? list[d].count : t->shape[d];
        stride[ndim++] = t->stride[d];
    }
    return pk_tensor_window(t, ndim, shape, stride, offset, out);
}

int l_tensor_set_index(lua_State *L) {
    pick list[PK_MAX_DIMS];
    pk_tensor *t = l_check_tensor(L, 1), *window = NULL;
    bool number = lua_type(L, 3) == LUA_TNUMBER;
    const pk_tensor *source = number ? NULL : l_test_object(L, 3, L_TENSOR);
    if (!number && source == NULL)
        return luaL_error(L, "a number or a tensor can be stored in a tensor, not %s", l_given(L, 3));
    int n = read_key(L, t, list);
    l_check(L, pk_check_writable("t[...] = v", t));
    pk_status status = open_window(t, list, n, &window);
    if (status == PK_OK) status = number ? pk_tensor_fill(window, lua_tonumber(L, 3)) : pk_tensor_copy(window, source);
    pk_tensor_release(window);
    l_check(L, status);
    return 0;
}
