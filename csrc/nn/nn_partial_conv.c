/* PartialConv, the token mixer of a PeLK block: the first g channels go through a large kernel (peripheral, dense or
 * stripes) beside a small one, each with its batch norm; the rest pass unchanged (PeLK, section 4.3). InceptionConv, the
 * mixer of InceptionNeXt: the last three groups of channels are convolved 3x3, 1x11 and 11x1. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/merge.h"
#include "nn/mixer.h"

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
    if (o->own_position) PK_TRY(pk_mixer_add_position(m, &o->mixer, g));
    return pk_mixer_add_branches(m, &o->mixer, g, o->own_position ? pk_module_tensor(m, "position") : o->given_position);
}

static pk_status channel_slice(pk_tensor *x, int64_t start, int64_t length, pk_tensor **out) {
    pk_args args;
    pk_args_begin(&args, &pk_op_narrow);
    pk_args_set(&args, "dim", -1);
    pk_args_set(&args, "start", (double)start);
    pk_args_set(&args, "length", (double)length);
    return pk_args_run(&args, &x, 1, out);
}

static pk_status join_channels(pk_tensor *const *part, int n, pk_tensor **out) {
    pk_args args;
    pk_args_begin(&args, &pk_op_concat);
    pk_args_set(&args, "dim", -1);
    return pk_args_run(&args, part, n, out);
}

static pk_status check_channels(const pk_tensor *x, const pk_module *m, int64_t channels) {
    PK_RETURN_IF(x->ndim != 4 || x->shape[3] != channels, PK_EINVAL, "%s: expected {N,H,W,%lld}, got %s", m->cls->name,
                 (long long)channels, pk_shape_text(x));
    return PK_OK;
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
    PK_TRY(check_channels(x, m, o->channels));
    int64_t g = pk_mixer_channels(&o->mixer, o->channels);
    if (g == o->channels) return branches(m, x, y);
    pk_tensor *part[2] = {0}, *slice = NULL;
    pk_status status;
    PK_TRY_DONE(channel_slice(x, 0, g, &slice));
    PK_TRY_DONE(branches(m, slice, &part[0]));
    PK_TRY_DONE(channel_slice(x, g, o->channels - g, &part[1]));
    PK_TRY_DONE(join_channels(part, 2, y));
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

/* ---- InceptionConv ---- */

static pk_status inception_build(pk_module *m) {
    const options *o = m->options;
    int64_t each = pk_mixer_channels(&o->mixer, o->channels);
    PK_RETURN_IF(3 * each > o->channels, PK_EINVAL, "InceptionConv: partial %g of %lld channels, three times, is too many",
                 o->mixer.partial, (long long)o->channels);
    return pk_inception_add_branches(m, &o->mixer, each);
}

static pk_status inception_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    const options *o = m->options;
    PK_TRY(check_channels(x, m, o->channels));
    int64_t each = pk_mixer_channels(&o->mixer, o->channels), rest = o->channels - 3 * each;
    pk_tensor *part[4] = {0};
    int n = 0;
    pk_status status = PK_OK;
    if (rest > 0) PK_TRY_DONE(channel_slice(x, 0, rest, &part[n++]));
    for (int i = 0; i < 3; i++) {
        pk_tensor *slice;
        PK_TRY_DONE(channel_slice(x, rest + i * each, each, &slice));
        status = pk_module_forward_child(m, i, slice, &part[n++]);
        pk_tensor_release(slice);
        if (status != PK_OK) goto done;
    }
    PK_TRY_DONE(join_channels(part, n, y));
done:
    for (int i = 0; i < 4; i++) pk_tensor_release(part[i]);
    return status;
}

const pk_class pk_class_InceptionConv = {
    .name = "InceptionConv",
    .doc = "Channels in four groups: identity first, then a square, a wide and a tall depthwise kernel on a share "
           "`partial` of the channels each (InceptionNeXt, arXiv 2303.16900, section 3.2).",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = inception_build,
    .forward = inception_forward,
};

pk_status pk_inception_make(pk_module *m, const char *name, const pk_mixer *mixer, int64_t channels) {
    const options o = {.channels = channels, .mixer = *mixer, .own_position = false};
    return pk_module_make(m, name, &pk_class_InceptionConv, &o, NULL);
}
