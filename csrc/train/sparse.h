/* Dynamic sparse training over a model's masks (SLaK, arXiv 2207.03620; RigL; SET). A layer here is one weight tensor.
 *
 * The mask is the tensor's own (core/tensor.h), so that optimisers, averages, copies and files see it; this object
 * chooses what is in it: at first, and by pruning and growing as training goes on. */
#ifndef PK_TRAIN_SPARSE_H
#define PK_TRAIN_SPARSE_H

#include "core/schema.h"
#include "train/params.h"

typedef enum pk_growth { PK_GROW_RANDOM, PK_GROW_GRADIENT, PK_GROW_MOMENTUM } pk_growth;
typedef enum pk_redistribute {
    PK_KEEP_COUNTS, PK_BY_MAGNITUDE, PK_BY_GRADIENT, PK_BY_MOMENTUM
} pk_redistribute;

typedef struct pk_sparse_options {
    int growth;              /* pk_growth */
    int redistribute;        /* pk_redistribute */
    double prune_rate;       /* share of the active weights replaced by an update, at first */
    double prune_rate_end;   /* and at the end: the rate falls along a cosine */
    int64_t update_every;    /* optimiser steps from update to update; 0: masks stay */
    int64_t total_steps;     /* of the training; 0: not known, the rate stays */
    double stop;             /* share of total_steps after which masks stay */
    bool keep_moments;       /* what is grown keeps its moments and, when pruned in the same update, its value (SLaK) */
    uint64_t seed;
} pk_sparse_options;

typedef struct pk_sparse_layer {
    pk_tensor *tensor;
    char *path;
    pk_tensor *live;         /* uint8: 0 where a weight can have no effect: neither counted nor grown; null: all live */
    pk_tensor *born;         /* int32: the step in which a connection was made, 0 the first; -1: masked */
    bool masked;             /* has a mask whatever its density */
    bool dense;              /* left without one; born is null then */
    int64_t count, room, active; /* weights; live ones; connections */
    int64_t pruned, grown;   /* by the last update */
} pk_sparse_layer;

typedef struct pk_sparse {
    pk_sparse_options options;
    int64_t count;
    pk_sparse_layer *layer;
    int64_t steps, updates, last_update; /* optimiser steps seen; updates made; the step of the last */
    bool committed;          /* the masks are on the tensors */
} pk_sparse;

extern const pk_field pk_sparse_fields[];
extern const int pk_sparse_nfields;

pk_status pk_sparse_new(const pk_sparse_options *options, pk_sparse **out);
void pk_sparse_free(pk_sparse *s); /* the tensors keep their masks */

/* ---- choosing the first masks: nothing happens to the model before the commit ---- */

/* Add a layer, all of it active. live: uint8 of t's shape, contiguous, or null; retained. */
pk_status pk_sparse_add(pk_sparse *s, const char *path, pk_tensor *t, pk_tensor *live);
/* Exactly n connections of layer i, drawn at random from the live ones. 1 <= n <= room. */
pk_status pk_sparse_draw(pk_sparse *s, int64_t i, int64_t n);
/* SNIP (Lee et al. 2019): the `keep` live weights of the whole model with the largest |w * gradient|; count[i] is how
 * many are of layer i. take: they become the connections. PK_EINVAL when a score is no finite number. */
pk_status pk_sparse_snip(pk_sparse *s, int64_t keep, bool take, int64_t *count);
/* Connections of layer i where mask says so: uint8 not 0; int32 not negative, taken as steps of birth; weights, float32,
 * not 0; of the live ones. But for the last the layer will have a mask whatever its density. */
pk_status pk_sparse_take(pk_sparse *s, int64_t i, const pk_tensor *mask);
/* Put the masks on the tensors, in their arena when they are in one, and set what is masked to zero. dense: layers with
 * at least this density are left without a mask for good. On failure the model is as it was. */
pk_status pk_sparse_commit(pk_sparse *s, double dense);
/* Take the masks off the tensors again; the weights stay as they are. */
void pk_sparse_detach(pk_sparse *s);

/* ---- training ---- */

/* After an optimiser's step: what is masked is zero again; every update_every steps prune and grow. *updated tells. */
pk_status pk_sparse_step(pk_sparse *s, bool *updated);
/* The share of connections that an update after `steps` steps replaces; 0 where masks stay. */
double pk_sparse_rate(const pk_sparse *s, int64_t steps);
/* An update now, at this rate. On failure (a weight or score that is no number, no gradient, no moments) nothing has
 * changed. */
pk_status pk_sparse_update(pk_sparse *s, double rate);
/* Set what is masked to zero. */
void pk_sparse_apply(pk_sparse *s);

/* Steps since the connections of layer i were made: mean and largest. */
void pk_sparse_ages(const pk_sparse *s, int64_t i, double *mean, int64_t *most);
/* Take over steps, updates and births. born[i] is int32 of layer i's shape, null for a dense layer. All are checked
 * first. */
pk_status pk_sparse_set_state(pk_sparse *s, pk_tensor *const *born, int64_t steps, int64_t updates,
                              int64_t last_update);

#endif
