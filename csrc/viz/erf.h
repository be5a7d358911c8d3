/* Effective receptive fields: what becomes of a map of input gradients (RepLKNet, section 4.5 and its erf scripts). */
#ifndef PK_VIZ_ERF_H
#define PK_VIZ_ERF_H

#include "core/tensor.h"

/* log10(1 + map), divided by its maximum: float32 {H,W}, never negative. A map of zeros stays one. */
pk_status pk_erf_normalize(const pk_tensor *map, pk_tensor **out);

/* The side 2i+1, i = 1, 2, .. below min(H,W)/2, of the least square around {H/2,W/2} that holds more than `share` of
 * the map's sum; 0 when none does. map: float32 {H,W}, finite, not negative. */
pk_status pk_erf_side(const pk_tensor *map, double share, int64_t *side);

#endif
