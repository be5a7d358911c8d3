/* The fifteen changes that rand_augment draws from, and what a strength means to each (timm's auto_augment.py). */
#ifndef PK_DATA_AUGMENT_H
#define PK_DATA_AUGMENT_H

#include "data/enhance.h"

typedef enum pk_augment_op {
    PK_AUTO_CONTRAST, PK_EQUALIZE, PK_INVERT, PK_ROTATE, PK_POSTERIZE, PK_SOLARIZE, PK_SOLARIZE_ADD, PK_COLOR,
    PK_CONTRAST, PK_BRIGHTNESS, PK_SHARPNESS, PK_SHEAR_X, PK_SHEAR_Y, PK_TRANSLATE_X, PK_TRANSLATE_Y, PK_AUGMENT_OPS
} pk_augment_op;
#define PK_AUGMENT_NAMES                                                                                        \
    "auto_contrast|equalize|invert|rotate|posterize|solarize|solarize_add|color|contrast|brightness|sharpness|" \
    "shear_x|shear_y|translate_x|translate_y"

typedef struct pk_augment_step {
    pk_augment_op op;
    double value; /* degrees, bits, threshold, addend, factor, shear, part of the side */
    pk_filter filter;
    uint8_t fill[3];
} pk_augment_step;

/* The value for a level of 0..10. negative: the other direction, where there are two. */
double pk_augment_value(pk_augment_op op, double level, bool increasing, bool negative);
void pk_augment_apply(const pk_augment_step *a, const pk_bytes_map *p);

#endif
