/* Pictures from Lua: numbers to pixels, and PNG files. Pixels are uint8 tensors {H,W,3}. */
#include "lua/l_bind.h"

#include <math.h>
#include <string.h>

#include "viz/heatmap.h"
#include "viz/montage.h"
#include "viz/picture.h"
#include "viz/png.h"

static int push_picture(lua_State *L, pk_status status, pk_tensor *t) {
    l_check(L, status);
    l_push_tensor(L, t);
    return 1;
}

/* ---- tensors ---- */

typedef struct picture_options {
    pk_look look;
    int64_t columns;
    bool each;
} picture_options;

#define LOOK_FIELDS(map)                                                                                               \
    {.name = "colormap",                                                                                               \
     .type = PK_ENUM,                                                                                                  \
     .offset = offsetof(picture_options, look.colormap),                                                               \
     .def = (map),                                                                                                     \
     .choices = PK_COLOR_MAPS,                                                                                         \
     .doc = "for one channel"},                                                                                        \
        {.name = "scale",                                                                                              \
         .type = PK_INT,                                                                                               \
         .offset = offsetof(picture_options, look.scale),                                                              \
         .def = 0,                                                                                                     \
         .min = 0,                                                                                                     \
         .max = 1024,                                                                                                  \
         .doc = "pixels a value, each way; 0: chosen"},                                                                \
        {.name = "min",                                                                                                \
         .type = PK_FLOAT,                                                                                             \
         .offset = offsetof(picture_options, look.min),                                                                \
         .def = -INFINITY,                                                                                             \
         .doc = "value at the map's lower end; -inf: the least"},                                                      \
        {.name = "max",                                                                                                \
         .type = PK_FLOAT,                                                                                             \
         .offset = offsetof(picture_options, look.max),                                                                \
         .def = INFINITY,                                                                                              \
         .doc = "value at the map's upper end; inf: the largest"},                                                     \
    {                                                                                                                  \
        .name = "symmetric", .type = PK_BOOL, .offset = offsetof(picture_options, look.symmetric),                     \
        .def = (map) == PK_COOLWARM, .doc = "the ends are -m and m"                                                    \
    }

static const pk_field picture_fields[] = {LOOK_FIELDS(PK_GRAY)};

static const pk_field heatmap_fields[] = {LOOK_FIELDS(PK_MAGMA)};

static const pk_field tile_fields[] = {
    LOOK_FIELDS(PK_COOLWARM),
    {.name = "columns", .type = PK_INT, .offset = offsetof(picture_options, columns), .def = 0, .min = 0, .max = 4096,
     .doc = "tiles a row; 0: about a square"},
    {.name = "each", .type = PK_BOOL, .offset = offsetof(picture_options, each), .def = 1,
     .doc = "every tile has a range of its own"},
};

static picture_options read_look(lua_State *L, int arg, const char *owner, const pk_field *fields, int count) {
    picture_options o;
    l_read_options(L, arg, owner, fields, count, &o, sizeof o);
    if (isinf(o.look.min)) o.look.min = NAN;
    if (isinf(o.look.max)) o.look.max = NAN;
    return o;
}

/* picture(t, options): {H,W}, {H,W,1} or {H,W,3} to pixels */
static int picture(lua_State *L) {
    l_check_tensor(L, 1);
    picture_options o = read_look(L, 2, "picture", picture_fields, sizeof picture_fields / sizeof *picture_fields);
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_picture(l_check_tensor(L, 1), &o.look, &out));
    return push_picture(L, status, out);
}

/* picture_tiles(t, options): the planes of {h,w,n} */
static int picture_tiles(lua_State *L) {
    l_check_tensor(L, 1);
    picture_options o = read_look(L, 2, "tiles", tile_fields, sizeof tile_fields / sizeof *tile_fields);
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_picture_tiles(l_check_tensor(L, 1), &o.look, o.columns, o.each, &out));
    return push_picture(L, status, out);
}

/* picture_heatmap(t, options, title or nil, note or nil): a map with its scale */
static int picture_heatmap(lua_State *L) {
    l_check_tensor(L, 1);
    lua_settop(L, 4);
    picture_options o = read_look(L, 2, "heatmap", heatmap_fields, sizeof heatmap_fields / sizeof *heatmap_fields);
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_picture_heatmap(l_check_tensor(L, 1), &o.look, luaL_optstring(L, 3, NULL),
                                       luaL_optstring(L, 4, NULL), &out));
    return push_picture(L, status, out);
}

/* ---- pictures from pictures ---- */

/* picture_blend(a, b, alpha) -> (1 - alpha) a + alpha b */
static int picture_blend(lua_State *L) {
    l_check_tensor(L, 1);
    double alpha = luaL_checknumber(L, 3);
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_picture_blend(l_check_tensor(L, 1), l_check_tensor(L, 2), alpha, &out));
    return push_picture(L, status, out);
}

/* picture_outline(picture, {x0, y0, x1, y1}, 0xrrggbb, thickness = 2): drawn into it; returns it */
static int picture_outline(lua_State *L) {
    pk_tensor *t = l_check_tensor(L, 1);
    int64_t box[4];
    if (l_read_ints(L, 2, "coordinate", box, 4) != 4) l_arg_error(L, 2, "a box is {x0, y0, x1, y1}");
    int64_t color = l_check_int(L, 3, "colour"), thickness = lua_isnoneornil(L, 4) ? 2 : l_check_int(L, 4, "thickness");
    const uint8_t rgb[3] = {(uint8_t)(color >> 16), (uint8_t)(color >> 8), (uint8_t)color};
    l_check(L, pk_picture_outline(t, box, thickness, rgb));
    lua_settop(L, 1);
    return 1;
}

