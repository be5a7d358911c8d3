/* The block's options, for stages. */
#ifndef PK_NN_BLOCK_H
#define PK_NN_BLOCK_H

#include "nn/mixer.h"
#include "nn/parts.h"

typedef struct pk_block_options {
    int64_t channels;
    pk_mixer mixer;
    double mlp_ratio, drop_path, layer_scale;
    int norm; /* pk_norm_kind */
    bool own_position;
    pk_tensor *given_position; /* while it is built inside a stage: the stage's map; not an option */
} pk_block_options;

void pk_block_defaults(pk_block_options *o); /* what nn.Block has without options; channels 0 */
/* Make a Block as child `name` of m. */
pk_status pk_block_make(pk_module *m, const char *name, const pk_block_options *o);

#endif
