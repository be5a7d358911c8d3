/* The first principal component: of the feature maps of a network, what they have in common. */
#ifndef PK_VIZ_PRINCIPAL_H
#define PK_VIZ_PRINCIPAL_H

#include "core/tensor.h"

/* Of the rows of x, float32 {N,D} (N samples of D features; centred here): the unit direction {D} of the largest
 * variance, and the part of the variance along it (0 when the rows are all the same: then the component is 0). The sign
 * is such that the sample farthest along it lies on the positive side. Restarted Lanczos with full orthogonalisation in
 * double; the same for any number of threads. */
pk_status pk_first_component(const pk_tensor *x, pk_tensor **component, double *explained);

#endif
