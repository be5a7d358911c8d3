/* The order of an epoch. */
#ifndef PK_DATA_EPOCH_H
#define PK_DATA_EPOCH_H

#include "core/tensor.h"

/* int32 {n}: rows 1 .. n, or those in `subset` (int32 {n}), in the order of that epoch. */
pk_status pk_epoch_order(int64_t n, const pk_tensor *subset, bool shuffle, uint64_t seed, uint64_t epoch,
                         pk_tensor **out);

#endif
