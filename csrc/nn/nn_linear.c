/* Linear: y = x w' + b over the last dimension. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/fields.h"
#include "nn/merge.h"

typedef struct options {
    int64_t in_features, out_features;
    bool bias;
} options;

static pk_status build(pk_module *m) {
    const options *o = m->options;
    PK_TRY(pk_module_parameter(m, "weight", 2, (int64_t[]){o->out_features, o->in_features}, PK_INIT_TRUNC_NORMAL, 0.02));
    return o->bias ? pk_module_parameter(m, "bias", 1, &o->out_features, PK_INIT_ZEROS, 0) : PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *in[] = {x, pk_module_tensor(m, "weight"), pk_module_tensor(m, "bias")};
    return pk_apply1(&pk_op_linear, NULL, in, 3, y);
}

static pk_status absorb(pk_module *m, const pk_affine *a, bool behind, bool *done) {
    return behind ? pk_absorb_rows(m, a, done) : pk_absorb_inputs(m, a, 1, done);
}

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld -> %lld%s", (long long)o->in_features, (long long)o->out_features, o->bias ? "" : ", no bias");
}

static const pk_field fields[] = {
    F_NEED(options, in_features, 1, F_CHANNELS, "size of the last dimension of the input"),
    F_NEED(options, out_features, 1, F_CHANNELS, "size of the last dimension of the output"),
    F_BOOL(options, bias, 1, "add a learned bias"),
};

const pk_class pk_class_Linear = {
    .name = "Linear",
    .doc = "y = x w' + b over the last dimension; weight {out,in}, truncated normal 0.02, bias zero.",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
    .absorb = absorb,
};
