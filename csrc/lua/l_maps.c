/* Maps of a picture's pixels from Lua: receptive fields, components, boxes. */
#include "lua/l_bind.h"

#include "viz/boxes.h"
#include "viz/erf.h"
#include "viz/map.h"
#include "viz/principal.h"

static int push(lua_State *L, pk_status status, pk_tensor *t) {
    l_check(L, status);
    l_push_tensor(L, t);
    return 1;
}

/* ---- effective receptive fields ---- */

/* What makes one map of another. */
static int map_of_map(lua_State *L, pk_status (*make)(const pk_tensor *map, pk_tensor **out)) {
    pk_tensor *out = NULL;
    pk_status status; /* here and below: reclaiming memory runs finalisers, so tensors are looked up each time */
    L_RETRY(L, status, make(l_check_tensor(L, 1), &out));
    return push(L, status, out);
}

/* erf_normalize(map) -> log10(1 + map) divided by its maximum */
static int erf_normalize(lua_State *L) { return map_of_map(L, pk_erf_normalize); }

/* erf_side(map, share) -> side of the least centred square that holds more than that share, or nil */
static int erf_side(lua_State *L) {
    int64_t side;
    l_check(L, pk_erf_side(l_check_tensor(L, 1), luaL_checknumber(L, 2), &side));
    if (side == 0) return 0;
    lua_pushinteger(L, side);
    return 1;
}

/* ---- maps ---- */

/* first_component(x {N,D}) -> {D}, the part of the variance along it */
static int first_component(lua_State *L) {
    pk_tensor *out = NULL;
    double explained;
    pk_status status;
    L_RETRY(L, status, pk_first_component(l_check_tensor(L, 1), &out, &explained));
    l_check(L, status);
    l_push_tensor(L, out);
    lua_pushnumber(L, explained);
    return 2;
}

/* map_resize(map, h, w): cubic */
static int map_resize(lua_State *L) {
    int64_t h = l_check_int(L, 2, "height"), w = l_check_int(L, 3, "width");
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_map_resize(l_check_tensor(L, 1), h, w, &out));
    return push(L, status, out);
}

/* map_normalize(map): to 0..1 */
static int map_normalize(lua_State *L) { return map_of_map(L, pk_map_normalize); }

/* map_border(map, published) -> share of the outermost pixels above the mean */
static int map_border(lua_State *L) {
    double share;
    l_check(L, pk_map_border(l_check_tensor(L, 1), lua_toboolean(L, 2), &share));
    lua_pushnumber(L, share);
    return 1;
}

/* ---- boxes ---- */

/* boxes(map uint8, level, largest) -> int32 {n,4}: x0, y0, x1, y1, from 0, ends included */
static int boxes(lua_State *L) {
    int64_t level = l_check_int(L, 2, "level");
    if (level < 0 || level > 255) l_arg_error(L, 2, "a level is 0..255, got %lld", (long long)level);
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_boxes(l_check_tensor(L, 1), (int)level, lua_toboolean(L, 3), &out));
    return push(L, status, out);
}

/* box_curve(map uint8, known int32 {n,4}, largest) -> float32 {256}: the best overlap at each level */
static int box_curve(lua_State *L) {
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_box_curve(l_check_tensor(L, 1), l_check_tensor(L, 2), lua_toboolean(L, 3), &out));
    return push(L, status, out);
}

static const luaL_Reg functions[] = {
    {"erf_normalize", erf_normalize},
    {"erf_side", erf_side},
    {"first_component", first_component},
    {"map_resize", map_resize},
    {"map_normalize", map_normalize},
    {"map_border", map_border},
    {"boxes", boxes},
    {"box_curve", box_curve},
    {NULL, NULL},
};

void l_open_maps(lua_State *L) { luaL_setfuncs(L, functions, 0); }
