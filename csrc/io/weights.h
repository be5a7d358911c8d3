/* A model's weights and files: names are paths in the tree, layouts are PyTorch's, and a model is changed only when
 * everything has been found to fit. */
#ifndef PK_IO_WEIGHTS_H
#define PK_IO_WEIGHTS_H

#include "io/dict.h"
#include "nn/module.h"

/* What did not fit. With strict off, missing and unexpected names are only reported. */
typedef struct pk_fit {
    int64_t missing, unexpected, misfit; /* misfit: another shape or dtype: always an error */
    char text[3072];                     /* one readable account, "" when all fits */
} pk_fit;

/* Every parameter and buffer as a view in the file's layout, in the order of building. */
pk_status pk_module_state(pk_module *m, pk_dict *d);
/* Copy values by name. PyTorch's num_batches_tracked entries are passed over. d is sorted. `failure` is what a misfit
 * comes to: PK_EINVAL for a table from a program, PK_EFORMAT for a file. fit may be null. */
pk_status pk_module_set_state(pk_module *m, const pk_dict *d, bool strict, pk_status failure, pk_fit *fit);

/* metadata: its pairs are written; null: none. */
pk_status pk_module_save(pk_module *m, const char *path, const pk_dict *metadata);
pk_status pk_module_load(pk_module *m, const char *path, bool strict, pk_fit *fit);

#endif
