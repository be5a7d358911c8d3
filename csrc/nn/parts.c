/* Norms, linear layers and patch convolutions as children. */
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
