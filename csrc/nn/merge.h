/* Structural re-parameterisation: a trained tree becomes one that computes the same in evaluation with fewer layers.
 * Batch norms go into the convolutions and linear layers beside them, parallel branches into one kernel (RepLKNet, arXiv
 * 2203.06717, section 3; PeLK, section 3). Every class says in its own file what it can do: pk_class.merge and .absorb. */
#ifndef PK_NN_MERGE_H
#define PK_NN_MERGE_H

#include "core/schema.h"
#include "nn/module.h"

/* y[c] = scale[c] x[c] + shift[c]: what a batch norm is in evaluation. */
typedef struct pk_affine {
    int64_t channels;
    double *scale, *shift;
} pk_affine;

typedef enum pk_stripe_form { PK_STRIPES_AUTO, PK_STRIPES_DENSE, PK_STRIPES_KEEP } pk_stripe_form;
typedef enum pk_expand_form { PK_EXPAND_DENSE, PK_EXPAND_REFINE } pk_expand_form;

typedef struct pk_merge_options {
    int slak;         /* pk_stripe_form */
    int expand;       /* pk_expand_form */
    bool batch_norms; /* false: only the branches of large kernels */
} pk_merge_options;

extern const pk_field pk_merge_fields[];
extern const int pk_merge_nfields;

typedef struct pk_merge pk_merge;

/* Merge the tree below m in place, which is put in evaluation mode; parameters are replaced, not written to. *report
 * (pk_free it): a line "kind\tpath\twhat was done" for everything that was folded, merged, expanded or kept. PK_EINVAL
 * when m has been merged before or a module has two places in the tree. A failure half-way (memory) leaves a tree that
 * still computes the same, and can be merged again. */
pk_status pk_module_merge(pk_module *m, const pk_merge_options *o, char **report);

/* ---- for the rules ---- */

const pk_merge_options *pk_merge_asked(const pk_merge *r);
/* A line of the report about the part `name` of the module at work ("": itself). kind: "folded", "merged", ... */
pk_status pk_merge_note(pk_merge *r, const char *kind, const char *name, const char *format, ...) PK_PRINTF(4, 5);

/* The affine of a BatchNorm's running statistics; free it in any case. */
pk_status pk_batch_norm_affine(const pk_module *norm, pk_affine *a);
pk_status pk_affine_new(int64_t channels, pk_affine *a);
void pk_affine_free(pk_affine *a);

/* Take a, from behind or in front of it, into module m, by its class; *done says whether that could be. */
pk_status pk_absorb(pk_module *m, const pk_affine *a, bool behind, bool *done);
/* Fold child `norm` of m, if it is a BatchNorm, into child `into`, in front of which it stands or behind which; then an
 * Identity is in its place. */
pk_status pk_merge_norm(pk_module *m, int norm, int into, pk_merge *r, bool *done);
/* The children of m run one after another: fold all batch norms among them that have a neighbour to go into. */
pk_status pk_merge_sequence(pk_module *m, pk_merge *r);
/* The same inside child i of m, a Sequential. */
pk_status pk_merge_inside(pk_module *m, int i, pk_merge *r);
/* PartialConv: its branches, which are added, become one kernel: child "reparam". */
pk_status pk_merge_branches(pk_module *m, pk_merge *r);

/* Common bodies of absorb. */
pk_status pk_absorb_rows(pk_module *m, const pk_affine *a, bool *done);  /* weight {O,...}: a behind it */
pk_status pk_absorb_lanes(pk_module *m, const pk_affine *a, bool *done); /* weight {...,C}, one kernel a channel: behind */
/* weight {O,...,I}, groups: a in front, where no zeros are padded. */
pk_status pk_absorb_inputs(pk_module *m, const pk_affine *a, int64_t groups, bool *done);
pk_status pk_absorb_input_lanes(pk_module *m, const pk_affine *a, bool *done); /* weight {...,C}: a in front */

/* The parameter "bias" {channels}, added as zeros (and as option) where there was none. */
pk_status pk_need_bias(pk_module *m, int64_t channels, pk_tensor **bias);
/* Put a new tensor (takes over the reference) in the place of a slot's, which stays as trainable as it was. */
void pk_slot_set(pk_slot *s, pk_tensor *t);
/* A number among a module's options: an int, float, bool or choice; 0 when there is none of that name. */
double pk_module_option(const pk_module *m, const char *name);
/* Both halves of a pair option; false when there is none of that name. */
bool pk_module_pair(const pk_module *m, const char *name, int64_t pair[2]);
/* A module of the class that draws nothing from the generator. */
pk_status pk_merge_make(const pk_class *cls, const void *options, pk_module **out);

#endif
