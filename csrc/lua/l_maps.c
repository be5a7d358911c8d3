/* Maps of a picture's pixels from Lua: receptive fields, components, boxes. */
#include "lua/l_bind.h"

#include "viz/erf.h"

/* ---- effective receptive fields ---- */

/* erf_normalize(map) -> log10(1 + map) divided by its maximum */
static int erf_normalize(lua_State *L) {
    const pk_tensor *map = l_check_tensor(L, 1);
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_erf_normalize(map, &out));
    l_check(L, status);
    l_push_tensor(L, out);
    return 1;
}

/* erf_side(map, share) -> side of the least centred square that holds more than that share, or nil */
static int erf_side(lua_State *L) {
    int64_t side;
    l_check(L, pk_erf_side(l_check_tensor(L, 1), luaL_checknumber(L, 2), &side));
    if (side == 0) return 0;
    lua_pushinteger(L, side);
    return 1;
}

static const luaL_Reg functions[] = {{"erf_normalize", erf_normalize}, {"erf_side", erf_side}, {NULL, NULL}};

void l_open_maps(lua_State *L) { luaL_setfuncs(L, functions, 0); }
