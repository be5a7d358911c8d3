/* IDX files (MNIST and its relatives), plain or gzip, and CIFAR-10's binary files. What the header promises is compared
 * with what is there before a tensor is allocated: short and long files are errors. */
#ifndef PK_DATA_IDX_H
#define PK_DATA_IDX_H

#include "core/tensor.h"

/* Unsigned bytes of 1 to 5 dimensions, as they are. */
pk_status pk_idx_read(const char *path, pk_tensor **out);
/* Images: {N,H,W} gives {N,H,W,1}. */
pk_status pk_idx_images(const char *path, pk_tensor **out);
/* Labels 0 .. classes-1 to int32 {N} of 1 .. classes. */
pk_status pk_idx_labels(const char *path, int classes, pk_tensor **out);
/* Records of one label byte and 3 planes of 32x32: uint8 {N,32,32,3} and int32 {N} of 1 .. 10. */
pk_status pk_cifar10_read(const char *path, pk_tensor **images, pk_tensor **labels);

#endif
