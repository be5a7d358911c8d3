/* What the binding's files share. A binding function checks its arguments, makes one core call and pushes the result;
 * it raises only after the core has returned and cleaned up.
 *
 * Every class is a userdata that holds a box: magic and tag guard against swapped metatables and finalised objects. */
#ifndef PK_LUA_UTIL_H
#define PK_LUA_UTIL_H

#include <lauxlib.h>
#include <lua.h>

#include "core/schema.h"
#include "core/tensor.h"
#include "nn/module.h"

#define L_TENSOR "pelk.Tensor"
#define L_MODULE "pelk.Module"
#define L_TRANSFORM "pelk.Transform"

/* A userdata of class `tname` (metatable in the registry, made by l_class) that owns one pointer. */
typedef struct l_box {
    uint32_t magic;     /* L_MAGIC */
    const char *tname;  /* one of the class names above, compared by content */
    void *object;       /* null once freed */
} l_box;
#define L_MAGIC 0x706b4c42u

/* Make the metatable: methods (looked up by __index unless `meta` has its own), metamethods, name. */
void l_class(lua_State *L, const char *tname, const luaL_Reg *methods, const luaL_Reg *meta);
/* Push an empty box (object null) of the class; fill it after, so that a raise in between leaks nothing. */
l_box *l_new_box(lua_State *L, const char *tname);
/* The object at arg; raises "bad argument #n to 'f' (pelk.Tensor expected, got nil)" or "(tensor was freed)". */
void *l_check_object(lua_State *L, int arg, const char *tname);
/* The same, null when arg is of another kind; still raises for a freed one. */
void *l_test_object(lua_State *L, int arg, const char *tname);

/* Of one class; borrowed from the box. */
pk_tensor *l_check_tensor(lua_State *L, int arg);
pk_tensor *l_opt_tensor(lua_State *L, int arg); /* null for nil and none */
/* A tensor, or a number made into a float32 scalar: the result is a new reference in a box on the stack's top
 * (so that raises leak nothing). */
pk_tensor *l_check_tensor_or_number(lua_State *L, int arg);
pk_module *l_check_module(lua_State *L, int arg);

/* Push a box around the object, whose reference it takes over; tells Lua's collector about the storage's bytes. */
void l_push_tensor(lua_State *L, pk_tensor *t);
void l_push_module(lua_State *L, pk_module *m);

/* Raise the core's message when status is not PK_OK: for wrong use. */
void l_check(lua_State *L, pk_status status);
/* For files and formats: true when PK_OK; pushes nil, message (return 2) when PK_EIO, PK_EFORMAT; raises the rest.
 *     if (!l_ok(L, status)) return 2; */
bool l_ok(lua_State *L, pk_status status);

/* Read shape integers: either a table at arg or all arguments from arg on. */
int l_check_shape(lua_State *L, int arg, int64_t shape[PK_MAX_DIMS]);
/* A 1-based, possibly negative dimension of t to 0-based. */
int l_check_dim(lua_State *L, int arg, int ndim);

/* Fill params from the option table at arg (none or nil: defaults) by the schema: unknown fields are errors that name
 * the nearest known one, wrong types name the field, given and wanted. Draws seeds. Ends with pk_schema_check. */
void l_read_options(lua_State *L, int arg, const char *owner, const pk_field *fields, int count, void *params, size_t size);
/* Push the struct as a table. */
void l_push_options(lua_State *L, const pk_field *fields, int count, const void *params);

/* Raise "interrupted!"-style if a hook was set since (Ctrl-C under lua.c): call between parts of long work. */
void l_poll(lua_State *L);

/* One opener a file: adds its functions to the module table on the stack's top. core.c lists them. */
void l_open_tensor(lua_State *L);
void l_open_op(lua_State *L);
void l_open_module(lua_State *L);
void l_open_grid(lua_State *L);
void l_open_merge(lua_State *L);
void l_open_onnx(lua_State *L);
void l_open_optim(lua_State *L);
void l_open_profile(lua_State *L);
void l_open_ema(lua_State *L);
void l_open_guard(lua_State *L);
void l_open_data(lua_State *L);
void l_open_feed(lua_State *L);
void l_open_files(lua_State *L);
void l_open_io(lua_State *L);
void l_open_journal(lua_State *L);
void l_open_viz(lua_State *L);
void l_open_maps(lua_State *L);
void l_open_train(lua_State *L);
void l_open_sparse(lua_State *L);

#endif
