/* Which tensors of a pickle are meant, and their names. Between the files of the format. */
#ifndef PK_IO_PTH_PICK_H
#define PK_IO_PTH_PICK_H

#include "io/pickle.h"
#include "io/pth.h"

typedef struct pk_found {
    char *name;
    int32_t v; /* a PK_VALUE_TENSOR */
} pk_found;

typedef struct pk_finding {
    const pk_pickle *p;
    pk_found *item;
    int64_t count, room, visits;
} pk_finding;

/* Follow the pick from p->root, list the tensors, note what stands beside them. pk_pth_forget after, in any case. */
pk_status pk_pth_find(const pk_pickle *p, const pk_pick *pick, pk_finding *f, pk_dict *d);
void pk_pth_forget(pk_finding *f);

#endif
