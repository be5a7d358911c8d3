/* Pictures in files (pelk.Files) and batches of an epoch, made ahead by threads (pelk.Feed). lua/pelk/data/loader.lua
 * puts loops around them. */
#include "lua/l_bind.h"

#include <string.h>

#include "core/alloc.h"
#include "core/interrupt.h"
#include "data/feed.h"

#define L_FILES "pelk.Files"
#define L_FEED "pelk.Feed"
#define POLL_SECONDS 0.05 /* how often a wait looks for Ctrl-C */

/* ---- files ---- */

typedef struct files_options {
    int64_t channels, max_pixels;
    pk_ints background;
} files_options;

static const pk_field files_fields[] = {
    {.name = "channels", .type = PK_INT, .offset = offsetof(files_options, channels), .def = 3, .min = 1, .max = 4,
     .doc = "1 grey, 3 RGB, 4 RGB and alpha"},
    {.name = "background", .type = PK_INTS, .offset = offsetof(files_options, background), .def = 255, .min = 0,
     .max = 255, .doc = "under transparent parts, for 1 and 3 channels: a number, or {r, g, b}"},
    {.name = "max_pixels", .type = PK_INT, .offset = offsetof(files_options, max_pixels), .def = PK_IMAGE_MAX_PIXELS,
     .min = 1, .max = 1 << 28, .doc = "larger pictures are refused"},
};

static int free_files(lua_State *L) {
    pk_files_release(l_take_object(L, 1, L_FILES));
    return 0;
}

static void read_files_options(lua_State *L, int arg, pk_image_options *out) {
    files_options o;
    l_read_options(L, arg, "image files", files_fields, sizeof files_fields / sizeof *files_fields, &o, sizeof o);
    if (o.channels == 2) luaL_error(L, "image files: channels must be 1, 3 or 4, got 2");
    if (o.background.n != 1 && o.background.n != 3)
        luaL_error(L, "image files: background must be a number or {r, g, b}, got %d numbers", (int)o.background.n);
    *out = (pk_image_options){.max_pixels = o.max_pixels, .channels = (int)o.channels};
    for (int i = 0; i < 3; i++) out->background[i] = (uint8_t)o.background.v[o.background.n == 3 ? i : 0];
}

