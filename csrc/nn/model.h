/* The options of nn.Model, the whole family's spec, and what they say of each stage. */
#ifndef PK_NN_MODEL_H
#define PK_NN_MODEL_H

#include "nn/stage.h"

typedef enum pk_head_kind { PK_HEAD_LINEAR, PK_HEAD_MLP } pk_head_kind;
typedef enum pk_weight_init { PK_WEIGHTS_TRUNC_NORMAL, PK_WEIGHTS_FAN_IN } pk_weight_init;

/* Lists have one element for all stages, or one a stage. */
typedef struct pk_model_options {
    int64_t num_classes, in_channels;
    pk_ints depths, dims;
    pk_floats width;
    int block; /* pk_block_kind */
    pk_ints mixer, kernels, radius, base, rule;
    pk_grids grid; /* an empty one: from kernels, radius, base, rule */
    int position, position_shape;
    pk_ints small_kernel;
    pk_floats partial, mlp_ratio;
    double dw_ratio, drop_path, layer_scale, head_init_scale;
    int64_t stem;
    bool reparam, conv_mlp;
    int norm, head, init, recompute; /* pk_norm_kind, pk_head_kind, pk_weight_init, pk_recompute */
} pk_model_options;

/* Do they make sense? The message says which field does not, of which stage, and why. */
pk_status pk_model_check(const pk_model_options *o);
/* Channels of stage i (from 0): floor(width * dims[i]). */
int64_t pk_model_channels(const pk_model_options *o, int i);
/* Stage i's options, but for in_channels. Drop path is linspace(0, rate, all blocks). */
void pk_model_stage(const pk_model_options *o, int i, pk_stage_options *s);

#endif
