/* Making tensors: from Lua tables, constants, ranges and random numbers. Shapes come as a table or as numbers, options
 * as a trailing table or as named fields of the shape's own table: zeros(2, 3), zeros{2, 3}, zeros({2, 3},
 * {dtype = "int32"}), zeros{2, 3, dtype = "int32"}. */
#include "lua/l_bind.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/checked.h"
#include "core/pool.h"
#include "core/rng.h"

typedef struct make_options {
    int dtype;
    bool requires_grad;
} make_options;

static const pk_field make_fields[] = {
    {.name = "dtype", .type = PK_ENUM, .offset = offsetof(make_options, dtype), .choices = "float32|int32|uint8",
     .doc = "type of the elements"},
    {.name = "requires_grad", .type = PK_BOOL, .offset = offsetof(make_options, requires_grad),
     .doc = "a leaf whose gradient is wanted"},
};
#define MAKE_FIELDS ((int)(sizeof make_fields / sizeof *make_fields))

/* Read the named fields of the table at index (its list part is something else), if it is a table. */
static void read_named(lua_State *L, int index, const char *owner, make_options *o) {
    if (lua_type(L, index) != LUA_TTABLE) return;
    index = lua_absindex(L, index);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_isinteger(L, -2)) continue;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        const pk_field *f = pk_schema_find(make_fields, MAKE_FIELDS, name);
        if (f == NULL) l_unknown_option(L, owner, make_fields, MAKE_FIELDS);
        l_read_field(L, -1, owner, f, o);
    }
}

static make_options read_make_options(lua_State *L, int arg, const char *owner, make_options o) {
    if (lua_isnoneornil(L, arg)) return o;
    luaL_checktype(L, arg, LUA_TTABLE);
    if (lua_rawlen(L, arg) > 0) l_arg_error(L, arg, "an option table has named fields only");
    read_named(L, arg, owner, &o);
    return o;
}

/* Where a shape at arg ends: the next argument. */
static int after_shape(lua_State *L, int arg) {
    if (lua_type(L, arg) == LUA_TTABLE) return arg + 1;
    while (lua_type(L, arg) == LUA_TNUMBER) arg++;
    return arg;
}

/* Push a new tensor with the shape at arg and the options in or after it; its elements are not set yet. */
static pk_tensor *new_from_shape(lua_State *L, int arg, const char *owner, int default_dtype) {
    int64_t shape[PK_MAX_DIMS];
    if (lua_isnoneornil(L, arg)) l_arg_error(L, arg, "a shape expected, got %s", luaL_typename(L, arg));
    make_options o = {.dtype = default_dtype};
    int ndim = l_check_shape(L, arg, shape);
    read_named(L, arg, owner, &o);
    o = read_make_options(L, after_shape(L, arg), owner, o);
    if (o.requires_grad && o.dtype != PK_FLOAT32) luaL_error(L, "%s: only float32 tensors can require gradients", owner);
    pk_tensor *t = NULL;
    pk_status status;
    L_RETRY(L, status, pk_tensor_new((pk_dtype)o.dtype, ndim, shape, &t));
    l_check(L, status);
    t->requires_grad = o.requires_grad;
    l_push_tensor(L, t);
    return t;
}

/* Element i of a new tensor. */
static void store(pk_tensor *t, int64_t i, double value) {
    switch (t->dtype) {
    case PK_FLOAT32: pk_f32(t)[i] = (float)value; break;
    case PK_INT32: pk_i32(t)[i] = (int32_t)fmin(fmax(value, INT32_MIN), INT32_MAX); break;
    case PK_UINT8: pk_u8(t)[i] = (uint8_t)fmin(fmax(value, 0), UINT8_MAX); break;
    }
}

/* empty(shape): elements are whatever was in memory. */
static int make_empty(lua_State *L) {
    new_from_shape(L, 1, "empty", PK_FLOAT32);
    return 1;
}

static int make_constant(lua_State *L, const char *owner, double value) {
    l_check(L, pk_tensor_fill(new_from_shape(L, 1, owner, PK_FLOAT32), value));
    return 1;
}

static int make_zeros(lua_State *L) { return make_constant(L, "zeros", 0); }
static int make_ones(lua_State *L) { return make_constant(L, "ones", 1); }

