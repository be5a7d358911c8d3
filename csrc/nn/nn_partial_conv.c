/* PartialConv, the token mixer of a PeLK block: the first g channels go through a large kernel (peripheral, dense or
 * stripes) beside a small one, each with its batch norm; the rest pass unchanged (PeLK, section 4.3). */
#include <stdio.h>

#include "nn/args.h"
#include "nn/merge.h"
#include "nn/mixer.h"
#include "nn/parts.h"

typedef struct options {
    int64_t channels;
    pk_mixer mixer;
    bool own_position;
    pk_tensor *given_position; /* while it is built inside a stage: the stage's map; not an option */
} options;

static const pk_field fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_MIXER(options, mixer),
    F_BOOL(options, own_position, 1, "make a position map (peripheral mixers, unless position_mode is off)"),
};

static pk_status build(pk_module *m) {
    const options *o = m->options;
    int64_t g = pk_mixer_channels(&o->mixer, o->channels);
    PK_TRY(pk_mixer_check(&o->mixer, o->channels));
    if (o->own_position) PK_TRY(pk_mixer_add_position(m, &o->mixer, g));
    return pk_mixer_add_branches(m, &o->mixer, g, o->own_position ? pk_module_tensor(m, "position") : o->given_position);
}

/* The sum of all branches. */
static pk_status branches(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *sum = NULL;
    for (int i = 0; i < m->nchildren; i++) {
        pk_tensor *branch, *next;
        pk_status status = pk_module_forward_child(m, i, x, &branch);
        if (status == PK_OK && sum) {
            status = pk_run2(&pk_op_add, sum, branch, &next);
            pk_tensor_release(branch);
        } else if (status == PK_OK) {
            next = branch;
        }
        if (i > 0) pk_tensor_release(sum);
        if (status != PK_OK) return status;
        sum = next;
    }
    *y = sum;
    return PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    const options *o = m->options;
    PK_TRY(pk_check_channels(m, x, o->channels));
    int64_t g = pk_mixer_channels(&o->mixer, o->channels);
    if (g == o->channels) return branches(m, x, y);
    pk_tensor *part[2] = {0}, *slice = NULL;
    pk_status status;
    PK_TRY_DONE(pk_channel_slice(x, 0, g, &slice));
    PK_TRY_DONE(branches(m, slice, &part[0]));
    PK_TRY_DONE(pk_channel_slice(x, g, o->channels - g, &part[1]));
    PK_TRY_DONE(pk_channel_join(part, 2, y));
done:
    pk_tensor_release(slice);
    pk_tensor_release(part[0]);
    pk_tensor_release(part[1]);
    return status;
}

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld of %lld channels", (long long)pk_mixer_channels(&o->mixer, o->channels),
             (long long)o->channels);
}

const pk_class pk_class_PartialConv = {
    .name = "PartialConv",
    .doc = "Convolve the first floor(partial * channels) channels by the mixer, pass the rest: {N,H,W,C} to the same.",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
    .merge = pk_merge_branches,
};

pk_status pk_partial_make(pk_module *m, const char *name, const pk_mixer *mixer, int64_t channels, pk_tensor *position) {
    const options o = {.channels = channels, .mixer = *mixer, .own_position = false, .given_position = position};
    pk_module *made;
    PK_TRY(pk_module_make(m, name, &pk_class_PartialConv, &o, &made));
    ((options *)made->options)->given_position = NULL; /* the large branch has its own reference */
    return PK_OK;
}
