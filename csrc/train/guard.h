/* Steps that go wrong: what a forward changes besides gradients (buffers, the random generator) as it was before, and
 * where numbers stopped being finite. */
#ifndef PK_TRAIN_GUARD_H
#define PK_TRAIN_GUARD_H

#include "nn/module.h"

typedef struct pk_guard {
    pk_module *module;
    int64_t count, room, total;
    pk_tensor **buffer;
    pk_tensor *kept; /* {total}: the buffers' values at the mark; null: there are none */
    uint64_t random[2];
} pk_guard;

/* Marks at once. Buffers that are not float32 are left out. */
pk_status pk_guard_new(pk_module *m, pk_guard **out);
void pk_guard_free(pk_guard *g);
void pk_guard_mark(pk_guard *g);
/* Buffers and the generator go back to the mark. */
void pk_guard_restore(pk_guard *g);

/* One sentence about where the first NaN or infinity is: the input, a parameter, what a module gives for x (run once
 * more, without gradients, from the mark), or a gradient (the last in the tree's order: backward meets it first). The
 * guard is back at its mark afterwards. */
pk_status pk_guard_explain(pk_guard *g, pk_tensor *x, char *text, size_t size);

#endif
