/* What mixers have in common, and which layers a mixer is made of. */
#include "nn/mixer.h"

#include "nn/args.h"
#include "nn/parts.h"
#include "ops/grid.h"

int64_t pk_mixer_channels(const pk_mixer *o, int64_t channels) {
    return (int64_t)(o->partial * (double)channels + 1e-9);
}

const char *pk_mixer_name(const pk_mixer *o) { return o->mixer == PK_MIXER_INCEPTION ? "token_mixer" : "conv_dw"; }

static pk_status check_small(const pk_mixer *o) {
    bool needed = o->mixer == PK_MIXER_STRIPE || o->mixer == PK_MIXER_INCEPTION;
    PK_RETURN_IF(o->small_kernel > 0 && o->small_kernel % 2 == 0, PK_EINVAL, "small_kernel must be odd, got %lld",
                 (long long)o->small_kernel);
    PK_RETURN_IF(needed && o->small_kernel < 1, PK_EINVAL, "small_kernel is 0, but a mixer '%s' needs it as %s",
                 o->mixer == PK_MIXER_STRIPE ? "stripe" : "inception",
                 o->mixer == PK_MIXER_STRIPE ? "the short side of its stripes" : "the side of its square kernel");
    return PK_OK;
}

pk_status pk_mixer_check(const pk_mixer *o, int64_t channels) {
    pk_ints grid;
    int64_t g = pk_mixer_channels(o, channels), groups = o->mixer == PK_MIXER_INCEPTION ? 3 : 1;
    PK_RETURN_IF(o->grid.n && o->kernel % 2 == 0, PK_EINVAL, "grid sums to %lld, wanted an odd number",
                 (long long)o->kernel);
    PK_RETURN_IF(o->kernel % 2 == 0, PK_EINVAL, "kernel must be odd, got %lld", (long long)o->kernel);
    PK_RETURN_IF(o->grid.n && o->mixer != PK_MIXER_PERIPHERAL, PK_EINVAL,
                 "grid is given, but only the mixer 'peripheral' shares weights on one");
    PK_RETURN_IF(g < 1, PK_EINVAL, "partial %g of %lld channels leaves none to convolve", o->partial, (long long)channels);
    PK_RETURN_IF(groups * g > channels, PK_EINVAL,
                 "partial %g of %lld channels for each of the three kernels of a mixer 'inception' is too many: at most 1/3",
                 o->partial, (long long)channels);
    PK_TRY(check_small(o));
    return o->mixer == PK_MIXER_PERIPHERAL ? pk_mixer_grid(o, &grid) : PK_OK;
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

static const char *large_name(const pk_mixer *o) { return o->names == PK_NAMES_REPLK ? "lkb_origin" : "large"; }
static const char *small_name(const pk_mixer *o) { return o->names == PK_NAMES_REPLK ? "small_conv" : "small"; }

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
    PK_TRY(begin_branch(m, large_name(o), &branch));
    PK_TRY(pk_peripheral_make(branch, "conv", o, channels, position));
    return o->reparam ? pk_add_norm(branch, "bn", PK_NORM_BATCH, channels) : PK_OK;
}

pk_status pk_mixer_add_branches(pk_module *m, const pk_mixer *o, int64_t channels, pk_tensor *position) {
    switch (o->mixer) {
    case PK_MIXER_PERIPHERAL:
        PK_TRY(add_peripheral_branch(m, o, channels, position));
        break;
    case PK_MIXER_STRIPE: /* the short side is the small kernel's (SLaK: 51x5 and 5x51 beside 5x5) */
        PK_TRY(add_depthwise_branch(m, "tall", o, channels, o->kernel, o->small_kernel));
        PK_TRY(add_depthwise_branch(m, "wide", o, channels, o->small_kernel, o->kernel));
        break;
    default:
        PK_TRY(add_depthwise_branch(m, large_name(o), o, channels, o->kernel, o->kernel));
    }
    if (o->small_kernel > 0 && o->small_kernel < o->kernel)
        PK_TRY(add_depthwise_branch(m, small_name(o), o, channels, o->small_kernel, o->small_kernel));
    return PK_OK;
}

pk_status pk_inception_add_branches(pk_module *m, const pk_mixer *o, int64_t each) {
    PK_TRY(add_depthwise(m, "dwconv_hw", each, o->small_kernel, o->small_kernel, true));
    PK_TRY(add_depthwise(m, "dwconv_w", each, 1, o->kernel, true));
    return add_depthwise(m, "dwconv_h", each, o->kernel, 1, true);
}

pk_status pk_mixer_make(pk_module *m, const char *name, const pk_mixer *o, int64_t channels, pk_tensor *position) {
    if (o->mixer == PK_MIXER_INCEPTION) return pk_inception_make(m, name, o, channels);
    bool plain = o->mixer == PK_MIXER_DENSE && !o->reparam && o->small_kernel == 0;
    if (plain && pk_mixer_channels(o, channels) == channels) { /* ConvNeXt: conv_dw.weight, conv_dw.bias */
        pk_status status = pk_mixer_check(o, channels);
        return status == PK_OK ? add_depthwise(m, name, channels, o->kernel, o->kernel, true)
                               : pk_fail_prefix(status, "%s: ", name);
    }
    return pk_partial_make(m, name, o, channels, position);
}
