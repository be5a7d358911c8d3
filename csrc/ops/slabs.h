/* Concatenation and its reverse along one dimension, for any dtype. */
#ifndef PK_OPS_SLABS_H
#define PK_OPS_SLABS_H

#include "ops/op.h"

/* Copy `part` (packed, or rows) into `whole` (packed) or out of it: whole's places from..from+part->shape[dim]-1 along
 * dim. The other sizes are equal. */
void pk_slab_put(pk_tensor *whole, const pk_tensor *part, int dim, int64_t from);
void pk_slab_take(const pk_tensor *whole, pk_tensor *part, int dim, int64_t from);

#endif