/* The pictures of the list at 1 and the captions at 2, in memory of Lua's that stays on the stack. */
static int read_sheet(lua_State *L, pk_tensor ***pictures, const char ***captions) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, 1);
    if (n < 1 || n > PK_MAX_SHEET)
        return luaL_error(L, "sheet: 1 to %d pictures, got %I", PK_MAX_SHEET, (lua_Integer)n);
    *pictures = lua_newuserdatauv(L, (size_t)n * sizeof **pictures, 0);
    *captions = lua_newuserdatauv(L, (size_t)n * sizeof **captions, 0);
    for (int i = 0; i < (int)n; i++) {
        lua_rawgeti(L, 1, i + 1);
        (*pictures)[i] = l_test_object(L, -1, L_TENSOR);
        if (!(*pictures)[i])
            return luaL_error(L, "sheet: picture %d must be a pelk.Tensor, got %s", i + 1, l_given(L, -1));
        (*captions)[i] = NULL;
        if (lua_istable(L, 2) && lua_rawgeti(L, 2, i + 1) == LUA_TSTRING) (*captions)[i] = lua_tostring(L, -1);
        lua_settop(L, 5);
    }
    return (int)n;
}

/* picture_sheet({picture, ...}, {caption, ...} or nil, columns) */
static int picture_sheet(lua_State *L) {
    pk_tensor **pictures = NULL, *out = NULL;
    const char **captions = NULL;
    lua_settop(L, 3);
    int64_t columns = l_check_int(L, 3, "columns");
    if (columns < 1 || columns > PK_MAX_SHEET) l_arg_error(L, 3, "columns must be 1..%d", PK_MAX_SHEET);
    int n = read_sheet(L, &pictures, &captions);
    pk_status status;
    L_RETRY(L, status, pk_picture_sheet(pictures, captions, n, (int)columns, &out));
    return push_picture(L, status, out);
}

/* ---- grids ---- */

static void read_grid(lua_State *L, int number, pk_ints *grid) {
    if (lua_type(L, -1) != LUA_TTABLE)
        luaL_error(L, "grids: grid %d must be a list of widths, got %s", number, l_given(L, -1));
    lua_Unsigned n = lua_rawlen(L, -1);
    if (n > PK_MAX_LIST) luaL_error(L, "grids: grid %d has more than %d bands", number, PK_MAX_LIST);
    grid->n = (int32_t)n;
    for (int i = 0; i < grid->n; i++) {
        int ok = 0;
        lua_rawgeti(L, -1, i + 1);
        lua_Integer v = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &ok) : 0;
        if (!ok || v < 1 || v > 8191) luaL_error(L, "grids: grid %d, band %d must be 1..8191", number, i + 1);
        grid->v[i] = (int32_t)v;
        lua_pop(L, 1);
    }
}

/* picture_grids({grid, ...}, {caption, ...} or nil, side = 512) */
static int picture_grids(lua_State *L) {
    pk_ints grid[PK_MAX_GRIDS];
    const char *caption[PK_MAX_GRIDS] = {NULL};
    lua_settop(L, 3);
    luaL_checktype(L, 1, LUA_TTABLE);
    int64_t side = lua_isnil(L, 3) ? 512 : l_check_int(L, 3, "side");
    lua_Unsigned n = lua_rawlen(L, 1);
    if (n < 1 || n > PK_MAX_GRIDS) return luaL_error(L, "grids: 1 to %d grids, got %I", PK_MAX_GRIDS, (lua_Integer)n);
    for (int i = 0; i < (int)n; i++) {
        lua_rawgeti(L, 1, i + 1);
        read_grid(L, i + 1, &grid[i]);
        lua_pop(L, 1);
        if (!lua_istable(L, 2)) continue;
        if (lua_rawgeti(L, 2, i + 1) == LUA_TSTRING) caption[i] = lua_tostring(L, -1); /* stays in the table */
        lua_pop(L, 1);
    }
    pk_tensor *out = NULL;
    pk_status status;
    L_RETRY(L, status, pk_picture_grids(grid, caption, (int)n, side, &out));
    return push_picture(L, status, out);
}

/* ---- files ---- */

/* write_png(pixels, path) -> true */
static int write_png(lua_State *L) {
    const pk_tensor *t = l_check_tensor(L, 1);
    size_t n;
    luaL_checktype(L, 2, LUA_TSTRING);
    const char *path = lua_tolstring(L, 2, &n);
    if (n == 0 || strlen(path) != n) l_arg_error(L, 2, "not a path: empty, or with a zero byte");
    pk_status status;
    L_RETRY(L, status, pk_png_write(t, path));
    if (!l_ok(L, status)) return 2;
    lua_pushboolean(L, true);
    return 1;
}

static const luaL_Reg functions[] = {
    {"picture", picture},
    {"picture_tiles", picture_tiles},
    {"picture_heatmap", picture_heatmap},
    {"picture_blend", picture_blend},
    {"picture_outline", picture_outline},
    {"picture_sheet", picture_sheet},
    {"picture_grids", picture_grids},
    {"write_png", write_png},
    {NULL, NULL},
};

void l_open_viz(lua_State *L) { luaL_setfuncs(L, functions, 0); }
