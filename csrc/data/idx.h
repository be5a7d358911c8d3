/* IDX files (MNIST and its relatives), plain or gzip, and CIFAR's binary files. What the header promises is compared
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
/* Records of label bytes and 3 planes of 32x32: uint8 {N,32,32,3} and int32 {N} of 1 .. classes. */
typedef struct pk_cifar {
    int labels;  /* bytes of a record before the planes: 1 in CIFAR-10, 2 in CIFAR-100 (coarse, fine) */
    int label;   /* which of them counts, from 0 */
    int classes;
} pk_cifar;
pk_status pk_cifar_read(const char *path, const pk_cifar *kind, pk_tensor **images, pk_tensor **labels);

#endif
