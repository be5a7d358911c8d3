/* Norms, linear layers and convolutions as children; slices of channels. */
#include "nn/parts.h"

#include "nn/args.h"

pk_status pk_add_norm(pk_module *m, const char *name, pk_norm_kind kind, int64_t channels) {
    pk_options o;
    pk_options_begin(&o, kind == PK_NORM_BATCH ? &pk_class_BatchNorm : &pk_class_LayerNorm);
    pk_options_set(&o, "channels", (double)channels);
    return pk_options_make(&o, m, name, NULL);
}

pk_status pk_add_linear(pk_module *m, const char *name, int64_t in, int64_t out, pk_module **child) {
    pk_options o;
    pk_options_begin(&o, &pk_class_Linear);
    pk_options_set(&o, "in_features", (double)in);
    pk_options_set(&o, "out_features", (double)out);
    return pk_options_make(&o, m, name, child);
}

pk_status pk_add_patch_conv(pk_module *m, const char *name, int64_t in, int64_t out, int64_t kernel, bool bias) {
    pk_options o;
    pk_options_begin(&o, &pk_class_Conv2d);
    pk_options_set(&o, "in_channels", (double)in);
    pk_options_set(&o, "out_channels", (double)out);
    pk_options_set(&o, "kernel", (double)kernel);
    pk_options_set(&o, "stride", (double)kernel);
    pk_options_set(&o, "bias", bias);
    return pk_options_make(&o, m, name, NULL);
}

pk_status pk_add_pointwise_bn(pk_module *m, const char *name, int64_t in, int64_t out, bool relu) {
    pk_module *unit;
    PK_TRY(pk_module_make(m, name, &pk_class_Sequential, NULL, &unit));
    PK_TRY(pk_add_patch_conv(unit, "conv", in, out, 1, false));
    PK_TRY(pk_add_norm(unit, "bn", PK_NORM_BATCH, out));
    return relu ? pk_module_make(unit, "nonlinear", &pk_class_ReLU, NULL, NULL) : PK_OK;
}

/* ---- channels ---- */

pk_status pk_check_channels(const pk_module *m, const pk_tensor *x, int64_t channels) {
    PK_RETURN_IF(x->ndim != 4 || x->shape[3] != channels, PK_EINVAL, "%s: expected {N,H,W,%lld}, got %s", m->cls->name,
                 (long long)channels, pk_shape_text(x));
    return PK_OK;
}

pk_status pk_channel_slice(pk_tensor *x, int64_t start, int64_t length, pk_tensor **out) {
    pk_args args;
    pk_args_begin(&args, &pk_op_narrow);
    pk_args_set(&args, "dim", -1);
    pk_args_set(&args, "start", (double)start);
    pk_args_set(&args, "length", (double)length);
    return pk_args_run(&args, &x, 1, out);
}

pk_status pk_channel_join(pk_tensor *const *part, int n, pk_tensor **out) {
    pk_args args;
    pk_args_begin(&args, &pk_op_concat);
    pk_args_set(&args, "dim", -1);
    return pk_args_run(&args, part, n, out);
}
