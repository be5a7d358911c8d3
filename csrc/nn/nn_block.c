/* Block (ConvNeXt style: mixer, norm, MLP, layer scale, drop path, residual) and its Mlp. */
#include <stdio.h>

#include "nn/args.h"
#include "nn/block.h"
#include "nn/merge.h"
#include "nn/mlp_run.h"

/* ---- Mlp ---- */

typedef struct mlp_options {
    int64_t channels, hidden;
    bool conv;
} mlp_options;

static pk_status mlp_build(pk_module *m) {
    const mlp_options *o = m->options;
    if (o->conv) {
        PK_TRY(pk_add_patch_conv(m, "fc1", o->channels, o->hidden, 1, true));
        return pk_add_patch_conv(m, "fc2", o->hidden, o->channels, 1, true);
    }
    PK_TRY(pk_add_linear(m, "fc1", o->channels, o->hidden, NULL));
    return pk_add_linear(m, "fc2", o->hidden, o->channels, NULL);
}

static pk_status mlp_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_mlp_parts parts = {.fc1 = m->child[0].module, .fc2 = m->child[1].module};
    pk_tensor *hidden, *active;
    if (pk_mlp_at_once(&parts)) return pk_mlp_run(&parts, x, y);
    PK_TRY(pk_module_forward_child(m, 0, x, &hidden));
    pk_status status = pk_run1(&pk_op_gelu, hidden, &active);
    pk_tensor_release(hidden);
    PK_TRY(status);
    status = pk_module_forward_child(m, 1, active, y);
    pk_tensor_release(active);
    return status;
}

/* In front: into fc1. Behind: into fc2. */
static pk_status mlp_absorb(pk_module *m, const pk_affine *a, bool behind, bool *done) {
    return pk_absorb(m->child[behind].module, a, behind, done);
}

static const pk_field mlp_fields[] = {
    F_NEED(mlp_options, channels, 1, F_CHANNELS, "size of the last dimension, in and out"),
    F_NEED(mlp_options, hidden, 1, F_CHANNELS, "size between the two linear layers"),
    F_BOOL(mlp_options, conv, 0, "1x1 convolutions, which files keep as such (InceptionNeXt)"),
};

const pk_class pk_class_Mlp = {
    .name = "Mlp",
    .doc = "Linear, GELU, Linear over the last dimension.",
    .options_size = sizeof(mlp_options),
    .fields = mlp_fields,
    .nfields = F_COUNT(mlp_fields),
    .build = mlp_build,
    .forward = mlp_forward,
    .absorb = mlp_absorb,
};

/* ---- Block ---- */

typedef pk_block_options options;

static pk_status build(pk_module *m) {
    const options *o = m->options;
    int64_t hidden = (int64_t)(o->mlp_ratio * (double)o->channels + 1e-9);
    if (o->own_position) PK_TRY(pk_mixer_add_position(m, &o->mixer, pk_mixer_channels(&o->mixer, o->channels)));
    pk_tensor *position = o->own_position ? pk_module_tensor(m, "position") : o->given_position;
    PK_TRY(pk_mixer_make(m, pk_mixer_name(&o->mixer), &o->mixer, o->channels, position));
    PK_TRY(pk_add_norm(m, "norm", (pk_norm_kind)o->norm, o->channels));
    const mlp_options mlp = {o->channels, hidden > 0 ? hidden : 1, o->conv_mlp};
    PK_TRY(pk_module_make(m, "mlp", &pk_class_Mlp, &mlp, NULL));
    if (o->layer_scale <= 0) return PK_OK;
    return pk_module_parameter(m, "gamma", 1, &o->channels, PK_INIT_CONSTANT, o->layer_scale);
}

enum { MIXER, NORM, MLP };

/* Child i on *h, which it replaces. */
static pk_status advance(pk_module *m, int i, pk_tensor **h) {
    pk_tensor *next;
    PK_TRY(pk_module_forward_child(m, i, *h, &next));
    pk_tensor_release(*h);
    *h = next;
    return PK_OK;
}

