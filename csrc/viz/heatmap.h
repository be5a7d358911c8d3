/* A map with its scale: a title above, a bar of the colour map with numbers at the right. */
#ifndef PK_VIZ_HEATMAP_H
#define PK_VIZ_HEATMAP_H

#include "viz/picture.h"

/* {H,W} or {H,W,1} as pk_picture draws it, framed. title, note (a line below): may be null. */
pk_status pk_picture_heatmap(const pk_tensor *t, const pk_look *look, const char *title, const char *note,
                             pk_tensor **out);

#endif
