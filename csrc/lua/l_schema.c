/* Option tables against schemas: what a parameter struct's list of fields says is all that is needed to read it from
 * Lua and to show it there. Tables are read raw, so no metamethod runs. */
#include "lua/l_bind.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"

static void *place(void *params, const pk_field *f) { return (char *)params + f->offset; }
static const void *const_place(const void *params, const pk_field *f) { return (const char *)params + f->offset; }

/* Places (dimensions, indices) count from 0 in parameter structs and from 1 in Lua; negatives, from the end, are the
 * same in both. */
static bool is_place(const pk_field *f) {
    return f->type == PK_DIM || f->type == PK_DIMS || f->type == PK_INDEX;
}

/* "conv2d: stride wants an integer or {h, w}, got 'x'". */
static int wants(lua_State *L, int index, const char *owner, const pk_field *f, const char *what) {
    return luaL_error(L, "%s: %s wants %s, got %s", owner, f->name, what, l_given(L, index));
}

static int64_t read_int(lua_State *L, int index, const char *owner, const pk_field *f, const char *what) {
    int ok = 0;
    lua_Integer n = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &ok) : 0;
    if (!ok) wants(L, index, owner, f, what);
    return n;
}

static int64_t read_place(lua_State *L, int index, const char *owner, const pk_field *f) {
    const char *what = f->type == PK_INDEX ? "a place, counted from 1" : "a dimension: 1 is the first, -1 the last";
    int64_t i = read_int(L, index, owner, f, what);
    if (i == 0 || (f->type == PK_DIM && (i > PK_MAX_DIMS || i < -PK_MAX_DIMS))) wants(L, index, owner, f, what);
    return i > 0 ? i - 1 : i;
}

static void push_place(lua_State *L, int64_t i) { lua_pushinteger(L, i >= 0 ? i + 1 : i); }

static double read_number(lua_State *L, int index, const char *owner, const pk_field *f, const char *what) {
    if (lua_type(L, index) != LUA_TNUMBER) wants(L, index, owner, f, what);
    return lua_tonumber(L, index);
}

static int read_choice(lua_State *L, int index, const char *owner, const pk_field *f) {
    const char *what = lua_pushfstring(L, "one of %s", f->choices);
    int i = lua_type(L, index) == LUA_TSTRING ? pk_choice_find(f->choices, lua_tostring(L, index)) : -1;
    if (i < 0) wants(L, index, owner, f, what);
    lua_pop(L, 1);
    return i;
}

static void read_pair(lua_State *L, int index, const char *owner, const pk_field *f, int64_t *pair) {
    const char *what = f->type == PK_PADDING ? "\"same\", an integer or {h, w}" : "an integer or {h, w}";
    if (f->type == PK_PADDING && lua_type(L, index) == LUA_TSTRING && strcmp(lua_tostring(L, index), "same") == 0) {
        pair[0] = pair[1] = PK_SAME;
        return;
    }
    if (lua_type(L, index) != LUA_TTABLE) {
        pair[0] = pair[1] = read_int(L, index, owner, f, what);
        return;
    }
    if (lua_rawlen(L, index) != 2) wants(L, index, owner, f, what);
    for (int i = 0; i < 2; i++) {
        lua_rawgeti(L, index, i + 1);
        pair[i] = read_int(L, -1, owner, f, what);
        lua_pop(L, 1);
    }
}

/* How many elements the list at index has, one for a lone value; at most max. */
static int list_length(lua_State *L, int index, const char *owner, const pk_field *f, int max) {
    if (lua_type(L, index) != LUA_TTABLE) return 1;
    lua_Unsigned n = lua_rawlen(L, index);
    if (n > (lua_Unsigned)max) luaL_error(L, "%s: %s has %I elements, at most %d fit", owner, f->name, (lua_Integer)n, max);
    return (int)n;
}

