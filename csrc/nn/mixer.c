/* What mixers have in common, and which layers a mixer is made of. */
#include "nn/mixer.h"

#include "nn/args.h"
#include "nn/parts.h"
#include "ops/grid.h"

int64_t pk_mixer_channels(const pk_mixer *o, int64_t channels) {
    int64_t g = (int64_t)(o->partial * (double)channels + 1e-9);
    return g < 1 ? 1 : g;
}

pk_status pk_mixer_grid(const pk_mixer *o, pk_ints *grid) {
    PK_RETURN_IF(o->kernel % 2 == 0, PK_EINVAL, "kernel must be odd, got %lld", (long long)o->kernel);
    if (o->grid.n == 0) return pk_grid((int)o->kernel, (int)o->radius, (int)o->base, o->rule, grid);
    int64_t sum = 0;
    for (int i = 0; i < o->grid.n; i++) sum += o->grid.v[i];
    PK_RETURN_IF(sum != o->kernel, PK_EINVAL, "grid sums to %lld, but kernel is %lld", (long long)sum, (long long)o->kernel);
    *grid = o->grid;
    return PK_OK;
}

bool pk_mixer_has_position(const pk_mixer *o) {
    return o->mixer == PK_MIXER_PERIPHERAL && o->position_mode != PK_POSITION_OFF;
}

pk_status pk_mixer_add_position(pk_module *m, const pk_mixer *o, int64_t channels) {
    if (!pk_mixer_has_position(o)) return PK_OK;
    const int64_t shape[] = {o->kernel, o->kernel, channels};
    int ndim = o->position_shape == PK_POSITION_MAP ? 2 : 3;
    PK_TRY(pk_module_parameter(m, "position", ndim, shape, PK_INIT_TRUNC_NORMAL, 0.02));
    pk_module_slot(m, "position")->no_decay = true;
    return PK_OK;
}

/* A depthwise kh x kw convolution over `channels`. */
static pk_status add_depthwise(pk_module *m, const char *name, int64_t channels, int64_t kh, int64_t kw, bool bias) {
    pk_options o;
    pk_options_begin(&o, &pk_class_DepthwiseConv);
    pk_options_set(&o, "channels", (double)channels);
    pk_options_set_pair(&o, "kernel", kh, kw);
    pk_options_set(&o, "bias", bias);
    return pk_options_make(&o, m, name, NULL);
}

/* A branch: Sequential with conv and, when the mixer is re-parameterisable, bn. */
static pk_status begin_branch(pk_module *m, const char *name, pk_module **branch) {
    return pk_module_make(m, name, &pk_class_Sequential, NULL, branch);
}

static pk_status add_depthwise_branch(pk_module *m, const char *name, const pk_mixer *o, int64_t channels, int64_t kh,
                                      int64_t kw) {
    pk_module *branch;
    PK_TRY(begin_branch(m, name, &branch));
    PK_TRY(add_depthwise(branch, "conv", channels, kh, kw, !o->reparam));
    return o->reparam ? pk_add_norm(branch, "bn", PK_NORM_BATCH, channels) : PK_OK;
}

static pk_status add_peripheral_branch(pk_module *m, const pk_mixer *o, int64_t channels, pk_tensor *position) {
    pk_module *branch;
    PK_TRY(begin_branch(m, "large", &branch));
    PK_TRY(pk_peripheral_make(branch, "conv", o, channels, position));
    return o->reparam ? pk_add_norm(branch, "bn", PK_NORM_BATCH, channels) : PK_OK;
}

pk_status pk_mixer_add_branches(pk_module *m, const pk_mixer *o, int64_t channels, pk_tensor *position) {
    switch (o->mixer) {
    case PK_MIXER_PERIPHERAL:
        PK_TRY(add_peripheral_branch(m, o, channels, position));
        break;
    case PK_MIXER_STRIPE: /* the short side is the small kernel's (SLaK: 51x5 and 5x51 beside 5x5) */
        PK_RETURN_IF(o->small_kernel < 1, PK_EINVAL, "a stripe mixer needs small_kernel as its short side, got 0");
        PK_TRY(add_depthwise_branch(m, "tall", o, channels, o->kernel, o->small_kernel));
        PK_TRY(add_depthwise_branch(m, "wide", o, channels, o->small_kernel, o->kernel));
        break;
    default:
        PK_RETURN_IF(o->kernel % 2 == 0, PK_EINVAL, "kernel must be odd, got %lld", (long long)o->kernel);
        PK_TRY(add_depthwise_branch(m, "large", o, channels, o->kernel, o->kernel));
    }
    PK_RETURN_IF(o->small_kernel > 0 && o->small_kernel % 2 == 0, PK_EINVAL, "small_kernel must be odd, got %lld",
                 (long long)o->small_kernel);
    if (o->small_kernel > 0 && o->small_kernel < o->kernel)
        PK_TRY(add_depthwise_branch(m, "small", o, channels, o->small_kernel, o->small_kernel));
    return PK_OK;
}

pk_status pk_inception_add_branches(pk_module *m, const pk_mixer *o, int64_t each) {
    PK_TRY(add_depthwise(m, "dwconv_hw", each, o->small_kernel > 0 ? o->small_kernel : 3,
                         o->small_kernel > 0 ? o->small_kernel : 3, true));
    PK_TRY(add_depthwise(m, "dwconv_w", each, 1, o->kernel, true));
    return add_depthwise(m, "dwconv_h", each, o->kernel, 1, true);
}

pk_status pk_mixer_make(pk_module *m, const char *name, const pk_mixer *o, int64_t channels, pk_tensor *position) {
    if (o->mixer == PK_MIXER_INCEPTION) return pk_inception_make(m, name, o, channels);
    bool plain = o->mixer == PK_MIXER_DENSE && !o->reparam && o->small_kernel == 0;
    if (plain && pk_mixer_channels(o, channels) == channels) { /* ConvNeXt: conv_dw.weight, conv_dw.bias */
        PK_RETURN_IF(o->kernel % 2 == 0, PK_EINVAL, "%s: kernel must be odd, got %lld", name, (long long)o->kernel);
        return add_depthwise(m, name, channels, o->kernel, o->kernel, true);
    }
    return pk_partial_make(m, name, o, channels, position);
}
