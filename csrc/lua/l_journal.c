/* Journals: files of lines that only grow, locked while open and synced line by line (pelk.Journal). */
#include <string.h>

#include "core/alloc.h"
#include "io/file.h"
#include "lua/l_bind.h"

#define L_JOURNAL "pelk.Journal"

static int journal_gc(lua_State *L) {
    pk_appender *a = l_take_object(L, 1, L_JOURNAL);
    if (a == NULL) return 0;
    pk_appender_close(a);
    pk_free(a);
    return 0;
}

/*** journal(path) -> Journal, a torn last line cut off; or nil, message, and "taken" when another process has it open. */
static int journal_new(lua_State *L) {
    size_t n;
    bool taken;
    const char *path = luaL_checklstring(L, 1, &n);
    if (n == 0 || strlen(path) != n) return l_arg_error(L, 1, "the path is empty or holds a zero byte");
    l_box *box = l_new_box(L, L_JOURNAL);
    pk_appender *a = box->object = pk_alloc_zeroed(sizeof *a);
    if (a == NULL) l_check(L, pk_no_memory(sizeof *a));
    if (l_ok(L, pk_appender_open(a, path, &taken))) return 1;
    pk_appender_close(a); /* not when the collector comes: a lock may be held */
    if (!taken) return 2;
    lua_pushliteral(L, "taken");
    return 3;
}

/*** journal:append(text) -> true, when it is on the disk; or nil, message: nothing was added. text is one line without
 * its end. */
static int journal_append(lua_State *L) {
    size_t n;
    pk_appender *a = l_check_object(L, 1, L_JOURNAL);
    const char *text = luaL_checklstring(L, 2, &n);
    lua_settop(L, 2);
    if (memchr(text, '\n', n)) return l_arg_error(L, 2, "one line is wanted");
    lua_pushliteral(L, "\n");
    lua_concat(L, 2);
    text = lua_tolstring(L, 2, &n);
    if (!l_ok(L, pk_appender_write(a, text, (int64_t)n))) return 2;
    lua_pushboolean(L, true);
    return 1;
}

void l_open_journal(lua_State *L) {
    static const luaL_Reg methods[] = {{"append", journal_append}, {"close", journal_gc}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", journal_gc}, {"__close", journal_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"journal", journal_new}, {NULL, NULL}};
    l_class(L, L_JOURNAL, methods, meta);
    luaL_setfuncs(L, functions, 0);
}
