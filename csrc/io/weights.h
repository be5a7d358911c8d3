/* A model's weights and files: names are paths in the tree, layouts are PyTorch's, and a model is changed only when
 * everything has been found to fit. */
#ifndef PK_IO_WEIGHTS_H
#define PK_IO_WEIGHTS_H

#include "io/kernel_fit.h"
#include "io/key_map.h"
#include "io/pth.h"
#include "nn/module.h"

/* Zero bytes but for strict are the usual choice. */
typedef struct pk_load_options {
    bool strict;               /* missing and unexpected names are an error; else they are only reported */
    bool reset_head;           /* a classifier of another number of classes is made anew instead of an error */
    int resize;                /* pk_resize: kernels and maps of another size, shared kernels of another grid */
    const char *prefix;        /* only names that begin so, without it; null or "": found out */
    const char *source;        /* whose names: of a pk_key_map; null or "": found out */
    pk_pick pick;              /* of PyTorch's files */
} pk_load_options;

/* What did not fit, and what was done about it. */
typedef struct pk_fit {
    int64_t missing, unexpected, misfit; /* misfit: another shape, grid or dtype: always an error */
    int64_t resized, reset;              /* tensors */
    char text[3072];                     /* one readable account, "" when all fits as it is */
} pk_fit;

/* Every parameter and buffer as a view in the file's layout, in the order of building. */
pk_status pk_module_state(pk_module *m, pk_dict *d);
/* Copy values by name. Names of other sources are recognised (io/key_map.h), trailing dimensions of 1 do not matter,
 * PyTorch's num_batches_tracked entries are passed over. `failure` is what a misfit comes to: PK_EINVAL for a table
 * from a program, PK_EFORMAT for a file. fit may be null. */
pk_status pk_module_set_state(pk_module *m, const pk_dict *d, const pk_load_options *o, pk_status failure,
                              pk_fit *fit);

/* safetensors, or .npz by the path's end. metadata: its pairs are written; null: none. The grids of shared kernels are
 * noted under "pelk.grid.<name>", as "9,8,4,2,1,1,1,1,1,2,4,8,9" (not in .npz). */
pk_status pk_module_save(pk_module *m, const char *path, const pk_dict *metadata);
/* Any format that pk_tensors_load reads, through a mapping: nothing is held twice. */
pk_status pk_module_load(pk_module *m, const char *path, const pk_load_options *o, pk_fit *fit);

/* ---- between the files of this ---- */

#define PK_GRID_NOTE "pelk.grid."

typedef struct pk_fitting {
    pk_module *m;
    const pk_load_options *o;
    pk_dict wanted, given; /* the model's views; the file's tensors under our names; both by name */
    pk_naming naming;
    uint8_t *state;        /* of each wanted one: enum pk_fit_state */
    bool *used;            /* each given one found its place */
    pk_fit *fit;
    size_t length;         /* of fit->text */
} pk_fitting;

enum pk_fit_state { PK_FIT_FITS, PK_FIT_MISSING, PK_FIT_MISFIT, PK_FIT_RESET };

/* Make the given tensors fit where that is allowed; the states say what came of it. Position maps come last: by their
 * size the size of kernels is told. */
pk_status pk_fit_adapt(pk_fitting *f);
/* The grid that the given tensors' notes tell of a kernel by our name; false: none, or not a good one. */
bool pk_fit_noted_grid(const pk_fitting *f, const char *name, pk_ints *grid);
/* The account: counts and text. */
void pk_fit_report(pk_fitting *f);

#endif
