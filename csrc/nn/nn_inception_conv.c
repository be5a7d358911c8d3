/* InceptionConv, the mixer of InceptionNeXt: of four groups of channels the first passes unchanged, the other three are
 * convolved by a square, a wide and a tall kernel. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/mixer.h"
#include "nn/parts.h"

typedef struct options {
    int64_t channels, kernel, small_kernel;
    double partial;
} options;

static pk_mixer mixer_of(const options *o) {
    return (pk_mixer){.mixer = PK_MIXER_INCEPTION, .kernel = o->kernel, .small_kernel = o->small_kernel,
                      .partial = o->partial};
}

static int64_t each(const options *o) {
    pk_mixer mixer = mixer_of(o);
    return pk_mixer_channels(&mixer, o->channels);
}

static pk_status build(pk_module *m) {
    const options *o = m->options;
    pk_mixer mixer = mixer_of(o);
    PK_TRY(pk_mixer_check(&mixer, o->channels));
    return pk_inception_add_branches(m, &mixer, each(o));
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    const options *o = m->options;
    PK_TRY(pk_check_channels(m, x, o->channels));
    int64_t n_each = each(o), rest = o->channels - 3 * n_each;
    pk_tensor *part[4] = {0};
    int n = 0;
    pk_status status = PK_OK;
    if (rest > 0) PK_TRY_DONE(pk_channel_slice(x, 0, rest, &part[n++]));
    for (int i = 0; i < 3; i++) {
        pk_tensor *slice;
        PK_TRY_DONE(pk_channel_slice(x, rest + i * n_each, n_each, &slice));
        status = pk_module_forward_child(m, i, slice, &part[n++]);
        pk_tensor_release(slice);
        if (status != PK_OK) goto done;
    }
    PK_TRY_DONE(pk_channel_join(part, n, y));
done:
    for (int i = 0; i < 4; i++) pk_tensor_release(part[i]);
    return status;
}

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "3 x %lld of %lld channels", (long long)each(o), (long long)o->channels);
}

static const pk_field fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_INT(options, kernel, 11, 1, 4095, "length of the bands 1 x kernel and kernel x 1, odd"),
    F_INT(options, small_kernel, 3, 1, 4095, "side of the square kernel, odd"),
    F_FLOAT(options, partial, 0.125, 1e-6, 1, "share of the channels of each of the three kernels"),
};

const pk_class pk_class_InceptionConv = {
    .name = "InceptionConv",
    .doc = "Channels in four groups: identity first, then a square, a wide and a tall depthwise kernel on a share "
           "`partial` of the channels each (InceptionNeXt, arXiv 2303.16900, section 3.2).",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
};

pk_status pk_inception_make(pk_module *m, const char *name, const pk_mixer *mixer, int64_t channels) {
    const options o = {channels, mixer->kernel, mixer->small_kernel, mixer->partial};
    return pk_module_make(m, name, &pk_class_InceptionConv, &o, NULL);
}
