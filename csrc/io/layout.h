/* Between the library's layouts (channels last) and PyTorch's, which files keep. Only views are made. */
#ifndef PK_IO_LAYOUT_H
#define PK_IO_LAYOUT_H

#include "nn/module.h"

typedef enum pk_layout {
    PK_LAYOUT_SAME,
    PK_LAYOUT_CONV,      /* {O,kh,kw,I} here, (O,I,kh,kw) in a file */
    PK_LAYOUT_DEPTHWISE, /* {kh,kw,C} and (C,1,kh,kw) */
    PK_LAYOUT_MAP,       /* {k,k} and (1,k,k) */
    PK_LAYOUT_MAPS       /* {k,k,C} and (C,k,k) */
} pk_layout;

/* By what the slot is: a "weight" of four dimensions belongs to a dense convolution, one of three (and "small", the small
 * kernel inside a merged one) to a depthwise or peripheral one; "position" is a map, or one a channel. */
pk_layout pk_layout_of(const pk_slot *slot);

/* The shape in a file of a tensor that has `shape` here; returns the number of dimensions. */
int pk_layout_file_shape(pk_layout layout, int ndim, const int64_t *shape, int64_t file_shape[PK_MAX_DIMS]);
/* A view of t with the file's order of dimensions. */
pk_status pk_layout_to_file(pk_layout layout, const pk_tensor *t, pk_tensor **out);
/* A view of a file's tensor with the order of dimensions here; its file shape was checked. */
pk_status pk_layout_from_file(pk_layout layout, const pk_tensor *t, pk_tensor **out);

#endif