/* files(paths, options) -> pelk.Files */
static int new_files(lua_State *L) {
    lua_settop(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    if (n < 1 || n > INT32_MAX) l_arg_error(L, 1, "%lld paths, wants 1 to %d", (long long)n, INT32_MAX);
    pk_image_options options;
    read_files_options(L, 2, &options);
    l_box *box = l_new_box(L, L_FILES);
    const char **path = lua_newuserdatauv(L, (size_t)n * sizeof *path, 0);
    for (lua_Integer i = 0; i < n; i++) { /* the strings stay alive in the table */
        size_t bytes;
        if (lua_rawgeti(L, 1, i + 1) != LUA_TSTRING)
            l_arg_error(L, 1, "path %lld is %s", (long long)i + 1, l_given(L, -1));
        path[i] = lua_tolstring(L, -1, &bytes);
        if (bytes == 0 || strlen(path[i]) != bytes)
            l_arg_error(L, 1, "path %lld is empty, or has a zero byte", (long long)i + 1);
        lua_pop(L, 1);
    }
    pk_status status;
    pk_files *files = NULL;
    L_RETRY(L, status, pk_files_new(n, path, &options, &files));
    l_check(L, status);
    box->object = files;
    lua_pop(L, 1);
    return 1;
}

static int64_t check_place(lua_State *L, const pk_files *files) {
    int64_t i = l_check_int(L, 2, "file");
    if (i < 1 || i > files->count)
        l_arg_error(L, 2, "file %lld, there are 1 to %lld", (long long)i, (long long)files->count);
    return i - 1;
}

/* files:path(i) -> string */
static int files_path(lua_State *L) {
    const pk_files *files = l_check_object(L, 1, L_FILES);
    lua_pushstring(L, pk_files_path(files, check_place(L, files)));
    return 1;
}

/* files:decode(i) -> uint8 {h,w,c}, upright, at its own size; or nil, message */
static int files_decode(lua_State *L) {
    const pk_files *files = l_check_object(L, 1, L_FILES);
    int64_t i = check_place(L, files);
    pk_status status;
    pk_tensor *t = NULL;
    L_RETRY(L, status, pk_picture_decode(files, i, &t));
    if (!l_ok(L, status)) return 2;
    l_push_tensor(L, t);
    return 1;
}

/* files:count() */
static int files_count(lua_State *L) {
    const pk_files *files = l_check_object(L, 1, L_FILES);
    lua_pushinteger(L, files->count);
    return 1;
}

static int files_print(lua_State *L) {
    const pk_files *files = l_check_object(L, 1, L_FILES);
    lua_pushfstring(L, "pelk.Files: %I, %s ...", (lua_Integer)files->count, pk_files_path(files, 0));
    return 1;
}

/* ---- what a batch is made of ---- */

/* The list of transforms at arg; they stay alive in it while the call runs. */
static void read_pipeline(lua_State *L, int arg, pk_pipeline *p) {
    p->count = 0;
    luaL_checktype(L, arg, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, arg);
    if (n > PK_MAX_TRANSFORMS)
        l_arg_error(L, arg, "%llu transforms, at most %d", (unsigned long long)n, PK_MAX_TRANSFORMS);
    for (int i = 1; i <= (int)n; i++) {
        lua_rawgeti(L, arg, i);
        const pk_transform *t = l_test_object(L, -1, L_TRANSFORM);
        if (t == NULL) l_arg_error(L, arg, "transform %d must be a pelk.Transform, got %s", i, l_given(L, -1));
        p->step[p->count++] = t;
        lua_pop(L, 1);
    }
}

/* Pictures at `source` (a tensor or pelk.Files), transforms at `pipeline`. */
static void read_recipe(lua_State *L, int source, int pipeline, bool bytes, pk_recipe *r) {
    memset(r, 0, sizeof *r);
    r->from.files = l_test_object(L, source, L_FILES);
    if (r->from.files == NULL) r->from.x = l_check_tensor(L, source);
    r->bytes = bytes;
    read_pipeline(L, pipeline, &r->pipeline);
    l_check(L, pk_recipe_infer(r));
}

/* batch_shape(source, transforms, bytes) -> {h, w, c}: what one picture becomes. */
static int batch_shape(lua_State *L) {
    lua_settop(L, 3);
    pk_recipe r;
    read_recipe(L, 1, 2, lua_toboolean(L, 3), &r);
    const int64_t size[3] = {r.out.h, r.out.w, r.out.c};
    lua_createtable(L, 3, 0);
    for (int i = 0; i < 3; i++) {
        lua_pushinteger(L, size[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* ---- feeds ---- */

static int free_feed(lua_State *L) {
    pk_feed_free(l_take_object(L, 1, L_FEED));
    return 0;
}

static pk_feed *make_feed(lua_State *L, const pk_feed_options *o) {
    pk_feed *f = NULL;
    pk_status status;
    L_RETRY(L, status, pk_feed_new(o, &f));
    l_check(L, status);
    return f;
}

static int read_small(lua_State *L, int arg, const char *what, int most) {
    int64_t n = l_check_int(L, arg, what);
    if (n < 0 || n > most) l_arg_error(L, arg, "%s must be 0..%d, got %lld", what, most, (long long)n);
    return (int)n;
}

/* feed(source, y or nil, rows, transforms, batch, first, drop_last, seed, epoch, workers, prefetch, skip_broken, bytes)
 * -> pelk.Feed. first: batches to leave out. */
static int new_feed(lua_State *L) {
    lua_settop(L, 13);
    pk_feed_options o;
    memset(&o, 0, sizeof o);
    read_recipe(L, 1, 4, lua_toboolean(L, 13), &o.recipe);
    o.y = l_opt_tensor(L, 2);
    o.rows = l_check_tensor(L, 3);
    o.batch = l_check_int(L, 5, "rows of a batch");
    o.first = l_check_int(L, 6, "first batch");
    o.drop_last = lua_toboolean(L, 7);
    o.recipe.stream = pk_recipe_stream((uint64_t)l_check_int(L, 8, "seed"), (uint64_t)l_check_int(L, 9, "epoch"));
    o.workers = read_small(L, 10, "workers", PK_MAX_WORKERS);
    o.prefetch = read_small(L, 11, "prefetch", PK_MAX_PREFETCH);
    o.skip_broken = lua_toboolean(L, 12);
    l_box *box = l_new_box(L, L_FEED);
    box->object = make_feed(L, &o);
    return 1;
}

/* Waits, and lets signals through: Ctrl-C of the REPL, and those of a run (interruptible). The feed is looked up anew
 * each time: a finaliser may have freed it. */
static pk_status wait_for_batch(lua_State *L, int arg, pk_feed_batch *b) {
    for (;;) {
        pk_feed *f = l_check_object(L, arg, L_FEED);
        pk_status status = pk_feed_next(f, POLL_SECONDS, b);
        if (status == PK_ENOMEM) {
            l_reclaim(L);
            status = pk_feed_next(l_check_object(L, arg, L_FEED), POLL_SECONDS, b);
        }
        if (status != PK_OK || b->state != PK_FEED_WAIT) return status;
        l_poll(L);
        PK_TRY(pk_interrupt_poll());
    }
}

/* Labels, or nil. */
static void push_batch(lua_State *L, const pk_feed_batch *b) {
    pk_tensor *t[2] = {b->x, b->y};
    l_push_tensors(L, t, b->y ? 2 : 1);
    if (!b->y) lua_pushnil(L);
}

/* feed:next() -> x, y or nil, number of the batch; nothing at the end; nil, message for a picture that cannot be read
 * */
static int feed_next(lua_State *L) {
    lua_settop(L, 1);
    pk_feed_batch b;
    pk_status status = wait_for_batch(L, 1, &b);
    if (!l_ok(L, status)) return 2;
    if (b.state == PK_FEED_END) return 0;
    push_batch(L, &b);
    lua_pushinteger(L, b.number);
    return 3;
}

/* feed:broken(after) -> {{row, message}, ...}: what was left out, beyond the first `after` of it */
static int feed_broken(lua_State *L) {
    int64_t after = luaL_optinteger(L, 2, 0);
    const pk_broken *list;
    lua_newtable(L);
    for (int64_t i = after < 0 ? 0 : after;; i++) {
        lua_createtable(L, 2, 0);
        /* each time anew: a finaliser may have freed the feed */
        if (i >= pk_feed_broken(l_check_object(L, 1, L_FEED), &list)) break;
        lua_pushinteger(L, list[i].row);
        lua_rawseti(L, -2, 1);
        lua_pushstring(L, list[i].message);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    lua_pop(L, 1);
    return 1;
}

/* batch(source, y or nil, rows, first, count, transforms, seed, epoch) -> batch, labels or nil: rows[first ..], from 1
 * */
static int one_batch(lua_State *L) {
    lua_settop(L, 8);
    pk_feed_options o;
    memset(&o, 0, sizeof o);
    read_recipe(L, 1, 6, false, &o.recipe);
    o.y = l_opt_tensor(L, 2);
    const pk_tensor *rows = l_check_tensor(L, 3);
    int64_t first = l_check_int(L, 4, "first row"), count = l_check_int(L, 5, "number of rows");
    if (rows->dtype != PK_INT32 || rows->ndim != 1 || !pk_is_contiguous(rows))
        l_arg_error(L, 3, "rows must be a contiguous int32 {n}, got %s %s", pk_dtype_name(rows->dtype),
                    pk_shape_text(rows));
    if (first < 1 || count < 1 || first > rows->shape[0] || count > rows->shape[0] - first + 1)
        luaL_error(L, "batch: %I rows from %I on, there are %I", (lua_Integer)count, (lua_Integer)first,
                   (lua_Integer)rows->shape[0]);
    o.recipe.stream = pk_recipe_stream((uint64_t)l_check_int(L, 7, "seed"), (uint64_t)l_check_int(L, 8, "epoch"));
    const int64_t stride = 1;
    pk_tensor *part = NULL;
    l_check(L, pk_tensor_window(rows, 1, &count, &stride, first - 1, &part));
    l_push_view(L, part);
    o.rows = part;
    o.batch = count;
    l_box *box = l_new_box(L, L_FEED);
    box->object = make_feed(L, &o);
    pk_feed_batch b;
    pk_status status = wait_for_batch(L, lua_gettop(L), &b);
    if (!l_ok(L, status)) return 2;
    if (b.state == PK_FEED_END) return 0;
    push_batch(L, &b);
    return 2;
}

static const luaL_Reg functions[] = {
    {"files", new_files}, {"feed", new_feed}, {"batch", one_batch}, {"batch_shape", batch_shape}, {NULL, NULL},
};

void l_open_feed(lua_State *L) {
    static const luaL_Reg files_methods[] = {
        {"path", files_path}, {"decode", files_decode}, {"count", files_count}, {NULL, NULL}};
    static const luaL_Reg files_meta[] = {
        {"__gc", free_files}, {"__len", files_count}, {"__tostring", files_print}, {NULL, NULL}};
    static const luaL_Reg feed_methods[] = {
        {"next", feed_next}, {"broken", feed_broken}, {"free", free_feed}, {NULL, NULL}};
    static const luaL_Reg feed_meta[] = {{"__gc", free_feed}, {"__close", free_feed}, {NULL, NULL}};
    l_class(L, L_FILES, files_methods, files_meta);
    l_class(L, L_FEED, feed_methods, feed_meta);
    luaL_setfuncs(L, functions, 0);
}
