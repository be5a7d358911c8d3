/* Parts of a model: stages, what stands between them in RepLKNet, heads. */
#ifndef PK_NN_STAGE_H
#define PK_NN_STAGE_H

#include "nn/block.h"

typedef enum pk_block_kind { PK_BLOCK_CONVNEXT, PK_BLOCK_REPLKNET } pk_block_kind;
#define PK_BLOCK_KINDS "convnext|replknet"

typedef struct pk_stage_options {
    int64_t in_channels; /* 0: no downsampling */
    int64_t depth;
    int kind;               /* pk_block_kind */
    pk_block_options block; /* its drop_path is the first block's */
    double dw_ratio;        /* replknet: width of the large kernel over channels */
    double drop_path_end;   /* the last block's; linear between */
} pk_stage_options;

/* RepLKNet's stem, `name` a Sequential: 3x3 convolution, 3x3 depthwise, 1x1, 3x3 depthwise, each with batch norm and ReLU;
 * of stride 4, 2 (the first only) or 1. */
pk_status pk_replk_stem_add(pk_module *m, const char *name, int64_t in, int64_t out, int64_t stride);
/* Its transition to more channels and half the size: 1x1 and 3x3 depthwise of stride 2, each with batch norm and ReLU. */
pk_status pk_replk_transition_add(pk_module *m, const char *name, int64_t in, int64_t out);

/* norm, fc over the mean of the pixels; init_scale is a factor on the classifier's weights. */
pk_status pk_head_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale);
/* fc1 to 3 x channels, GELU, norm, fc2 (InceptionNeXt). */
pk_status pk_mlp_head_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale);
/* fc alone, as Linear `name` itself. */
pk_status pk_classifier_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale);

#endif
