/* Masks of a model, and weights in a compact form: one bit a weight, and the values of those that are connections. */
#ifndef PK_IO_MASKS_H
#define PK_IO_MASKS_H

#include "io/dict.h"
#include "nn/module.h"

/* Every mask as a uint8 view in the file's layout, under its parameter's name, in the order of building. */
pk_status pk_module_masks(pk_module *m, pk_dict *d);

/* bits, uint8 {ceil(n / 8)}: element i in row-major order is bit i % 8 of byte i / 8; values, float32: the elements
 * whose bit is 1, in order. t: float32, any strides. mask: uint8 of its shape, any strides; null: what is not 0. */
pk_status pk_pack_sparse(pk_tensor *t, pk_tensor *mask, pk_tensor **bits, pk_tensor **values);
/* The way back: a float32 tensor of the shape with zeros where the bit is 0, and its mask (uint8). PK_EFORMAT when the
 * parts do not belong together. */
pk_status pk_unpack_sparse(const pk_tensor *bits, const pk_tensor *values, int ndim, const int64_t *shape, pk_tensor **t,
                           pk_tensor **mask);

#endif