static pk_status residual(pk_module *m, pk_tensor *h, pk_tensor *x, pk_tensor **y) {
    pk_tensor *in[] = {h, pk_module_tensor(m, "gamma"), x};
    pk_args args;
    pk_args_begin(&args, &pk_op_scale_residual);
    pk_args_set(&args, "p", m->training ? ((const options *)m->options)->drop_path : 0);
    return pk_args_run(&args, in, 3, y);
}

static pk_status forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    const options *o = m->options;
    const pk_module *mlp = m->child[MLP].module;
    pk_mlp_parts parts = {.norm = m->child[NORM].module, .fc1 = mlp->child[0].module, .fc2 = mlp->child[1].module,
                          .gamma = pk_module_tensor(m, "gamma"), .shortcut = x,
                          .drop_path = m->training ? o->drop_path : 0, .recompute = o->recompute};
    const bool at_once = pk_mlp_at_once(&parts);
    pk_tensor *h = pk_tensor_retain(x);
    pk_status status = advance(m, MIXER, &h);
    if (status == PK_OK && !pk_mlp_takes_norm(&parts)) status = advance(m, NORM, &h);
    if (status == PK_OK && !at_once) status = advance(m, MLP, &h);
    if (status == PK_OK) status = at_once ? pk_mlp_run(&parts, h, y) : residual(m, h, x, y);
    pk_tensor_release(h);
    return status;
}

/* A batch norm before the MLP goes into fc1. */
static pk_status merge(pk_module *m, pk_merge *r) {
    bool done;
    return pk_merge_asked(r)->batch_norms ? pk_merge_norm(m, 1, 2, r, &done) : PK_OK;
}

static const pk_field fields[] = {
    F_NEED(options, channels, 1, F_CHANNELS, "channels"),
    F_MIXER(options, mixer),
    F_FLOAT(options, mlp_ratio, 4, 1e-6, 64, "hidden size of the MLP over channels"),
    F_FLOAT(options, drop_path, 0, 0, 0.999999, "chance to drop the branch for a sample"),
    F_FLOAT(options, layer_scale, 1e-6, 0, 1e6, "initial gamma; 0: no layer scale"),
    F_ENUM(options, norm, PK_NORM_LAYER, "layer|batch", "norm before the MLP"),
    F_BOOL(options, conv_mlp, 0, "the MLP in 1x1 convolutions, which files keep as such (InceptionNeXt)"),
    F_ENUM(options, recompute, PK_RECOMPUTE_AUTO, PK_RECOMPUTES,
           "does backward make the MLP's hidden values again, or are they kept? auto: kept where fewer than its weights"),
    F_BOOL(options, own_position, 1, "make a position map (peripheral mixers, unless position_mode is off)"),
};

static void describe(const pk_module *m, char *text, size_t size) {
    const options *o = m->options;
    snprintf(text, size, "%lld, drop path %.3g", (long long)o->channels, o->drop_path);
}

const pk_class pk_class_Block = {
    .name = "Block",
    .doc = "x + drop_path(gamma * mlp(norm(mixer(x)))): the block of ConvNeXt, SLaK and PeLK (section 4.4).",
    .options_size = sizeof(options),
    .fields = fields,
    .nfields = F_COUNT(fields),
    .build = build,
    .forward = forward,
    .describe = describe,
    .merge = merge,
};

pk_status pk_block_make(pk_module *m, const char *name, const pk_block_options *o) {
    pk_module *made;
    PK_TRY(pk_module_make(m, name, &pk_class_Block, o, &made));
    ((options *)made->options)->given_position = NULL; /* the mixer has its own reference */
    return PK_OK;
}

void pk_block_defaults(pk_block_options *o) { pk_schema_defaults(fields, F_COUNT(fields), o, sizeof *o); }
