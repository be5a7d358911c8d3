/* One change of a picture, by its number. */
#include "data/augment.h"

#include <math.h>

double pk_augment_value(pk_augment_op op, double level, bool increasing, bool negative) {
    double part = level / 10, sign = negative ? -1 : 1;
    switch (op) {
    case PK_ROTATE: return sign * part * 30;
    case PK_POSTERIZE: return increasing ? 4 - floor(part * 4) : floor(part * 4);
    case PK_SOLARIZE: return increasing ? 256 - floor(part * 256) : floor(part * 256);
    case PK_SOLARIZE_ADD: return floor(part * 110);
    case PK_COLOR:
    case PK_CONTRAST:
    case PK_BRIGHTNESS:
    case PK_SHARPNESS: return increasing ? fmax(0.1, 1 + sign * part * 0.9) : part * 1.8 + 0.1;
    case PK_SHEAR_X:
    case PK_SHEAR_Y: return sign * part * 0.3;
    case PK_TRANSLATE_X:
    case PK_TRANSLATE_Y: return sign * part * 0.45;
    default: return 0;
    }
}

static void move(const pk_augment_step *a, const pk_bytes_map *p, pk_affine m) {
    pk_bytes_affine(p, &m, a->filter, a->fill);
}

void pk_augment_apply(const pk_augment_step *a, const pk_bytes_map *p) {
    double v = a->value;
    switch (a->op) {
    case PK_AUTO_CONTRAST: pk_bytes_autocontrast(p); break;
    case PK_EQUALIZE: pk_bytes_equalize(p); break;
    case PK_INVERT: pk_bytes_invert(p); break;
    case PK_ROTATE: move(a, p, pk_affine_rotation(v, p->h, p->w)); break;
    case PK_POSTERIZE: pk_bytes_posterize(p, (int)v); break;
    case PK_SOLARIZE: pk_bytes_solarize(p, (int)v); break;
    case PK_SOLARIZE_ADD: pk_bytes_solarize_add(p, (int)v, 128); break;
    case PK_COLOR: pk_bytes_saturation(p, v); break;
    case PK_CONTRAST: pk_bytes_contrast(p, v); break;
    case PK_BRIGHTNESS: pk_bytes_brightness(p, v); break;
    case PK_SHARPNESS: pk_bytes_sharpness(p, v); break;
    case PK_SHEAR_X: move(a, p, (pk_affine){1, v, 0, 0, 1, 0}); break;
    case PK_SHEAR_Y: move(a, p, (pk_affine){1, 0, 0, v, 1, 0}); break;
    case PK_TRANSLATE_X: move(a, p, (pk_affine){1, 0, v * (double)p->w, 0, 1, 0}); break;
    case PK_TRANSLATE_Y: move(a, p, (pk_affine){1, 0, 0, 0, 1, v * (double)p->h}); break;
    default: break;
    }
}
