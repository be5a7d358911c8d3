/* Optimisers over a model's arenas. An optimiser is a row in the list of optim.c: a name, its fields, one step function
 * over a run of elements. */
#ifndef PK_TRAIN_OPTIM_H
#define PK_TRAIN_OPTIM_H

#include "core/schema.h"
#include "train/params.h"

typedef struct pk_optim_options {
    double lr, weight_decay;
    double beta1, beta2, eps;   /* adamw */
    double momentum, dampening; /* sgd */
    bool nesterov;
} pk_optim_options;

typedef struct pk_optim pk_optim;

typedef struct pk_optim_class {
    const char *name, *doc;
    const pk_field *fields;
    int nfields;
    int nstates;           /* arenas besides values and gradients */
    const char *state[2];  /* their names in checkpoints, PyTorch's */
    /* One step on elements begin .. end-1, all with weight decay `decay`. */
    void (*step)(const pk_optim *o, int64_t begin, int64_t end, double decay);
} pk_optim_class;

struct pk_optim {
    const pk_optim_class *cls;
    pk_optim_options options; /* lr may be changed between steps */
    pk_params *params;
    pk_tensor *state[2];
    int64_t steps;
};

const pk_optim_class *pk_optim_find(const char *name); /* "sgd", "adamw"; null: none of that name */
/* Makes the arenas. no_decay as for pk_params_new. */
pk_status pk_optim_new(const pk_optim_class *cls, pk_module *m, const pk_optim_options *options,
                       const char *const *no_decay, pk_optim **out);
void pk_optim_free(pk_optim *o);
pk_status pk_optim_step(pk_optim *o);

#endif