static void push_element(lua_State *L, int index, int i) {
    if (lua_type(L, index) == LUA_TTABLE) lua_rawgeti(L, index, i + 1);
    else lua_pushvalue(L, index);
}

static void read_ints(lua_State *L, int index, const char *owner, const pk_field *f, pk_ints *list) {
    int n = list_length(L, index, owner, f, PK_MAX_LIST);
    for (int i = 0; i < n; i++) {
        push_element(L, index, i);
        if (f->type == PK_ENUMS) {
            list->v[i] = read_choice(L, lua_gettop(L), owner, f);
        } else {
            int64_t v = is_place(f) ? read_place(L, -1, owner, f)
                                    : read_int(L, -1, owner, f, "an integer or a list of integers");
            if (v < INT32_MIN || v > INT32_MAX) wants(L, -1, owner, f, "integers of 32 bits");
            list->v[i] = (int32_t)v;
        }
        lua_pop(L, 1);
    }
    list->n = n;
}

static void read_floats(lua_State *L, int index, const char *owner, const pk_field *f, pk_floats *list) {
    int n = list_length(L, index, owner, f, PK_MAX_STAGES);
    for (int i = 0; i < n; i++) {
        push_element(L, index, i);
        list->v[i] = read_number(L, -1, owner, f, "a number or a list of numbers");
        lua_pop(L, 1);
    }
    list->n = n;
}

/* {1,1,2} is one grid; {{1,1},{1,2}} one a stage. */
static void read_grids(lua_State *L, int index, const char *owner, const pk_field *f, pk_grids *grids) {
    bool nested = false;
    if (lua_type(L, index) != LUA_TTABLE) wants(L, index, owner, f, "a list of integers, or a list of such lists");
    nested = lua_rawgeti(L, index, 1) == LUA_TTABLE;
    lua_pop(L, 1);
    if (!nested) {
        read_ints(L, index, owner, f, &grids->v[0]);
        grids->n = grids->v[0].n > 0;
        return;
    }
    int n = list_length(L, index, owner, f, PK_MAX_STAGES);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, index, i + 1);
        if (lua_type(L, -1) != LUA_TTABLE) wants(L, -1, owner, f, "a list of lists of integers");
        read_ints(L, lua_gettop(L), owner, f, &grids->v[i]);
        lua_pop(L, 1);
    }
    grids->n = n;
}

static void read_text(lua_State *L, int index, const char *owner, const pk_field *f, char *text) {
    size_t n = 0;
    const char *s = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &n) : NULL;
    if (s == NULL || n >= 64 || strlen(s) != n) wants(L, index, owner, f, "a string of at most 63 bytes");
    memcpy(text, s, n + 1);
}

void l_read_field(lua_State *L, int index, const char *owner, const pk_field *f, void *params) {
    index = lua_absindex(L, index);
    luaL_checkstack(L, 8, "options");
    void *p = place(params, f);
    switch (f->type) {
    case PK_BOOL:
        if (lua_type(L, index) != LUA_TBOOLEAN) wants(L, index, owner, f, "true or false");
        *(bool *)p = lua_toboolean(L, index);
        break;
    case PK_INT: *(int64_t *)p = read_int(L, index, owner, f, "an integer"); break;
    case PK_SEED: *(uint64_t *)p = (uint64_t)read_int(L, index, owner, f, "an integer"); break;
    case PK_FLOAT: *(double *)p = read_number(L, index, owner, f, "a number"); break;
    case PK_ENUM: *(int *)p = read_choice(L, index, owner, f); break;
    case PK_PAIR:
    case PK_PADDING: read_pair(L, index, owner, f, p); break;
    case PK_DIM:
    case PK_INDEX: *(int64_t *)p = read_place(L, index, owner, f); break;
    case PK_INTS:
    case PK_DIMS:
    case PK_ENUMS: read_ints(L, index, owner, f, p); break;
    case PK_FLOATS: read_floats(L, index, owner, f, p); break;
    case PK_GRIDS: read_grids(L, index, owner, f, p); break;
    case PK_TEXT: read_text(L, index, owner, f, p); break;
    }
}

