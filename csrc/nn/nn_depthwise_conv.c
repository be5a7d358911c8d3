/* DepthwiseConv: one kernel a channel, square or not; StripeConv: a long and a short side and its transpose, summed. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/fields.h"
#include "nn/merge.h"

typedef struct options {
    int64_t channels, kernel[2], stride[2], padding[2], dilation[2];
    bool bias;
} options;

static pk_status build(pk_module *m) {
    const options *o = m->options;
    const int64_t shape[] = {o->kernel[0], o->kernel[1], o->channels};
    PK_TRY(pk_module_parameter(m, "weight", 3, shape, PK_INIT_TRUNC_NORMAL, 0.02));
    return o->bias ? pk_module_parameter(m, "bias", 1, &o->channels, PK_INIT_ZEROS, 0) : PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *in[] = {x, pk_module_tensor(m, "weight"), pk_module_tensor(m, "bias")};
    return pk_run_layer(&pk_op_depthwise_conv, m, in, 3, y);
}

/* In front only where no zeros are padded. */
static pk_status absorb(pk_module *m, const pk_affine *a, bool behind, bool *done) {
    const options *o = m->options;
    if (behind) return pk_absorb_lanes(m, a, done);
    for (int i = 0; i < 2; i++)
        if (o->padding[i] > 0 || (o->padding[i] == PK_SAME && o->kernel[i] > 1)) return PK_OK;
    return pk_absorb_input_lanes(m, a, done);
}

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld, kernel %lldx%lld", (long long)o->channels, (long long)o->kernel[0], (long long)o->kernel[1]);
}

static const pk_field fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_PAIR(options, kernel, 7, 1, 4096, "kernel size, n or {h,w}"),
    F_PAIR(options, stride, 1, 1, 4096, "step, n or {h,w}"),
    F_PADDING(options, padding, PK_SAME, "zeros around the image: \"same\", n or {h,w}"),
    F_PAIR(options, dilation, 1, 1, 4096, "distance of taps"),
    F_BOOL(options, bias, 1, "add a learned bias"),
};

const pk_class pk_class_DepthwiseConv = {
    .name = "DepthwiseConv",
    .doc = "One kernel a channel: {N,H,W,C} to {N,H',W',C}; weight {kh,kw,C}, truncated normal 0.02.",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
    .absorb = absorb,
};

/* ---- stripes ---- */

typedef struct stripe_options {
    int64_t channels, kernel, short_side;
    bool bias;
} stripe_options;

static pk_status stripe_build(pk_module *m) {
    const stripe_options *o = m->options;
    const options tall = {o->channels, {o->kernel, o->short_side}, {1, 1}, {PK_SAME, PK_SAME}, {1, 1}, o->bias};
    const options wide = {o->channels, {o->short_side, o->kernel}, {1, 1}, {PK_SAME, PK_SAME}, {1, 1}, false};
    PK_TRY(pk_module_make(m, "tall", &pk_class_DepthwiseConv, &tall, NULL));
    return pk_module_make(m, "wide", &pk_class_DepthwiseConv, &wide, NULL);
}

static pk_status stripe_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *tall, *wide;
    PK_TRY(pk_module_forward_child(m, 0, x, &tall));
    pk_status status = pk_module_forward_child(m, 1, x, &wide);
    if (status == PK_OK) {
        status = pk_run2(&pk_op_add, tall, wide, y);
        pk_tensor_release(wide);
    }
    pk_tensor_release(tall);
    return status;
}

/* Behind: both stripes are scaled, the shift goes into the tall one's bias. */
static pk_status stripe_absorb(pk_module *m, const pk_affine *a, bool behind, bool *done) {
    pk_module *tall = m->child[0].module;
    pk_slot *wide = pk_module_slot(m->child[1].module, "weight");
    pk_tensor *scaled;
    if (!behind || ((const stripe_options *)m->options)->channels != a->channels) return PK_OK;
    PK_TRY(pk_tensor_like(wide->tensor, &scaled));
    const float *from = pk_f32(wide->tensor);
    for (int64_t i = 0; i < pk_numel(scaled); i++) pk_f32(scaled)[i] = (float)(from[i] * a->scale[i % a->channels]);
    pk_status status = pk_absorb_lanes(tall, a, done);
    if (status == PK_OK && *done) {
        pk_slot_set(wide, pk_tensor_retain(scaled));
        ((stripe_options *)m->options)->bias = true;
    }
    pk_tensor_release(scaled);
    return status;
}

static const pk_field stripe_fields[] = {
    F_NEED(stripe_options, channels, 1, F_CHANNELS, "channels"),
    F_INT(stripe_options, kernel, 51, 1, 4096, "long side"),
    F_INT(stripe_options, short_side, 5, 1, 4096, "short side"),
    F_BOOL(stripe_options, bias, 1, "add a learned bias"),
};

const pk_class pk_class_StripeConv = {
    .name = "StripeConv",
    .doc = "A depthwise kernel x short and a short x kernel convolution, summed (SLaK, arXiv 2207.03620, section 3).",
    .options_size = sizeof(stripe_options),
    .fields = stripe_fields,
    .nfields = F_COUNT(stripe_fields),
    .build = stripe_build,
    .forward = stripe_forward,
    .absorb = stripe_absorb,
};
