/* What tensors, ops and modules share inside the binding, beyond the contract of l_util.h. */
#ifndef PK_LUA_BIND_H
#define PK_LUA_BIND_H

#include "lua/l_util.h"

/* Make room: a full collection, and pooled blocks back to the system. Finalisers run: fetch pointers anew after it. */
void l_reclaim(lua_State *L);

/* status = call, once more after making room when there was no memory. The call must be harmless to repeat, and what
 * it points to must be held by references of the caller. */
#define L_RETRY(L, status, call)        \
    do {                                \
        (status) = (call);              \
        if ((status) == PK_ENOMEM) {    \
            l_reclaim(L);               \
            (status) = (call);          \
        }                               \
    } while (0)

/* Push n tensors at once: all are boxed or, if Lua has no memory, all are released and the error raised. */
void l_push_tensors(lua_State *L, pk_tensor *const *t, int n);
/* Push a view or an existing tensor: the collector hears nothing, for no memory was taken. */
void l_push_view(lua_State *L, pk_tensor *t);
/* For finalisers: the object at arg, which its box gives up (null: it had none); raises when arg is of another kind. */
void *l_take_object(lua_State *L, int arg, const char *tname);
/* A box of that class whose object is gone. */
bool l_is_freed(lua_State *L, int arg, const char *tname);
/* A reference of our own to the tensor at arg, in a box pushed on the stack: for work that makes Lua values on the way,
 * during which a finaliser may free the argument. l_drop_tensor empties that box. */
pk_tensor *l_hold_tensor(lua_State *L, int arg);
void l_drop_tensor(lua_State *L, int index);
/* Tell Lua's collector what the library took since the last time. */
void l_note_memory(lua_State *L);

/* Add methods to a class made by l_class (function upvalues: none). */
void l_add_methods(lua_State *L, const char *tname, const luaL_Reg *methods);

/* "bad argument #arg to 'f' (<message>)". */
int l_arg_error(lua_State *L, int arg, const char *format, ...) PK_PRINTF(3, 4);
/* "a number", "a string ('abc')", "nil", "a pelk.Tensor": what was given, for messages; pushes the text. */
const char *l_given(lua_State *L, int index);

/* A function, or a value with __call; else raises. */
void l_check_callable(lua_State *L, int arg);

/* An integer argument; floats with an integral value count, strings do not. what: "dimension", for the message. */
int64_t l_check_int(lua_State *L, int arg, const char *what);
/* Read integers from a table at arg or all numbers from arg on (at most max); returns how many. */
int l_read_ints(lua_State *L, int arg, const char *what, int64_t *out, int max);
/* A table with nothing but keys 1..n, n > 0. */
bool l_is_list(lua_State *L, int index);

/* Read the value at the stack's index into a field of params; raises "owner: field wants ..., got ...". */
void l_read_field(lua_State *L, int index, const char *owner, const pk_field *field, void *params);
/* Options in steps: defaults, then each field or table of fields with its bit in *seen, then the end: required fields,
 * seeds, ranges. */
void l_read_table(lua_State *L, int index, const char *owner, const pk_field *fields, int count, void *params,
                  uint64_t *seen);
/* Raise for the key below the stack's top, naming the nearest option there is. */
int l_unknown_option(lua_State *L, const char *owner, const pk_field *fields, int count);
void l_read_end(lua_State *L, const char *owner, const pk_field *fields, int count, void *params, uint64_t seen);
/* A new zeroed userdata on the stack's top for a parameter struct of size bytes, filled with the defaults. */
void *l_new_params(lua_State *L, const pk_field *fields, int count, size_t size);
/* Push the list of a schema's fields: name, type, default, min, max, choices, required, doc. */
void l_push_schema(lua_State *L, const pk_field *fields, int count);

/* Run the op called name on tensors at stack places at[0..nin) (0: absent) and push the results; returns their number. */
int l_run_op(lua_State *L, const pk_op *op, const void *params, const int *at, int nin);
/* The op, or an error when the library has none of that name. */
const pk_op *l_find_op(lua_State *L, const char *name);
/* Say that L is in the core from here to l_leave, which takes what l_enter gave: functions of Lambdas run there. No error
 * may be raised in between. */
lua_State *l_enter(lua_State *L);
void l_leave(lua_State *outer);
/* A Lua function or callable value at arg as a Lambda module; pushes it. */
void l_push_lambda(lua_State *L, int arg);

/* Parts of the Tensor class, each in its file. */
extern const luaL_Reg l_tensor_view_methods[];  /* l_tensor_index.c */
extern const luaL_Reg l_tensor_make_functions[]; /* l_tensor_make.c */
int l_tensor_get_index(lua_State *L);            /* (t, integer or table): a view */
int l_tensor_set_index(lua_State *L);            /* (t, key, value) */
int l_tensor_print(lua_State *L);                /* tostring(t) */

/* Parts of the Module class. */
extern const luaL_Reg l_module_tree_methods[]; /* l_module_tree.c */
int l_module_print(lua_State *L);

#endif
