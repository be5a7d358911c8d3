/* Python's pickles, read without executing anything: a machine for the few opcodes that PyTorch's files of tensors
 * need (protocols 2 to 4). What a pickle would have Python call is looked up in a list: the functions that rebuild
 * tensors are done here, classes that stand beside the weights in training scripts (argparse.Namespace, numpy scalars)
 * become opaque values, and everything else, opcode or global, is refused by its name.
 *
 * Every value is a small record; there is at most one an opcode, and a budget on all of them together. */
#ifndef PK_IO_PICKLE_H
#define PK_IO_PICKLE_H

#include "io/number.h"

typedef enum pk_value_kind {
    PK_VALUE_NONE, PK_VALUE_BOOL, PK_VALUE_INT, PK_VALUE_FLOAT, PK_VALUE_TEXT, PK_VALUE_TUPLE, PK_VALUE_LIST,
    PK_VALUE_DICT, PK_VALUE_SET, PK_VALUE_GLOBAL, PK_VALUE_STORAGE, PK_VALUE_TENSOR, PK_VALUE_OPAQUE
} pk_value_kind;

/* Values and cells are known by their numbers; -1 is none. */
typedef struct pk_value {
    pk_value_kind kind;
    /* containers: a, b first and last cell, i count; globals: a, b module and name, texts; storages: a key, a text, b
     * pk_number, i elements; tensors: a storage, b the tuple it was rebuilt from; opaque: a what it is made of, or -1;
     * texts: c length, i where in the pickle; bool, int: i; float: f */
    int32_t a, b, c;
    union {
        int64_t i;
        double f;
    };
} pk_value;

typedef struct pk_cell {
    int32_t key, value, next; /* key: of dicts */
} pk_cell;

typedef struct pk_pickle {
    const uint8_t *text; /* borrowed, as long as the values are used */
    int64_t size, at;    /* the machine is at text[at] */
    pk_value *value;
    pk_cell *cell;
    int32_t *stack, *memo; /* value numbers; -1: a mark, an unused place */
    int32_t values, cells, depth, memos;
    int64_t value_room, cell_room, stack_room, memo_room, budget;
    int32_t root;             /* what the pickle is */
    const char *const *allow; /* more globals that are opaque, "module.name" or "module.*", null at the end; or null */
} pk_pickle;

/* An empty machine. budget: the most bytes that values may take. */
void pk_pickle_begin(pk_pickle *p, const uint8_t *text, int64_t size, int64_t budget);
/* Run the pickle that begins at p->at; p->root is its value, p->at behind it. May be called again for one that follows;
 * values stay. */
pk_status pk_pickle_run(pk_pickle *p);
void pk_pickle_end(pk_pickle *p);

const char *pk_value_kind_name(pk_value_kind kind); /* "dict" */
bool pk_value_is(const pk_pickle *p, int32_t v, const char *text);
/* A text, or a number in digits, for a name or a message; false: not one, or no room. */
bool pk_value_text(const pk_pickle *p, int32_t v, char *out, size_t size);
/* "argparse.Namespace": the global that v is, or is made of; "" when there is none. */
void pk_value_global(const pk_pickle *p, int32_t v, char *out, size_t size);
int32_t pk_value_item(const pk_pickle *p, int32_t v, int64_t i);           /* of a tuple or list; -1: none */
int32_t pk_value_field(const pk_pickle *p, int32_t v, const char *key);    /* of a dict, the last one; -1: none */

typedef struct pk_window {
    int32_t storage; /* a PK_VALUE_STORAGE */
    int64_t offset;
    int ndim;
    int64_t shape[PK_MAX_DIMS], stride[PK_MAX_DIMS];
} pk_window;

/* What tensor v sees of its storage; all of it is in the storage. Messages begin with `name`. */
pk_status pk_value_window(const pk_pickle *p, int32_t v, const char *name, pk_window *w);

/* ---- between the files of the machine ---- */

#define PK_PICKLE_DEEPEST 64 /* of containers in one another */

pk_status pk_pickle_new(pk_pickle *p, pk_value value, int32_t *out);
pk_status pk_pickle_push(pk_pickle *p, int32_t v);
pk_status pk_pickle_pop(pk_pickle *p, int32_t *out); /* PK_EFORMAT: nothing there, or a mark */
pk_status pk_pickle_append(pk_pickle *p, int32_t container, int32_t key, int32_t v);
pk_status pk_pickle_remember(pk_pickle *p, int64_t place, int32_t v);
/* May this global be named at all? */
pk_status pk_pickle_check_global(pk_pickle *p, int32_t global);
/* What callable(*args) comes to. */
pk_status pk_pickle_reduce(pk_pickle *p, int32_t callable, int32_t args, int32_t *out);
/* The storage that a persistent id describes. */
pk_status pk_pickle_persistent(pk_pickle *p, int32_t id, int32_t *out);
/* The opcode at p->at - 1, whose handler finds its operands at p->at. *stop: it was the last. */
pk_status pk_pickle_step(pk_pickle *p, uint8_t opcode, bool *stop);

#endif
