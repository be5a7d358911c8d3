/* pelk.core.grid: sharing grids. */
#include "lua/l_util.h"
#include "ops/grid.h"

#include <math.h>

typedef struct grid_options {
    int64_t radius, base;
    int rule;
} grid_options;

static const pk_field fields[] = {
    {.name = "radius", .type = PK_INT, .offset = offsetof(grid_options, radius), .def = 2, .min = 0, .max = 4095,
     .doc = "the fine centre reaches this far"},
    {.name = "base", .type = PK_INT, .offset = offsetof(grid_options, base), .def = 2, .min = 1, .max = 64,
     .doc = "rings outside it are base, base^2, ... wide"},
    {.name = "rule", .type = PK_ENUM, .offset = offsetof(grid_options, rule), .def = 0, .choices = PK_GRID_RULES,
     .doc = "an outermost ring cut short is kept or merged"},
};

/* grid(k, {radius=2, base=2, rule="truncate"}) -> list of band widths */
static int l_grid(lua_State *L) {
    grid_options o;
    pk_ints grid;
    lua_Integer k = luaL_checkinteger(L, 1);
    l_read_options(L, 2, "grid", fields, sizeof fields / sizeof *fields, &o, sizeof o);
    l_check(L, pk_grid(k, o.radius, o.base, (pk_grid_rule)o.rule, &grid));
    lua_createtable(L, grid.n, 0);
    for (int32_t i = 0; i < grid.n; i++) {
        lua_pushinteger(L, grid.v[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void l_open_grid(lua_State *L) {
    lua_pushcfunction(L, l_grid);
    lua_setfield(L, -2, "grid");
}
