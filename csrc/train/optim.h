/* Optimisers over a model's arenas. An optimiser is a row in the list of optim.c: a name, its fields, one step function
 * over a run of elements. */
#ifndef PK_TRAIN_OPTIM_H
#define PK_TRAIN_OPTIM_H

#include "core/schema.h"
#include "train/params.h"

typedef struct pk_optim_options {
    double lr, weight_decay;
    double beta1, beta2, eps;   /* adamw, lamb */
    double momentum, dampening; /* sgd */
    bool nesterov;
    double max_grad_norm; /* lamb */
    bool always_adapt;
} pk_optim_options;

/* Elements begin .. end-1 of the arenas, which have a learning rate and a weight decay in common. */
typedef struct pk_run {
    int64_t begin, end;
    double lr, decay;
} pk_run;

typedef struct pk_optim pk_optim;

typedef struct pk_optim_class {
    const char *name, *doc;
    const pk_field *fields;
    int nfields;
    int nstates;           /* arenas besides values and gradients */
    const char *state[2];  /* their names in checkpoints, PyTorch's */
    /* One step on (a part of) a run. */
    void (*step)(const pk_optim *o, const pk_run *run);
    /* Before a step; may be null. */
    void (*begin)(pk_optim *o);
    /* Where it is there, runs are single parameters; it comes before their step, gives the factor of the learning rate. */
    double (*ratio)(const pk_optim *o, const pk_run *run);
} pk_optim_class;

struct pk_optim {
    const pk_optim_class *cls;
    pk_optim_options options; /* lr may be changed between steps */
    pk_params *params;
    pk_tensor *state[2];
    int64_t steps;
    double grad_scale; /* lamb: what clipping by the global norm multiplies gradients with in this step */
};

extern const pk_optim_class pk_optim_lamb;

const pk_optim_class *pk_optim_find(const char *name); /* "sgd", "adamw", "lamb"; null: none */
/* Makes the arenas. no_decay as for pk_params_new. */
pk_status pk_optim_new(const pk_optim_class *cls, pk_module *m, const pk_optim_options *options,
                       const char *const *no_decay, pk_optim **out);
void pk_optim_free(pk_optim *o);
/* Give the parameter of that path a factor of the learning rate and, unless it is negative, a weight decay of its own. */
pk_status pk_optim_group(pk_optim *o, const char *path, double lr_scale, double weight_decay);
pk_status pk_optim_step(pk_optim *o);

#endif
