/* Heads, from a feature map to logits: Head (mean of the pixels, norm, classifier) and MlpHead (with a hidden layer). */
#include <stdio.h>

#include "nn/args.h"
#include "nn/stage.h"

pk_status pk_classifier_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale) {
    pk_module *made;
    PK_TRY(pk_add_linear(m, name, channels, num_classes, &made));
    float *w = pk_f32(pk_module_tensor(made, "weight"));
    for (int64_t i = 0; i < channels * num_classes; i++) w[i] *= (float)init_scale;
    return PK_OK;
}

/* ---- Head ---- */

typedef struct options {
    int64_t channels, num_classes;
    double init_scale;
} options;

static pk_status build(pk_module *m) {
    const options *o = m->options;
    PK_TRY(pk_add_norm(m, "norm", PK_NORM_LAYER, o->channels));
    return pk_classifier_add(m, "fc", o->channels, o->num_classes, o->init_scale);
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *pooled;
    PK_TRY(pk_run1(&pk_op_global_avg_pool, x, &pooled));
    pk_status status = pk_class_Sequential.forward(m, pooled, y);
    pk_tensor_release(pooled);
    return status;
}

static const pk_field fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels of the feature map"),
    F_NEED(options, num_classes, 1, F_CHANNELS, "outputs"),
    F_FLOAT(options, init_scale, 1, 0, 1e6, "factor on the classifier's initial weights"),
};

const pk_class pk_class_Head = {
    .name = "Head",
    .doc = "Mean over the pixels, layer norm, linear classifier: {N,H,W,C} to {N,num_classes}.",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
};

pk_status pk_head_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale) {
    const options o = {channels, num_classes, init_scale};
    return pk_module_make(m, name, &pk_class_Head, &o, NULL);
}

/* ---- MlpHead ---- */

enum { MLP_HEAD_RATIO = 3 };

static pk_status mlp_build(pk_module *m) {
    const options *o = m->options;
    int64_t hidden = MLP_HEAD_RATIO * o->channels;
    PK_TRY(pk_add_linear(m, "fc1", o->channels, hidden, NULL));
    PK_TRY(pk_module_make(m, "act", &pk_class_GELU, NULL, NULL));
    PK_TRY(pk_add_norm(m, "norm", PK_NORM_LAYER, hidden));
    return pk_classifier_add(m, "fc2", hidden, o->num_classes, o->init_scale);
}

const pk_class pk_class_MlpHead = {
    .name = "MlpHead",
    .doc = "Mean over the pixels, linear layer to three times the channels, GELU, layer norm, linear classifier: "
           "{N,H,W,C} to {N,num_classes} (InceptionNeXt, arXiv 2303.16900).",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = mlp_build,
    .forward = forward,
};

pk_status pk_mlp_head_add(pk_module *m, const char *name, int64_t channels, int64_t num_classes, double init_scale) {
    const options o = {channels, num_classes, init_scale};
    return pk_module_make(m, name, &pk_class_MlpHead, &o, NULL);
}
