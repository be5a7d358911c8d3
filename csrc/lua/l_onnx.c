/* pelk.core.export_onnx: models for other runtimes. */
#include "lua/l_bind.h"

#include <stddef.h>
#include <string.h>

#include "io/onnx.h"

typedef struct export_options {
    bool dynamic_batch;
    int layout;
} export_options;

static const pk_field fields[] = {
    {.name = "dynamic_batch", .type = PK_BOOL, .offset = offsetof(export_options, dynamic_batch),
     .doc = "any number of images a run"},
    {.name = "layout", .type = PK_ENUM, .offset = offsetof(export_options, layout), .choices = "nchw|nhwc",
     .doc = "of images in the exported graph"},
};

/* export_onnx(m, path, x, {dynamic_batch=false, layout="nchw"}) -> true: the forward of x is traced. */
static int export_onnx(lua_State *L) {
    export_options o;
    size_t n;
    l_check_module(L, 1);
    luaL_checktype(L, 2, LUA_TSTRING);
    const char *path = lua_tolstring(L, 2, &n);
    if (n == 0 || strlen(path) != n) l_arg_error(L, 2, n == 0 ? "the path is empty" : "a path has no zero bytes");
    l_check_tensor(L, 3);
    l_read_options(L, 4, "export_onnx", fields, sizeof fields / sizeof *fields, &o, sizeof o);
    pk_module *m = l_check_module(L, 1); /* now: reading options may run finalisers */
    pk_tensor *x = l_check_tensor(L, 3);
    const pk_onnx_options asked = {o.dynamic_batch, o.layout == 0 ? PK_CHANNELS_FIRST : PK_OWN_ORDER};
    lua_State *outer = l_enter(L);
    pk_module_retain(m); /* a Lambda's function may free what it runs in */
    pk_tensor_retain(x);
    pk_status status = pk_onnx_export(m, x, &asked, path);
    pk_tensor_release(x);
    pk_module_release(m);
    l_leave(outer);
    if (!l_ok(L, status)) return 2;
    lua_pushboolean(L, true);
    return 1;
}

void l_open_onnx(lua_State *L) {
    lua_pushcfunction(L, export_onnx);
    lua_setfield(L, -2, "export_onnx");
}
