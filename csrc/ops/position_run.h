/* The position embedding of a peripheral kernel over whole tensors (PeLK, section 4.2, Eq 3): each tap adds its own
 * value to the input it reads. That depends on the output's place only through which taps lie in the image, so it is a
 * map that is added to the output, made once a call. */
#ifndef PK_OPS_POSITION_RUN_H
#define PK_OPS_POSITION_RUN_H

#include "kernels/window.h"
#include "ops/op.h"

/* "valid": taps in the image; "all": padded taps too, which makes it a constant a channel; "off". */
typedef enum pk_position_mode { PK_POSITION_VALID, PK_POSITION_ALL, PK_POSITION_OFF } pk_position_mode;
#define PK_POSITION_MODES "valid|all|off"

typedef struct pk_position_job {
    const pk_ints *grid;
    int64_t h, w, channels; /* of the image */
    const float *weight;    /* {k',k',C} */
    const float *position;  /* {k,k}, shared by the channels, or {k,k,C} */
    bool shared;
} pk_position_job;

/* map {H,W,C} = the term of mode "valid". */
pk_status pk_position_map(const pk_position_job *j, float *map);
/* dweight {k',k',C} and dposition are added to; either may be null. dmap {H,W,C}: the map's gradient. */
pk_status pk_position_map_grad(const pk_position_job *j, const float *dmap, float *dweight, float *dposition);

/* constant {C} += the term of mode "all", and its gradients for dconstant {C}. */
void pk_position_constant(const pk_position_job *j, float *constant);
void pk_position_constant_grad(const pk_position_job *j, const float *dconstant, float *dweight, float *dposition);

#endif