/* ---- whole tables ---- */

/* "are a, b, c" or "are none": for messages; pushes the text. */
static const char *known_fields(lua_State *L, const pk_field *fields, int count) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, count > 0 ? "are " : "are none");
    for (int i = 0; i < count; i++) {
        if (i > 0) luaL_addstring(&b, ", ");
        luaL_addstring(&b, fields[i].name);
    }
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

int l_unknown_option(lua_State *L, const char *owner, const pk_field *fields, int count) {
    if (lua_type(L, -2) != LUA_TSTRING)
        return luaL_error(L, "%s: options have names, got the key %s", owner, l_given(L, -2));
    const char *near = pk_schema_nearest(fields, count, lua_tostring(L, -2));
    if (near != NULL) return luaL_error(L, "%s: unknown option %s (did you mean '%s'?)", owner, l_given(L, -2), near);
    const char *given = l_given(L, -2);
    return luaL_error(L, "%s: unknown option %s (there %s)", owner, given, known_fields(L, fields, count));
}

void l_read_table(lua_State *L, int index, const char *owner, const pk_field *fields, int count, void *params,
                  uint64_t *seen) {
    index = lua_absindex(L, index);
    luaL_checkstack(L, 8, "options");
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const pk_field *f = lua_type(L, -2) == LUA_TSTRING ? pk_schema_find(fields, count, lua_tostring(L, -2)) : NULL;
        if (f == NULL) l_unknown_option(L, owner, fields, count);
        l_read_field(L, -1, owner, f, params);
        *seen |= (uint64_t)1 << (f - fields);
    }
}

void l_read_end(lua_State *L, const char *owner, const pk_field *fields, int count, void *params, uint64_t seen) {
    for (int i = 0; i < count; i++)
        if (fields[i].required && !(seen >> i & 1))
            luaL_error(L, "%s: option '%s' is required (%s)", owner, fields[i].name, fields[i].doc ? fields[i].doc : "");
    l_check(L, pk_schema_check(owner, fields, count, params));
    for (int i = 0; i < count; i++)
        if (fields[i].type == PK_SEED && !(seen >> i & 1)) *(uint64_t *)place(params, &fields[i]) = pk_random_stream();
}

void l_read_options(lua_State *L, int arg, const char *owner, const pk_field *fields, int count, void *params, size_t size) {
    uint64_t seen = 0;
    pk_schema_defaults(fields, count, params, size);
    if (!lua_isnoneornil(L, arg)) {
        luaL_checktype(L, arg, LUA_TTABLE);
        l_read_table(L, arg, owner, fields, count, params, &seen);
    }
    l_read_end(L, owner, fields, count, params, seen);
}

void *l_new_params(lua_State *L, const pk_field *fields, int count, size_t size) {
    void *params = lua_newuserdatauv(L, size > 0 ? size : 1, 0);
    pk_schema_defaults(fields, count, params, size);
    return params;
}

/* ---- the way back ---- */

static void push_choice(lua_State *L, const pk_field *f, int i) {
    char text[64];
    lua_pushstring(L, pk_choice_name(f->choices, i, text, sizeof text));
}

