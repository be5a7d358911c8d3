/* The exponential moving average of a model's weights and buffers, in an arena of its own. */
#ifndef PK_TRAIN_EMA_H
#define PK_TRAIN_EMA_H

#include "core/schema.h"
#include "nn/module.h"

typedef struct pk_ema_options {
    double decay;
    bool warmup;
} pk_ema_options;

extern const pk_field pk_ema_fields[];
extern const int pk_ema_nfields;

typedef struct pk_ema_entry {
    pk_tensor *tensor;
    int64_t at, count; /* place in the arena, elements */
} pk_ema_entry;

typedef struct pk_ema {
    pk_ema_options options;
    int64_t steps;
    int64_t count, total;
    pk_ema_entry *entry; /* what requires a gradient first, laid out as in train/params.h: one run over the arenas */
    pk_tensor *values;   /* {total}: the averages */
} pk_ema;

/* The averages begin at the model's values. */
pk_status pk_ema_new(pk_module *m, const pk_ema_options *options, pk_ema **out);
void pk_ema_free(pk_ema *e);
/* After an optimiser's step: avg = d * avg + (1 - d) * w, with d = decay; with warmup d is at most
 * 1 - (1 + steps)^(-2/3) (timm's ModelEmaV3). Where a tensor has a mask, a masked average is 0, and an average of 0
 * that the mask lets live begins at w (SLaK's rule). */
void pk_ema_step(pk_ema *e);
/* Exchange the averages and the model's values, bit for bit; again, and all is as before. */
void pk_ema_swap(pk_ema *e);

#endif
