/* Layers that other layers are made of, and the ops they share, each one line where it is used. name null: the next
 * number. */
#ifndef PK_NN_PARTS_H
#define PK_NN_PARTS_H

#include "nn/module.h"

typedef enum pk_norm_kind { PK_NORM_LAYER, PK_NORM_BATCH } pk_norm_kind;

/* LayerNorm or BatchNorm over `channels`, with the layer's default eps. */
pk_status pk_add_norm(pk_module *m, const char *name, pk_norm_kind kind, int64_t channels);
/* Linear with bias; child may be null. */
pk_status pk_add_linear(pk_module *m, const char *name, int64_t in, int64_t out, pk_module **child);
/* Conv2d of kernel x kernel at the same stride: patches (4 for a stem, 2 for downsampling), or pointwise (1). */
pk_status pk_add_patch_conv(pk_module *m, const char *name, int64_t in, int64_t out, int64_t kernel, bool bias);
/* 1x1 convolution without bias and its batch norm, {conv, bn}, then ReLU if asked: {conv, bn, nonlinear}. */
pk_status pk_add_pointwise_bn(pk_module *m, const char *name, int64_t in, int64_t out, bool relu);

/* x must be {N,H,W,channels}; the message begins with m's class. */
pk_status pk_check_channels(const pk_module *m, const pk_tensor *x, int64_t channels);
pk_status pk_channel_slice(pk_tensor *x, int64_t start, int64_t length, pk_tensor **out);
pk_status pk_channel_join(pk_tensor *const *part, int n, pk_tensor **out);

#endif