static void push_ints(lua_State *L, const pk_field *f, const pk_ints *list) {
    lua_createtable(L, list->n, 0);
    for (int i = 0; i < list->n; i++) {
        if (f->type == PK_ENUMS) push_choice(L, f, list->v[i]);
        else if (is_place(f)) push_place(L, list->v[i]);
        else lua_pushinteger(L, list->v[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static void push_pair(lua_State *L, const pk_field *f, const int64_t *pair) {
    if (f->type == PK_PADDING && pair[0] == PK_SAME) {
        lua_pushliteral(L, "same");
    } else if (pair[0] == pair[1]) {
        lua_pushinteger(L, pair[0]);
    } else {
        lua_createtable(L, 2, 0);
        for (int i = 0; i < 2; i++) {
            lua_pushinteger(L, pair[i]);
            lua_rawseti(L, -2, i + 1);
        }
    }
}

static void push_floats(lua_State *L, const pk_floats *list) {
    lua_createtable(L, list->n, 0);
    for (int i = 0; i < list->n; i++) {
        lua_pushnumber(L, list->v[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static void push_grids(lua_State *L, const pk_field *f, const pk_grids *grids) {
    lua_createtable(L, grids->n, 0);
    for (int i = 0; i < grids->n; i++) {
        push_ints(L, f, &grids->v[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static void push_field(lua_State *L, const pk_field *f, const void *params) {
    const void *p = const_place(params, f);
    switch (f->type) {
    case PK_BOOL: lua_pushboolean(L, *(const bool *)p); break;
    case PK_INT: lua_pushinteger(L, *(const int64_t *)p); break;
    case PK_DIM:
    case PK_INDEX: push_place(L, *(const int64_t *)p); break;
    case PK_SEED: lua_pushinteger(L, (lua_Integer) * (const uint64_t *)p); break;
    case PK_FLOAT: lua_pushnumber(L, *(const double *)p); break;
    case PK_ENUM: push_choice(L, f, *(const int *)p); break;
    case PK_PAIR:
    case PK_PADDING: push_pair(L, f, p); break;
    case PK_INTS:
    case PK_DIMS:
    case PK_ENUMS: push_ints(L, f, p); break;
    case PK_FLOATS: push_floats(L, p); break;
    case PK_GRIDS: push_grids(L, f, p); break;
    case PK_TEXT: lua_pushstring(L, p); break;
    }
}

void l_push_options(lua_State *L, const pk_field *fields, int count, const void *params) {
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        push_field(L, &fields[i], params);
        lua_setfield(L, -2, fields[i].name);
    }
}

static const char *const type_names[] = {
    [PK_BOOL] = "boolean", [PK_INT] = "integer",     [PK_FLOAT] = "number",   [PK_ENUM] = "choice",
    [PK_PAIR] = "pair",    [PK_PADDING] = "padding", [PK_DIM] = "dimension",  [PK_INTS] = "integers",
    [PK_FLOATS] = "numbers", [PK_ENUMS] = "choices", [PK_GRIDS] = "grids",    [PK_SEED] = "seed",
    [PK_TEXT] = "text",      [PK_DIMS] = "dimensions", [PK_INDEX] = "place",
};

static void push_limits(lua_State *L, const pk_field *f) {
    if ((f->min == 0 && f->max == 0) || is_place(f)) return;
    lua_pushnumber(L, f->min);
    lua_setfield(L, -2, "min");
    lua_pushnumber(L, f->max);
    lua_setfield(L, -2, "max");
}

void l_push_schema(lua_State *L, const pk_field *fields, int count) {
    size_t size = 1;
    for (int i = 0; i < count; i++) /* the largest field type bounds what the last one takes */
        if (fields[i].offset + sizeof(pk_grids) > size) size = fields[i].offset + sizeof(pk_grids);
    const void *params = l_new_params(L, fields, count, size);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        const pk_field *f = &fields[i];
        lua_createtable(L, 0, 8);
        lua_pushstring(L, f->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, type_names[f->type]);
        lua_setfield(L, -2, "type");
        lua_pushstring(L, f->doc ? f->doc : "");
        lua_setfield(L, -2, "doc");
        lua_pushboolean(L, f->required);
        lua_setfield(L, -2, "required");
        if (f->choices != NULL) {
            lua_pushstring(L, f->choices);
            lua_setfield(L, -2, "choices");
        }
        if (!f->required && f->type != PK_SEED) {
            push_field(L, f, params);
            lua_setfield(L, -2, "default");
        }
        push_limits(L, f);
        lua_rawseti(L, -2, i + 1);
    }
    lua_remove(L, -2); /* the defaults */
}
