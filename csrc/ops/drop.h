/* Randomly dropped things: parameters, and the factor of thing number i, a pure function of the seed. */
#ifndef PK_OPS_DROP_H
#define PK_OPS_DROP_H

#include "core/rng.h"
#include "core/schema.h"

typedef struct pk_drop_params {
    double p;
    bool training;
    uint64_t seed;
} pk_drop_params;

#define PK_DROP_FIELDS_OF(probability)                                                                              \
    {"p", PK_FLOAT, offsetof(pk_drop_params, p), .def = probability, .min = 0, .max = 1, .doc = "chance to drop"},  \
    {"training", PK_BOOL, offsetof(pk_drop_params, training), .def = 1, .doc = "drop at all"},                      \
    {"seed", PK_SEED, offsetof(pk_drop_params, seed), .doc = "random stream"}
#define PK_DROP_FIELDS PK_DROP_FIELDS_OF(0)

/* 0 with probability p, else 1 / (1 - p). */
static inline float pk_drop_factor(const pk_drop_params *d, int64_t i) {
    if (!d->training || d->p <= 0) return 1;
    return pk_random_uniform(d->seed, (uint64_t)i) < (float)d->p ? 0 : (float)(1 / (1 - d->p));
}

#endif
