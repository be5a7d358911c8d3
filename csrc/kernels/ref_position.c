/* The scalar truth of the position kernels: every output, every tap. */
#include "kernels/kernels.h"

int64_t PK_NAME(position_scratch)(const pk_position *p) {
    (void)p;
    return 64;
}

/* The band that holds tap a. */
static int band_of(const pk_position *p, int a) {
    int b = 0;
    while (a >= p->size[b]) a -= p->size[b++];
    return b;
}

static bool in_image(const pk_position *p, int y, int x, int a, int b) {
    int row = y + a - p->kernel / 2, col = x + b - p->kernel / 2;
    return row >= 0 && row < p->h && col >= 0 && col < p->w;
}

void PK_NAME(position_map)(const pk_position *p) {
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++)
            for (int c = 0; c < p->lanes; c++) {
                double sum = 0;
                for (int a = 0; a < p->kernel; a++)
                    for (int b = 0; b < p->kernel; b++) {
                        if (!in_image(p, y, x, a, b)) continue;
                        int64_t region = (int64_t)band_of(p, a) * p->count + band_of(p, b);
                        double w = p->weight[region * p->ldw + c];
                        sum += w * p->position[((int64_t)a * p->kernel + b) * p->ldp + (p->shared ? 0 : c)];
                    }
                p->map[((int64_t)y * p->w + x) * p->ldmap + c] = (float)sum;
            }
}

void PK_NAME(position_grad)(const pk_position *p) {
    for (int a = 0; a < p->kernel; a++)
        for (int b = 0; b < p->kernel; b++) {
            int64_t region = ((int64_t)band_of(p, a) * p->count + band_of(p, b)) * p->ldw;
            int64_t tap = ((int64_t)a * p->kernel + b) * p->ldp;
            double shared = 0;
            for (int c = 0; c < p->lanes; c++) {
                double seen = 0;
                for (int y = 0; y < p->h; y++)
                    for (int x = 0; x < p->w; x++)
                        if (in_image(p, y, x, a, b)) seen += p->dmap[((int64_t)y * p->w + x) * p->ldmap + c];
                if (p->dweight) p->dweight[region + c] += (float)(seen * p->position[tap + (p->shared ? 0 : c)]);
                shared += seen * p->weight[region + c];
                if (p->dposition && !p->shared) p->dposition[tap + c] += (float)(seen * p->weight[region + c]);
            }
            if (p->dposition && p->shared) p->dposition[tap] += (float)shared;
        }
}
