/* pelk.core.module_merge: structural re-parameterisation. */
#include "lua/l_bind.h"

#include <string.h>

#include "core/alloc.h"
#include "nn/merge.h"

#define L_REPORT "pelk.MergeReport" /* holds the report while Lua values are made of it */

static int free_report(lua_State *L) {
    pk_free(l_take_object(L, 1, L_REPORT));
    return 0;
}

/* The text up to the next end, as a field of the table at the top; returns what follows. */
static const char *set_part(lua_State *L, const char *name, const char *from, char end) {
    size_t n = strcspn(from, (const char[]){end, 0});
    lua_pushlstring(L, from, n);
    lua_setfield(L, -2, name);
    return from + n + (from[n] != 0);
}

static void push_rows(lua_State *L, const char *text) {
    lua_newtable(L);
    for (lua_Integer i = 1; *text; i++) {
        lua_createtable(L, 0, 3);
        text = set_part(L, "kind", text, '\t');
        text = set_part(L, "path", text, '\t');
        text = set_part(L, "text", text, '\n');
        lua_rawseti(L, -2, i);
    }
}

/* module_merge(m, {slak="auto", expand="dense", batch_norms=true}) -> list of {kind, path, text}. */
static int merge(lua_State *L) {
    pk_merge_options o;
    l_check_module(L, 1);
    l_read_options(L, 2, "merge", pk_merge_fields, pk_merge_nfields, &o, sizeof o);
    l_box *box = l_new_box(L, L_REPORT);
    lua_toclose(L, -1);
    char *report = NULL;
    pk_status status;
    L_RETRY(L, status, pk_module_merge(l_check_module(L, 1), &o, &report));
    box->object = report;
    l_check(L, status);
    push_rows(L, report);
    return 1;
}

void l_open_merge(lua_State *L) {
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", free_report}, {"__close", free_report}, {NULL, NULL}};
    l_class(L, L_REPORT, none, meta);
    lua_pushcfunction(L, merge);
    lua_setfield(L, -2, "module_merge");
}
