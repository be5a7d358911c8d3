/* Parts of a model: stages, stems, heads. */
#ifndef PK_NN_STAGE_H
#define PK_NN_STAGE_H

#include "nn/block.h"

typedef struct pk_stage_options {
    int64_t in_channels; /* 0: no downsampling */
    int64_t depth;
    pk_block_options block; /* its drop_path is the first block's */
    double drop_path_end;   /* the last block's; linear between */
} pk_stage_options;

/* A patch x patch convolution with the same stride. */
pk_status pk_patchify_add(pk_module *m, const char *name, int64_t in, int64_t out, int64_t patch);
pk_status pk_norm_add(pk_module *m, const char *name, int kind, int64_t channels);
pk_status pk_head_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale);

#endif
