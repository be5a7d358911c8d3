/* A model's parameters in flat arenas of one layout, values, gradients and masks: whatever works on all parameters is
 * one loop. Making it moves the parameters' storage; the tensors stay the same objects. */
#ifndef PK_TRAIN_PARAMS_H
#define PK_TRAIN_PARAMS_H

#include "nn/module.h"

typedef struct pk_param {
    pk_tensor *tensor;
    int64_t at, count; /* place in the arenas, elements */
    bool decay;        /* weight decay applies: not for 1-D tensors, nor where the layer or the user says so */
    double lr_scale;     /* 1: the optimiser's learning rate as it is */
    double weight_decay; /* of its own, whatever `decay` says; negative: the optimiser's where it applies */
    char *path;        /* "stages.0.blocks.1.gamma" */
} pk_param;

typedef struct pk_params {
    int64_t count, total; /* parameters; elements of an arena, padding counted */
    pk_param *param;
    pk_tensor *values, *grads;
    pk_tensor *masks;     /* uint8: 0 where a value is held at zero, 1 elsewhere; null: no parameter has a mask */
    unsigned masked;      /* the values' version when the masks were last applied */
    pk_tensor *moment[2]; /* the optimiser's arenas, borrowed from it; null: there are none */
} pk_params;

/* Collect what requires a gradient. no_decay: substrings of paths that take no weight decay, null at the end; null: none.
 * moments: arenas of zeros that are made for the caller to take from `moment`, before any parameter moves. */
pk_status pk_params_new(pk_module *m, const char *const *no_decay, int moments, pk_params **out);
void pk_params_free(pk_params *p);
/* Are the parameters still here (no later arena took them), and all gradients in place? Gradients that backward made
 * elsewhere are copied in. */
pk_status pk_params_ready(pk_params *p);
void pk_params_zero_grad(pk_params *p);

/* The arenas that hold tensor t, or null. */
pk_params *pk_params_of(const pk_tensor *t);
const pk_param *pk_params_find(const pk_params *p, const pk_tensor *t); /* null: not one of them */
/* Move the masks that the tensors have into the arena of masks, which is made when missing; on failure all stays. */
pk_status pk_params_adopt_masks(pk_params *p);
/* Take a tensor's mask away. */
void pk_tensor_drop_mask(pk_tensor *t);
/* Set what is masked to zero (what is not a number too); nothing when no value was written since the last time. */
void pk_params_apply_masks(pk_params *p);

/* 2-norm of all gradients of m that there are, summed in a fixed order. */
pk_status pk_grad_norm(pk_module *m, double *norm);
/* Scale all gradients so that their norm is at most max_norm; *norm is what it was. A norm that is not finite changes
 * nothing. */
pk_status pk_clip_grad_norm(pk_module *m, double max_norm, double *norm);

#endif
