/* Colour maps: a number of 0..1 to red, green, blue. */
#ifndef PK_VIZ_COLOR_H
#define PK_VIZ_COLOR_H

#include <stdint.h>

#define PK_COLOR_MAPS "gray|viridis|magma|coolwarm"
typedef enum pk_color_map { PK_GRAY, PK_VIRIDIS, PK_MAGMA, PK_COOLWARM } pk_color_map;

/* v outside 0..1 is clamped; NaN is pure magenta, a colour that no map has. */
void pk_color(pk_color_map map, float v, uint8_t rgb[3]);

#endif
