/* One forward, measured or counted module by module: for summaries, counts and profiles. */
#ifndef PK_NN_PROFILE_H
#define PK_NN_PROFILE_H

#include "nn/module.h"

typedef struct pk_profile_row {
    pk_module *module;
    bool training; /* its mode before */
    int depth;     /* below the module that ran */
    int64_t calls; /* 0: it was not used, or it only holds parts that were: then the rest is theirs, but for a shape */
    int ndim;
    int64_t shape[PK_MAX_DIMS]; /* of its last output */
    pk_macs macs;               /* of all calls, children included; zeros when measured */
    double seconds;             /* the same; of no meaning when counted */
} pk_profile_row;

typedef struct pk_profile {
    pk_watch watch; /* first: it is what the tree sees */
    pk_profile_row *row;
    int64_t count, room;
} pk_profile;

/* Rows for all modules of m (in tree order), filled by a forward of x without gradients, in eval mode; the modes of the
 * modules and the random generator come back as they were. */
pk_status pk_profile_run(pk_profile *p, pk_module *m, pk_tensor *x);
/* The same without computing: shapes and multiply-adds for an input {N,H,W,C} or any other shape. density: of all weights,
 * or NaN for their zeros as they are (ops/macs.h). */
pk_status pk_profile_count(pk_profile *p, pk_module *m, int ndim, const int64_t *shape, double density);
/* The row of a module; null when it was not there before the forward. */
const pk_profile_row *pk_profile_find(const pk_profile *p, const pk_module *m);
void pk_profile_free(pk_profile *p);

#endif
