/* Parts of a model: stages and heads. */
#ifndef PK_NN_STAGE_H
#define PK_NN_STAGE_H

#include "nn/block.h"

typedef struct pk_stage_options {
    int64_t in_channels; /* 0: no downsampling */
    int64_t depth;
    pk_block_options block; /* its drop_path is the first block's */
    double drop_path_end;   /* the last block's; linear between */
} pk_stage_options;

pk_status pk_head_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale);

#endif
