/* ConvNeXt's own names (github.com/facebookresearch/ConvNeXt): downsample_layers.0 is the stem, convolution then norm;
 * the others are norm then convolution. */
#include "io/key_map.h"

static const pk_key_rule rules[] = {
    {"downsample_layers.0.#.*", "stem.$1.*"},
    {"downsample_layers.#.#.*", "stages.$1.downsample.$2.*"},
    {"stages.#.#.dwconv.*", "stages.$1.blocks.$2.conv_dw.*"},
    {"stages.#.#.norm.*", "stages.$1.blocks.$2.norm.*"},
    {"stages.#.#.pwconv#.*", "stages.$1.blocks.$2.mlp.fc$3.*"},
    {"stages.#.#.gamma", "stages.$1.blocks.$2.gamma"},
    {"norm.*", "head.norm.*"},
    {"head.*", "head.fc.*"},
};

const pk_key_map pk_key_map_convnext = {
    .name = "convnext",
    .doc = "ConvNeXt's authors",
    .rule = rules,
    .rules = sizeof rules / sizeof *rules,
};
