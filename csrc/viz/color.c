/* Each map as nine colours at equal distances, straight lines between them. */
#include "viz/color.h"

#include <math.h>

enum { ANCHORS = 9 };

static const uint32_t map_colors[][ANCHORS] = {
    [PK_GRAY] = {0x000000, 0x202020, 0x404040, 0x606060, 0x808080, 0x9f9f9f, 0xbfbfbf, 0xdfdfdf, 0xffffff},
    [PK_VIRIDIS] = {0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80, 0x5ec962, 0xaddc30, 0xfde725},
    [PK_MAGMA] = {0x000004, 0x1d1147, 0x51127c, 0x832681, 0xb73779, 0xe75263, 0xfc8961, 0xfec488, 0xfcfdbf},
    [PK_COOLWARM] = {0x3b4cc0, 0x6788ee, 0x9abbff, 0xc9d7f0, 0xedeae7, 0xf2cab5, 0xf7a789, 0xe26952, 0xb40426},
};

static float channel(uint32_t color, int shift) { return (float)(color >> shift & 0xff); }

void pk_color(pk_color_map map, float v, uint8_t rgb[3]) {
    if (isnan(v)) {
        rgb[0] = rgb[2] = 255;
        rgb[1] = 0;
        return;
    }
    float place = fminf(fmaxf(v, 0.0f), 1.0f) * (ANCHORS - 1);
    int i = (int)place;
    if (i > ANCHORS - 2) i = ANCHORS - 2;
    float f = place - (float)i;
    for (int c = 0; c < 3; c++) {
        float a = channel(map_colors[map][i], 16 - 8 * c), b = channel(map_colors[map][i + 1], 16 - 8 * c);
        rgb[c] = (uint8_t)(a + (b - a) * f + 0.5f);
    }
}