/* full(shape table, value, options?) */
static int make_full(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    double value = luaL_checknumber(L, 2);
    lua_remove(L, 2); /* shape and options side by side */
    l_check(L, pk_tensor_fill(new_from_shape(L, 1, "full", PK_FLOAT32), value));
    return 1;
}

/* ---- random numbers: a fresh stream a call, element i its i-th value ---- */

typedef struct random_fill {
    float *data;
    int64_t n, chunks;
    uint64_t stream;
    bool normal;
} random_fill;

static void fill_chunk(void *context, int64_t chunk, int worker) {
    (void)worker;
    const random_fill *f = context;
    int64_t end = pk_chunk_begin(f->n, f->chunks, chunk + 1);
    for (int64_t i = pk_chunk_begin(f->n, f->chunks, chunk); i < end; i++)
        f->data[i] = f->normal ? pk_random_normal(f->stream, (uint64_t)i) : pk_random_uniform(f->stream, (uint64_t)i);
}

static int make_random(lua_State *L, const char *owner, bool normal) {
    pk_tensor *t = new_from_shape(L, 1, owner, PK_FLOAT32);
    if (t->dtype != PK_FLOAT32) return luaL_error(L, "%s: only float32, got %s", owner, pk_dtype_name(t->dtype));
    random_fill f = {.data = pk_f32(t), .n = pk_numel(t), .normal = normal, .stream = pk_random_stream()};
    if (f.n == 0) return 1;
    f.chunks = pk_chunks(f.n, 16384);
    pk_parallel(f.chunks, fill_chunk, &f);
    return 1;
}

static int make_rand(lua_State *L) { return make_random(L, "rand", false); }
static int make_randn(lua_State *L) { return make_random(L, "randn", true); }

/* randint(first, last, shape, options?): integers first..last, both ends possible (as math.random); int32. */
static int make_randint(lua_State *L) {
    int64_t first = l_check_int(L, 1, "first"), last = l_check_int(L, 2, "last");
    if (first < INT32_MIN || last > INT32_MAX || first > last)
        l_arg_error(L, 2, "first..last must be a range of 32-bit integers, got %lld..%lld", (long long)first,
                    (long long)last);
    if (last - first >= UINT32_MAX) l_arg_error(L, 2, "range too large");
    pk_tensor *t = new_from_shape(L, 3, "randint", PK_INT32);
    uint64_t stream = pk_random_stream();
    int64_t n = pk_numel(t);
    for (int64_t i = 0; i < n; i++)
        store(t, i, (double)(first + pk_random_below(stream, (uint64_t)i, (uint32_t)(last - first + 1))));
    return 1;
}

/* randperm(n): the integers 1..n in random order; int32. */
static int make_randperm(lua_State *L) {
    int64_t n = l_check_int(L, 1, "n");
    if (n < 0 || n > INT32_MAX) l_arg_error(L, 1, "n must be 0..2^31-1, got %lld", (long long)n);
    pk_tensor *t = NULL;
    pk_status status;
    L_RETRY(L, status, pk_tensor_new(PK_INT32, 1, &n, &t));
    l_check(L, status);
    l_push_tensor(L, t);
    if (n == 0) return 1;
    pk_random_permutation(pk_random_stream(), (int32_t)n, pk_i32(t));
    for (int64_t i = 0; i < n; i++) pk_i32(t)[i]++;
    return 1;
}

/* ---- ranges ---- */

