/* Numbers to pixels: every function makes a uint8 tensor {H,W,3}. */
#ifndef PK_VIZ_PICTURE_H
#define PK_VIZ_PICTURE_H

#include "core/schema.h"
#include "core/tensor.h"
#include "viz/color.h"

typedef struct pk_look {
    int colormap;     /* pk_color_map */
    int64_t scale;    /* pixels a value, each way; 0: chosen */
    double min, max;  /* what the ends of the map mean; NaN: taken from the values */
    bool symmetric;   /* the ends are -m and m: for maps with a middle */
} pk_look;

typedef struct pk_range {
    float low, high;
} pk_range;
/* What the ends of the map mean for t: its finite values, with what look fixes. */
pk_status pk_picture_range(const pk_tensor *t, const pk_look *look, pk_range *out);

/* {H,W}, {H,W,1}: through the map; {H,W,3}: as red, green, blue. float32, or uint8 as it is (0..255). */
pk_status pk_picture(const pk_tensor *t, const pk_look *look, pk_tensor **out);

/* The planes of {h,w,n} side by side, `columns` a row (0: about a square), each with its own range if `each`. */
pk_status pk_picture_tiles(const pk_tensor *t, const pk_look *look, int64_t columns, bool each, pk_tensor **out);

#define PK_MAX_GRIDS 8
/* Sharing grids side by side: rings coloured from the fine centre outward, borders between rectangles, taps as fine
 * lines where there is room, a caption below each (null: sizes and numbers of weights). side: pixels of a grid, about.
 */
pk_status pk_picture_grids(const pk_ints *grid, const char *const *caption, int count, int64_t side, pk_tensor **out);

#endif
