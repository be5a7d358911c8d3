/* Boxes around what a map shows, and how well they fit known ones (Choe et al., CVPR 2020: MaxBoxAcc). */
#ifndef PK_VIZ_BOXES_H
#define PK_VIZ_BOXES_H

#include "core/tensor.h"

enum { PK_LEVELS = 256 };

/* Boxes {n,4} int32 of the connected parts (diagonals connect) of {H,W} where map > level: x0, y0, x1, y1 from 0, the
 * last row and column included. largest: one, of the part whose outline encloses the largest area, holes filled (the first
 * from the top among equals); else all parts, then the outlines of their holes, each from the top down. map: uint8. */
pk_status pk_boxes(const pk_tensor *map, int level, bool largest, pk_tensor **out);

/* float32 {PK_LEVELS}: at level 0..255 the best intersection over union of a box of pk_boxes with one of `known` (int32
 * {n,4}), by the conventions of MaxBoxAcc's code: the last row and column of a found box are one further (but inside
 * the map), sides are last - first + 1, and a map with no part above the level has the box {0,0,0,0}. */
pk_status pk_box_curve(const pk_tensor *map, const pk_tensor *known, bool largest, pk_tensor **out);

#endif