/* arange(last) counts 1..last; arange(first, last, step = 1) is Lua's own `for i = first, last, step`, end included. */
static int make_arange(lua_State *L) {
    int narg = 1;
    while (narg < 3 && lua_type(L, narg + 1) == LUA_TNUMBER) narg++;
    double first = narg == 1 ? 1 : luaL_checknumber(L, 1);
    double last = luaL_checknumber(L, narg == 1 ? 1 : 2), step = narg == 3 ? lua_tonumber(L, 3) : 1;
    double steps = floor((last - first) / step * (1 + 1e-12));
    if (step == 0 || !isfinite(step) || !isfinite(first) || !isfinite(last))
        return luaL_error(L, "arange: wants finite numbers and a step other than 0, got %f, %f, %f", first, last, step);
    if (steps > 1e15) return luaL_error(L, "arange: %f to %f by %f are too many numbers", first, last, step);
    int64_t n = steps < 0 ? 0 : (int64_t)steps + 1;
    lua_rotate(L, 1, -narg); /* options to the front, the numbers out of the way */
    lua_settop(L, lua_gettop(L) - narg);
    if (lua_isnil(L, 1)) lua_remove(L, 1);
    make_options o = read_make_options(L, 1, "arange", (make_options){.dtype = PK_FLOAT32});
    pk_tensor *t = NULL;
    pk_status status;
    L_RETRY(L, status, pk_tensor_new((pk_dtype)o.dtype, 1, &n, &t));
    l_check(L, status);
    t->requires_grad = o.requires_grad && o.dtype == PK_FLOAT32;
    l_push_tensor(L, t);
    for (int64_t i = 0; i < n; i++) store(t, i, first + (double)i * step);
    return 1;
}

/* eye(n, m = n): ones where row and column are equal. */
static int make_eye(lua_State *L) {
    int64_t shape[PK_MAX_DIMS] = {0};
    make_options o = {.dtype = PK_FLOAT32};
    int given = l_check_shape(L, 1, shape);
    read_named(L, 1, "eye", &o);
    if (given < 1 || given > 2) l_arg_error(L, 1, "eye wants n or n, m");
    if (given == 1) shape[1] = shape[0];
    o = read_make_options(L, after_shape(L, 1), "eye", o);
    pk_tensor *t = NULL;
    pk_status status;
    L_RETRY(L, status, pk_tensor_zeros((pk_dtype)o.dtype, 2, shape, &t));
    l_check(L, status);
    t->requires_grad = o.requires_grad && o.dtype == PK_FLOAT32;
    l_push_tensor(L, t);
    for (int64_t i = 0; i < shape[0] && i < shape[1]; i++) store(t, i * shape[1] + i, 1);
    return 1;
}

/* ---- from tables ---- */

/* Put the number at the stack's top into element i. int32 and uint8 take integers of their range only. */
static void put_number(lua_State *L, pk_tensor *t, int64_t i) {
    if (lua_type(L, -1) != LUA_TNUMBER) luaL_error(L, "tensor: element %I is %s, not a number", (lua_Integer)i + 1, l_given(L, -1));
    if (t->dtype == PK_FLOAT32) {
        pk_f32(t)[i] = (float)lua_tonumber(L, -1);
        return;
    }
    int ok;
    lua_Integer v = lua_tointegerx(L, -1, &ok);
    bool fits = ok && (t->dtype == PK_UINT8 ? v >= 0 && v <= 255 : v >= INT32_MIN && v <= INT32_MAX);
    if (!fits) luaL_error(L, "tensor: element %I is %s, not %s", (lua_Integer)i + 1, l_given(L, -1), pk_dtype_name(t->dtype));
    if (t->dtype == PK_UINT8) pk_u8(t)[i] = (uint8_t)v;
    else pk_i32(t)[i] = (int32_t)v;
}

/* The shape that the first elements of nested tables tell. */
static int nested_shape(lua_State *L, int index, int64_t shape[PK_MAX_DIMS]) {
    int ndim = 0;
    lua_pushvalue(L, index);
    while (lua_type(L, -1) == LUA_TTABLE) {
        if (ndim == PK_MAX_DIMS) luaL_error(L, "tensor: tables nested deeper than %d", PK_MAX_DIMS);
        shape[ndim++] = (int64_t)lua_rawlen(L, -1);
        lua_rawgeti(L, -1, 1);
        lua_remove(L, -2);
    }
    lua_pop(L, 1);
    return ndim;
}

/* Fill from the (nested) value at the stack's top; next counts elements. */
static void fill_nested(lua_State *L, pk_tensor *t, int d, int64_t *next) {
    if (d == t->ndim) {
        put_number(L, t, (*next)++);
        return;
    }
    if (lua_type(L, -1) != LUA_TTABLE)
        luaL_error(L, "tensor: element %I is %s, expected a table of %I (dimension %d)", (lua_Integer)*next + 1,
                   l_given(L, -1), (lua_Integer)t->shape[d], d + 1);
    if ((int64_t)lua_rawlen(L, -1) != t->shape[d])
        luaL_error(L, "tensor: ragged tables: %I elements where the first has %I (dimension %d)",
                   (lua_Integer)lua_rawlen(L, -1), (lua_Integer)t->shape[d], d + 1);
    for (int64_t i = 0; i < t->shape[d]; i++) {
        lua_rawgeti(L, -1, i + 1);
        fill_nested(L, t, d + 1, next);
        lua_pop(L, 1);
    }
}

