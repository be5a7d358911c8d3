/* SLaK's own names (github.com/VITA-Group/SLaK), built on ConvNeXt's: LoRA1 is the tall stripe, LoRA2 the wide one,
 * lkb_origin the square kernel of models that are not decomposed. */
#include "io/key_map.h"

static const pk_key_rule rules[] = {
    {"downsample_layers.0.#.*", "stem.$1.*"},
    {"downsample_layers.#.#.*", "stages.$1.downsample.$2.*"},
    {"stages.#.#.large_kernel.LoRA1.*", "stages.$1.blocks.$2.conv_dw.tall.*"},
    {"stages.#.#.large_kernel.LoRA2.*", "stages.$1.blocks.$2.conv_dw.wide.*"},
    {"stages.#.#.large_kernel.small_conv.*", "stages.$1.blocks.$2.conv_dw.small.*"},
    {"stages.#.#.large_kernel.lkb_origin.*", "stages.$1.blocks.$2.conv_dw.large.*"},
    {"stages.#.#.large_kernel.lkb_reparam.*", "stages.$1.blocks.$2.conv_dw.reparam.*"},
    {"stages.#.#.norm.*", "stages.$1.blocks.$2.norm.*"},
    {"stages.#.#.pwconv#.*", "stages.$1.blocks.$2.mlp.fc$3.*"},
    {"stages.#.#.gamma", "stages.$1.blocks.$2.gamma"},
    {"norm.*", "head.norm.*"},
    {"head.*", "head.fc.*"},
};

const pk_key_map pk_key_map_slak = {
    .name = "slak",
    .doc = "SLaK's authors",
    .rule = rules,
    .rules = sizeof rules / sizeof *rules,
};
