/* RepLKNet's stem and transitions (arXiv 2203.06717, section 4): convolutions with batch norm and ReLU. */
#include "nn/args.h"
#include "nn/stage.h"

/* Behind a convolution that stands in `unit`. */
static pk_status add_bn_relu(pk_module *unit, int64_t channels) {
    PK_TRY(pk_add_norm(unit, "bn", PK_NORM_BATCH, channels));
    return pk_module_make(unit, "nonlinear", &pk_class_ReLU, NULL, NULL);
}

/* 3x3, padding 1: dense from in to out, or depthwise on `out` channels when in is 0. */
static pk_status add_3x3(pk_module *m, int64_t in, int64_t out, int64_t stride) {
    pk_module *unit;
    pk_options o;
    pk_options_begin(&o, in ? &pk_class_Conv2d : &pk_class_DepthwiseConv);
    if (in) pk_options_set(&o, "in_channels", (double)in);
    pk_options_set(&o, in ? "out_channels" : "channels", (double)out);
    pk_options_set(&o, "kernel", 3);
    pk_options_set(&o, "stride", (double)stride);
    pk_options_set(&o, "padding", 1);
    pk_options_set(&o, "bias", 0);
    PK_TRY(pk_module_make(m, NULL, &pk_class_Sequential, NULL, &unit));
    PK_TRY(pk_options_make(&o, unit, "conv", NULL));
    return add_bn_relu(unit, out);
}

pk_status pk_replk_stem_add(pk_module *m, const char *name, int64_t in, int64_t out, int64_t stride) {
    pk_module *stem;
    PK_RETURN_IF(stride != 1 && stride != 2 && stride != 4, PK_EINVAL,
                 "stem must be 1, 2 or 4 for RepLKNet's convolutional stem, got %lld", (long long)stride);
    PK_TRY(pk_module_make(m, name, &pk_class_Sequential, NULL, &stem));
    PK_TRY(add_3x3(stem, in, out, stride > 1 ? 2 : 1));
    PK_TRY(add_3x3(stem, 0, out, 1));
    PK_TRY(pk_add_pointwise_bn(stem, NULL, out, out, true));
    return add_3x3(stem, 0, out, stride > 2 ? 2 : 1);
}

pk_status pk_replk_transition_add(pk_module *m, const char *name, int64_t in, int64_t out) {
    pk_module *transition;
    PK_TRY(pk_module_make(m, name, &pk_class_Sequential, NULL, &transition));
    PK_TRY(pk_add_pointwise_bn(transition, NULL, in, out, true));
    return add_3x3(transition, 0, out, 2);
}