static void fill_flat(lua_State *L, int index, pk_tensor *t, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        lua_rawgeti(L, index, i + 1);
        put_number(L, t, i);
        lua_pop(L, 1);
    }
}

/* tensor(t): a copy, of the dtype in the options or t's own. */
static int copy_tensor(lua_State *L) {
    make_options o = read_make_options(L, 2, "tensor", (make_options){.dtype = (int)l_check_tensor(L, 1)->dtype});
    pk_tensor *t = NULL;
    pk_status status; /* the tensor is looked up each time: options and reclaiming run finalisers */
    L_RETRY(L, status, pk_tensor_new((pk_dtype)o.dtype, l_check_tensor(L, 1)->ndim, l_check_tensor(L, 1)->shape, &t));
    l_check(L, status);
    t->requires_grad = o.requires_grad && o.dtype == PK_FLOAT32;
    l_push_tensor(L, t);
    l_check(L, pk_tensor_copy(t, l_check_tensor(L, 1)));
    return 1;
}

static bool names_options(lua_State *L, int arg) {
    return lua_type(L, arg) == LUA_TTABLE && lua_rawlen(L, arg) == 0 && (lua_pushnil(L), lua_next(L, arg) != 0) &&
           (lua_pop(L, 2), true);
}

/* tensor(nested, options?) | tensor(flat, shape, options?) | tensor(number) | tensor(tensor): a new tensor, float32
 * unless the options say otherwise. Ragged tables and elements that are no numbers are errors. */
static int make_tensor(lua_State *L) {
    int64_t shape[PK_MAX_DIMS], numel = 1;
    if (l_test_object(L, 1, L_TENSOR) != NULL) return copy_tensor(L);
    if (lua_type(L, 1) != LUA_TNUMBER) luaL_checktype(L, 1, LUA_TTABLE);
    bool flat = !lua_isnoneornil(L, 2) && !names_options(L, 2);
    if (flat) luaL_checktype(L, 2, LUA_TTABLE);
    int ndim = flat ? l_check_shape(L, 2, shape) : nested_shape(L, 1, shape);
    make_options o = read_make_options(L, flat ? 3 : 2, "tensor", (make_options){.dtype = PK_FLOAT32});
    for (int i = 0; i < ndim; i++)
        if (!pk_mul_ok(numel, shape[i], &numel)) l_arg_error(L, 2, "%s has too many elements", pk_dims_text(ndim, shape));
    if (flat) {
        luaL_checktype(L, 1, LUA_TTABLE);
        if ((int64_t)lua_rawlen(L, 1) != numel)
            l_arg_error(L, 1, "shape %s wants %lld elements, got %lld", pk_dims_text(ndim, shape), (long long)numel,
                        (long long)lua_rawlen(L, 1));
    }
    luaL_checkstack(L, PK_MAX_DIMS + 8, "tensor");
    pk_tensor *t = NULL;
    pk_status status;
    L_RETRY(L, status, pk_tensor_new((pk_dtype)o.dtype, ndim, shape, &t));
    l_check(L, status);
    l_push_tensor(L, t);
    t->requires_grad = o.requires_grad && o.dtype == PK_FLOAT32;
    if (flat) {
        fill_flat(L, 1, t, numel);
    } else {
        int64_t next = 0;
        lua_pushvalue(L, 1);
        fill_nested(L, t, 0, &next);
        lua_pop(L, 1);
    }
    return 1;
}

const luaL_Reg l_tensor_make_functions[] = {
    {"tensor", make_tensor}, {"zeros", make_zeros},     {"ones", make_ones},         {"full", make_full},
    {"empty", make_empty},   {"rand", make_rand},       {"randn", make_randn},       {"randint", make_randint},
    {"randperm", make_randperm}, {"arange", make_arange}, {"eye", make_eye},       {NULL, NULL},
};
