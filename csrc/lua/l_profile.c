/* What a model costs, module by module: counted (pelk.core.count) or measured (pelk.core.profile). */
#include "lua/l_bind.h"

#include <math.h>
#include <string.h>

#include "nn/profile.h"

typedef struct rows {
    lua_State *L;
    const pk_profile *profile;
    bool *seen; /* one a row of the profile */
    lua_Integer n;
} rows;

static void set_number(lua_State *L, const char *key, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, int64_t value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

static void set_string(lua_State *L, const char *key, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

/* The weights that sparsity may zero: those of convolutions and linear layers, not of norms, biases, position maps. */
static bool is_weight(const pk_slot *slot) { return strcmp(slot->name, "weight") == 0 && slot->tensor->ndim >= 2; }

/* Own parameters: all, those that sparsity may zero, those of them that are zero. A module that stands in several places has
 * them at the first. */
static void set_params(lua_State *L, const pk_module *m, bool first) {
    int64_t all = 0, weights = 0, zeros = 0;
    for (int i = 0; i < m->nslots && first; i++) {
        const pk_slot *slot = &m->slot[i];
        if (slot->buffer || slot->shared) continue;
        int64_t n = pk_numel(slot->tensor);
        all += n;
        if (!is_weight(slot)) continue;
        weights += n;
        zeros += n - pk_count_active(slot->tensor);
    }
    set_integer(L, "own_params", all);
    set_integer(L, "own_weights", weights);
    set_integer(L, "own_zeros", zeros);
}

static void set_macs(lua_State *L, const pk_macs *macs) {
    set_number(L, "macs_paper", macs->paper);
    set_number(L, "macs_dense", macs->dense);
    set_number(L, "macs_in_image", macs->in_image);
    set_number(L, "macs_run", macs->run);
}

static void set_shape(lua_State *L, const pk_profile_row *row) {
    lua_createtable(L, row->ndim, 0);
    for (int d = 0; d < row->ndim; d++) {
        lua_pushinteger(L, row->shape[d]);
        lua_rawseti(L, -2, d + 1);
    }
    lua_setfield(L, -2, "shape");
}

static pk_status push_row(void *context, const char *path, pk_module *m, int depth) {
    rows *r = context;
    lua_State *L = r->L;
    static const pk_profile_row none;
    const pk_profile_row *row = pk_profile_find(r->profile, m);
    char text[160] = "";
    bool first = !row || !r->seen[row - r->profile->row];
    if (row) r->seen[row - r->profile->row] = true;
    else row = &none;
    if (m->cls->describe) m->cls->describe(m, text, sizeof text);
    lua_createtable(L, 0, 16);
    set_string(L, "path", path);
    set_string(L, "class", m->cls->name);
    set_string(L, "text", text);
    set_integer(L, "depth", depth);
    set_integer(L, "calls", row->calls);
    set_number(L, "seconds", row->seconds);
    set_params(L, m, first);
    set_macs(L, &row->macs);
    if (row->calls) set_shape(L, row);
    lua_rawseti(L, -2, ++r->n);
    return PK_OK;
}

static int push_rows(lua_State *L) {
    rows r = {.L = L, .profile = lua_touserdata(L, 2)};
    size_t bytes = (size_t)r.profile->count * sizeof *r.seen;
    r.seen = memset(lua_newuserdatauv(L, bytes + 1, 0), 0, bytes + 1);
    lua_newtable(L);
    pk_module_each(lua_touserdata(L, 1), push_row, &r);
    return 1;
}

/* The profile's rows as a list, and its end; filled: how making it went. Gives up the reference to the
 * module and leaves the core. */
static int finish(lua_State *L, lua_State *outer, pk_module *m, pk_profile *p, pk_status filled) {
    int status = LUA_OK;
    if (filled == PK_OK) {
        lua_pushcfunction(L, push_rows);
        lua_pushlightuserdata(L, m);
        lua_pushlightuserdata(L, p);
        status = lua_pcall(L, 2, 1, 0);
        pk_profile_free(p);
    }
    pk_module_release(m);
    l_leave(outer);
    l_check(L, filled);
    return status == LUA_OK ? 1 : lua_error(L);
}

/*** profile(module, x) -> list of {path, class, text, depth, calls, seconds, own_params, own_weights, own_zeros, shape}, in
 * tree order: one forward of x, measured. */
static int profile(lua_State *L) {
    pk_module *m = l_check_module(L, 1);
    pk_tensor *x = l_check_tensor(L, 2);
    pk_profile p;
    luaL_checkstack(L, 8, "profile");
    lua_State *outer = l_enter(L);
    pk_module_retain(m); /* a Lambda's function may free what it runs in */
    pk_tensor_retain(x);
    pk_status status = pk_profile_run(&p, m, x);
    pk_tensor_release(x);
    return finish(L, outer, m, &p, status);
}

/*** count(module, shape, density?) -> the same list with macs_paper, macs_dense, macs_in_image, macs_run instead of seconds:
 * a forward of an input of that shape, counted and not computed. Without a density it is that of each weight. */
static int count(lua_State *L) {
    pk_module *m = l_check_module(L, 1);
    int64_t shape[PK_MAX_DIMS];
    luaL_checktype(L, 2, LUA_TTABLE);
    int ndim = l_check_shape(L, 2, shape);
    double density = lua_isnoneornil(L, 3) ? NAN : luaL_checknumber(L, 3);
    pk_profile p;
    luaL_checkstack(L, 8, "count");
    lua_State *outer = l_enter(L);
    pk_module_retain(m);
    pk_status status = pk_profile_count(&p, m, ndim, shape, density);
    return finish(L, outer, m, &p, status);
}

/*** blank(f, ...) -> what f returns: modules that it makes have parameters without values, to be counted only. */
static int blank(lua_State *L) {
    luaL_checkany(L, 1);
    bool was = pk_module_set_blank(true);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    pk_module_set_blank(was);
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static const luaL_Reg functions[] = {{"profile", profile}, {"count", count}, {"blank", blank}, {NULL, NULL}};

void l_open_profile(lua_State *L) { luaL_setfuncs(L, functions, 0); }
