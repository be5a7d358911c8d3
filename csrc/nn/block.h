/* The blocks' options, for stages. */
#ifndef PK_NN_BLOCK_H
#define PK_NN_BLOCK_H

#include "nn/mixer.h"
#include "nn/parts.h"
#include "ops/mlp.h"

typedef struct pk_block_options {
    int64_t channels;
    pk_mixer mixer;
    double mlp_ratio, drop_path, layer_scale;
    int norm, recompute; /* pk_norm_kind, pk_recompute */
    bool conv_mlp, own_position;
    pk_tensor *given_position; /* while it is built inside a stage: the stage's map; not an option */
} pk_block_options;

void pk_block_defaults(pk_block_options *o); /* what nn.Block has without options; channels 0 */
/* Make a Block as child `name` of m. */
pk_status pk_block_make(pk_module *m, const char *name, const pk_block_options *o);

/* RepLKNet's two blocks, which alternate. */
typedef struct pk_replk_options {
    int64_t channels;
    pk_mixer mixer;
    double ratio, drop_path; /* ratio: inner width over channels */
    bool own_position;
    pk_tensor *given_position; /* as above */
} pk_replk_options;

int64_t pk_replk_width(int64_t channels, double ratio); /* floor(ratio * channels), at least 1 */
pk_status pk_replk_make(pk_module *m, const char *name, const pk_replk_options *o);
pk_status pk_conv_ffn_make(pk_module *m, const char *name, int64_t channels, double ratio, double drop_path);

#endif
