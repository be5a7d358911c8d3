/* PeripheralConv: a depthwise convolution whose weights are shared on the peripheral grid (PeLK, section 4.1), with its
 * own position map unless it is given one. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/mixer.h"

typedef struct options {
    int64_t channels;
    pk_mixer mixer;
    bool bias, own_position;
} options;

static pk_status build(pk_module *m) {
    const options *o = m->options;
    pk_ints grid;
    PK_TRY(pk_mixer_grid(&o->mixer, &grid));
    const int64_t shape[] = {grid.n, grid.n, o->channels};
    PK_TRY(pk_module_parameter(m, "weight", 3, shape, PK_INIT_TRUNC_NORMAL, 0.02));
    if (o->bias) PK_TRY(pk_module_parameter(m, "bias", 1, &o->channels, PK_INIT_ZEROS, 0));
    return o->own_position ? pk_mixer_add_position(m, &o->mixer, o->channels) : PK_OK;
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *in[] = {x, pk_module_tensor(m, "weight"), pk_module_tensor(m, "position"), pk_module_tensor(m, "bias")};
    return pk_run_layer(&pk_op_peripheral_conv, m, in, 4, y);
}

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    pk_ints grid;
    if (pk_mixer_grid(&o->mixer, &grid) != PK_OK) return;
    int n = snprintf(text, size, "%lld, kernel %lld, grid", (long long)o->channels, (long long)o->mixer.kernel);
    for (int i = 0; i < (grid.n + 1) / 2 && n > 0 && (size_t)n < size; i++) /* outer -> centre, as the paper prints it */
        n += snprintf(text + n, size - (size_t)n, "%s%d", i ? "," : " ", (int)grid.v[i]);
}

static const pk_field fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_MIXER(options, mixer),
    F_BOOL(options, bias, 0, "add a learned bias"),
    F_BOOL(options, own_position, 1, "make a position map (unless position_mode is off)"),
};

const pk_class pk_class_PeripheralConv = {
    .name = "PeripheralConv",
    .doc = "Depthwise convolution with weights shared on the peripheral grid: {N,H,W,C} to the same; weight {k',k',C}.",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
};

/* For mixers: a bias only without batch norm, the position given or none. */
pk_status pk_peripheral_make(pk_module *m, const char *name, const pk_mixer *mixer, int64_t channels, pk_tensor *position) {
    options o;
    pk_module *made;
    pk_schema_defaults(fields, F_COUNT(fields), &o, sizeof o);
    o.channels = channels;
    o.mixer = *mixer;
    o.bias = !mixer->reparam;
    o.own_position = false;
    PK_TRY(pk_module_make(m, name, &pk_class_PeripheralConv, &o, &made));
    return position ? pk_module_share(made, "position", position) : PK_OK;
}
