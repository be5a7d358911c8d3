/* Folders, and files written piece by piece (pelk.Writer): what a data set needs to be listed and packed. */
#include "lua/l_bind.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/alloc.h"
#include "io/file.h"

#define L_WRITER "pelk.Writer"

static const char *check_path(lua_State *L, int arg) {
    size_t n;
    luaL_checktype(L, arg, LUA_TSTRING);
    const char *path = lua_tolstring(L, arg, &n);
    if (n == 0 || strlen(path) != n) l_arg_error(L, arg, "not a path: empty, or with a zero byte");
    return path;
}

static int fail_errno(lua_State *L, const char *path) {
    int code = errno;
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(code));
    return 2;
}

/* ---- folders ---- */

/* "file", "folder" or "other": where the file system does not say, and of links, what is behind them. */
static const char *kind_of(const char *path, const struct dirent *e) {
    struct stat s;
    if (e->d_type == DT_REG) return "file";
    if (e->d_type == DT_DIR) return "folder";
    if (stat(path, &s) != 0) return "other";
    return S_ISREG(s.st_mode) ? "file" : S_ISDIR(s.st_mode) ? "folder" : "other";
}

static void close_folder(DIR **folder) {
    if (*folder) closedir(*folder);
    *folder = NULL;
}

static int free_folder(lua_State *L) {
    close_folder(lua_touserdata(L, 1));
    return 0;
}

/* list_dir(path) -> {{name, "file" | "folder" | "other"}, ...} in no order, without "." and ".." */
static int list_dir(lua_State *L) {
    const char *path = check_path(L, 1);
    lua_settop(L, 1);
    DIR **folder = lua_newuserdatauv(L, sizeof *folder, 0);
    *folder = NULL;
    if (luaL_newmetatable(L, "pelk.Folder")) {
        lua_pushcfunction(L, free_folder);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *folder = opendir(path);
    if (*folder == NULL) return fail_errno(L, path);
    lua_newtable(L);
    struct dirent *e;
    for (lua_Integer i = 1; (e = readdir(*folder)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        lua_createtable(L, 2, 0);
        lua_pushstring(L, e->d_name);
        lua_rawseti(L, -2, 1);
        lua_pushfstring(L, "%s/%s", path, e->d_name);
        lua_pushstring(L, kind_of(lua_tostring(L, -1), e));
        lua_rawseti(L, -3, 2);
        lua_pop(L, 1);
        lua_rawseti(L, -2, i++);
    }
    close_folder(folder);
    return 1;
}

/* file_stat(path) -> size in bytes, time of the last change in seconds, a text that is the same for every path to it
 * and for nothing else; or nil, message */
static int file_stat(lua_State *L) {
    struct stat s;
    const char *path = check_path(L, 1);
    if (stat(path, &s) != 0) return fail_errno(L, path);
    lua_pushinteger(L, (lua_Integer)s.st_size);
    lua_pushinteger(L, (lua_Integer)s.st_mtime);
    lua_pushfstring(L, "%I:%I", (LUAI_UACINT)s.st_dev, (LUAI_UACINT)s.st_ino);
    return 3;
}

/* bytes_before(a, b) -> does a come before b by bytes? Lua's < asks the locale. */
static int bytes_before(lua_State *L) {
    size_t n, m;
    const char *a = luaL_checklstring(L, 1, &n), *b = luaL_checklstring(L, 2, &m);
    int order = memcmp(a, b, n < m ? n : m);
    lua_pushboolean(L, order < 0 || (order == 0 && n < m));
    return 1;
}

/* ---- files piece by piece ---- */

static int free_writer(lua_State *L) {
    pk_writer *w = l_take_object(L, 1, L_WRITER);
    if (w == NULL) return 0;
    pk_writer_discard(w);
    pk_free(w);
    return 0;
}

/* writer(path) -> pelk.Writer: the file appears at commit, all of it or the old one */
static int new_writer(lua_State *L) {
    const char *path = check_path(L, 1);
    l_box *box = l_new_box(L, L_WRITER);
    pk_writer *w = pk_alloc_zeroed(sizeof *w);
    if (w == NULL) l_check(L, pk_no_memory(sizeof *w));
    w->fd = -1;
    box->object = w;
    if (!l_ok(L, pk_writer_open(w, path))) return 2;
    return 1;
}

/* w:write(string or contiguous tensor) -> true; or nil, message */
static int writer_write(lua_State *L) {
    pk_writer *w = l_check_object(L, 1, L_WRITER);
    const pk_tensor *t = l_test_object(L, 2, L_TENSOR);
    size_t n;
    pk_status status;
    if (t != NULL) {
        if (!pk_is_contiguous(t)) l_arg_error(L, 2, "a contiguous tensor was expected");
        status = pk_writer_write(w, pk_bytes(t), pk_numel(t) * pk_dtype_size(t->dtype));
    } else {
        const char *text = luaL_checklstring(L, 2, &n);
        status = pk_writer_write(w, text, (int64_t)n);
    }
    if (!l_ok(L, status)) return 2;
    lua_pushboolean(L, 1);
    return 1;
}

/* w:commit() -> true; or nil, message, and the old file is there */
static int writer_commit(lua_State *L) {
    pk_writer *w = l_check_object(L, 1, L_WRITER);
    if (!l_ok(L, pk_writer_commit(w))) return 2;
    lua_pushboolean(L, 1);
    return 1;
}

static const luaL_Reg functions[] = {
    {"list_dir", list_dir}, {"file_stat", file_stat}, {"bytes_before", bytes_before}, {"writer", new_writer},
    {NULL, NULL}};

void l_open_files(lua_State *L) {
    static const luaL_Reg methods[] = {{"write", writer_write}, {"commit", writer_commit}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", free_writer}, {"__close", free_writer}, {NULL, NULL}};
    l_class(L, L_WRITER, methods, meta);
    luaL_setfuncs(L, functions, 0);
}
