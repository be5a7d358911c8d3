/* Conv2d: dense or grouped convolution of NHWC images. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/fields.h"
#include "nn/merge.h"

typedef struct options {
    int64_t in_channels, out_channels, kernel[2], stride[2], padding[2], dilation[2], groups;
    bool bias;
} options;

static pk_status build(pk_module *m) {
    const options *o = m->options;
    PK_RETURN_IF(o->in_channels % o->groups || o->out_channels % o->groups, PK_EINVAL,
                 "Conv2d: in_channels %lld and out_channels %lld must both be multiples of groups %lld",
                 (long long)o->in_channels, (long long)o->out_channels, (long long)o->groups);
    const int64_t shape[] = {o->out_channels, o->kernel[0], o->kernel[1], o->in_channels / o->groups};
    PK_TRY(pk_module_parameter(m, "weight", 4, shape, PK_INIT_TRUNC_NORMAL, 0.02));
    return o->bias ? pk_module_parameter(m, "bias", 1, &o->out_channels, PK_INIT_ZEROS, 0) : PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *in[] = {x, pk_module_tensor(m, "weight"), pk_module_tensor(m, "bias")};
    return pk_run_layer(&pk_op_conv2d, m, in, 3, y);
}

/* In front only where no zeros are padded: they are no outputs of what stood there. */
static pk_status absorb(pk_module *m, const pk_affine *a, bool behind, bool *done) {
    const options *o = m->options;
    if (behind) return pk_absorb_rows(m, a, done);
    for (int i = 0; i < 2; i++)
        if (o->padding[i] > 0 || (o->padding[i] == PK_SAME && o->kernel[i] > 1)) return PK_OK;
    return pk_absorb_inputs(m, a, o->groups, done);
}

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld -> %lld, kernel %lldx%lld, stride %lld", (long long)o->in_channels,
             (long long)o->out_channels, (long long)o->kernel[0], (long long)o->kernel[1], (long long)o->stride[0]);
}

static const pk_field fields[] = {
    F_NEED(options, in_channels, 1, F_CHANNELS, "channels of the input"),
    F_NEED(options, out_channels, 1, F_CHANNELS, "channels of the output"),
    F_PAIR(options, kernel, 1, 1, 4096, "kernel size, n or {h,w}"),
    F_PAIR(options, stride, 1, 1, 4096, "step, n or {h,w}"),
    F_PADDING(options, padding, 0, "zeros around the image: n, {h,w} or \"same\""),
    F_PAIR(options, dilation, 1, 1, 4096, "distance of taps"),
    F_INT(options, groups, 1, 1, F_CHANNELS, "channel groups that do not mix"),
    F_BOOL(options, bias, 1, "add a learned bias"),
};

const pk_class pk_class_Conv2d = {
    .name = "Conv2d",
    .doc = "Convolution of {N,H,W,in} to {N,H',W',out}; weight {out,kh,kw,in/groups}, truncated normal 0.02.",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
    .absorb = absorb,
};
