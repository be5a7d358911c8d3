/* Modules whose work one op does: norm, linear, GELU, linear, layer scale and residual as op mlp. */
#ifndef PK_NN_MLP_RUN_H
#define PK_NN_MLP_RUN_H

#include "nn/module.h"
#include "ops/mlp.h"

/* The modules, and what stands behind them; null: absent. */
typedef struct pk_mlp_parts {
    const pk_module *norm, *fc1, *fc2;
    pk_tensor *gamma, *shortcut;
    double drop_path; /* chance to drop a sample's branch */
    int recompute;    /* pk_recompute */
} pk_mlp_parts;

/* Can one op do it, but perhaps for the norm? Not where somebody watches the modules, nor where fc1 or fc2 is anything
 * but a linear layer or a 1x1 convolution, alone or in a Sequential whose other parts do nothing (merged batch norms). */
bool pk_mlp_at_once(const pk_mlp_parts *p);
/* And does the op take the norm: is it a layer norm, or nothing? Else it runs before, and x is what it gave. */
bool pk_mlp_takes_norm(const pk_mlp_parts *p);
pk_status pk_mlp_run(const pk_mlp_parts *p, pk_tensor *x, pk_tensor **y);

#endif
