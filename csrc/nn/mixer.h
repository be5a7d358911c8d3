/* Token mixers: what mixes pixels in a block. One set of options from the single layer to the whole model. */
#ifndef PK_NN_MIXER_H
#define PK_NN_MIXER_H

#include "nn/fields.h"
#include "nn/module.h"

typedef enum pk_mixer_kind { PK_MIXER_PERIPHERAL, PK_MIXER_DENSE, PK_MIXER_STRIPE, PK_MIXER_INCEPTION } pk_mixer_kind;
#define PK_MIXER_KINDS "peripheral|dense|stripe|inception"
typedef enum pk_position_mode { PK_POSITION_VALID, PK_POSITION_ALL, PK_POSITION_OFF } pk_position_mode;
typedef enum pk_position_shape { PK_POSITION_MAP, PK_POSITION_CHANNEL } pk_position_shape;

typedef enum pk_mixer_names { PK_NAMES_PELK, PK_NAMES_REPLK } pk_mixer_names; /* large, small; lkb_origin, small_conv */

typedef struct pk_mixer {
    int mixer;            /* pk_mixer_kind */
    int64_t kernel;       /* odd */
    int64_t radius, base; /* of the sharing grid: fine centre, growth */
    int rule;             /* 0 truncate, 1 merge */
    pk_ints grid;         /* explicit grid; empty: from kernel, radius, base, rule */
    int position_mode, position_shape;
    int64_t small_kernel; /* of the parallel branch, 0: none; left out where not smaller than kernel */
    double partial;       /* share of the channels that is convolved: the first floor(partial * channels) */
    bool reparam;         /* conv + batch norm branches without bias (PeLK, SLaK, RepLKNet); else one conv with bias */
    int names;            /* pk_mixer_names of the branches; not an option: the block knows */
} pk_mixer;

/* The fields of a struct that has a pk_mixer `member`; with defaults of its own for three of them. */
#define F_MIXER(s, member) F_MIXER_AS(s, member, PK_MIXER_PERIPHERAL, 51, 0.375)
#define F_MIXER_AS(s, member, kind, side, share)                                                                    \
    {"mixer", PK_ENUM, offsetof(s, member.mixer), kind, 0, 0, PK_MIXER_KINDS, false, "what mixes pixels"},          \
    {"kernel", PK_INT, offsetof(s, member.kernel), side, 1, 4095, NULL, false, "side of the large kernel, odd"},    \
    {"radius", PK_INT, offsetof(s, member.radius), 2, 0, 2048, NULL, false, "of the fine centre (PeLK 4.1)"},       \
    {"base", PK_INT, offsetof(s, member.base), 2, 1, 64, NULL, false, "growth of the rings outside it"},            \
    {"rule", PK_ENUM, offsetof(s, member.rule), 0, 0, 0, "truncate|merge", false, "what becomes of the last ring"}, \
    {"grid", PK_INTS, offsetof(s, member.grid), NAN, 1, 4095, NULL, false, "explicit sharing grid"},                \
    {"position_mode", PK_ENUM, offsetof(s, member.position_mode), 0, 0, 0, "valid|all|off", false,                  \
     "which taps see the position embedding (PeLK 4.2)"},                                                           \
    {"position_shape", PK_ENUM, offsetof(s, member.position_shape), 0, 0, 0, "map|channel", false,                  \
     "one map for all channels, or one a channel"},                                                                 \
    {"small_kernel", PK_INT, offsetof(s, member.small_kernel), 5, 0, 4095, NULL, false,                             \
     "side of the parallel small kernel, 0 none"},                                                                  \
    {"partial", PK_FLOAT, offsetof(s, member.partial), share, 1e-6, 1, NULL, false,                                 \
     "share of the channels that is convolved (PeLK 4.3)"},                                                         \
    {"reparam", PK_BOOL, offsetof(s, member.reparam), 1, 0, 0, NULL, false, "branches with batch norms, no bias"}

/* Channels that a mixer convolves, out of `channels`: floor(partial * channels). */
int64_t pk_mixer_channels(const pk_mixer *o, int64_t channels);
/* Do the options make sense together, for that many channels? The message begins with the option that does not. */
pk_status pk_mixer_check(const pk_mixer *o, int64_t channels);
/* "conv_dw"; "token_mixer" where the mixer is InceptionNeXt's. */
const char *pk_mixer_name(const pk_mixer *o);
/* The mixer's sharing grid (all ones for dense mixers). */
pk_status pk_mixer_grid(const pk_mixer *o, pk_ints *grid);
/* Add a position map for this mixer as parameter "position" of m; nothing when the mode is off. */
pk_status pk_mixer_add_position(pk_module *m, const pk_mixer *o, int64_t channels);
bool pk_mixer_has_position(const pk_mixer *o);

/* Add the mixer for `channels` channels to m as child `name`. position: a map owned by someone else, or null. */
pk_status pk_mixer_make(pk_module *m, const char *name, const pk_mixer *o, int64_t channels, pk_tensor *position);

/* Its parts, for the classes that are mixers. Branches: "large" (or "tall" and "wide") and "small". */
pk_status pk_mixer_add_branches(pk_module *m, const pk_mixer *o, int64_t channels, pk_tensor *position);
pk_status pk_inception_add_branches(pk_module *m, const pk_mixer *o, int64_t each);
pk_status pk_peripheral_make(pk_module *m, const char *name, const pk_mixer *o, int64_t channels, pk_tensor *position);
/* For merging: the grid of a PeripheralConv, and another explicit one of the same kernel in its place. */
pk_status pk_peripheral_grid(const pk_module *m, pk_ints *grid);
const pk_mixer *pk_peripheral_mixer(const pk_module *m); /* its options */
void pk_peripheral_regrid(pk_module *m, const pk_ints *grid);
pk_status pk_partial_make(pk_module *m, const char *name, const pk_mixer *o, int64_t channels, pk_tensor *position);
pk_status pk_inception_make(pk_module *m, const char *name, const pk_mixer *o, int64_t channels);

#endif
