/* The scalar truth of the window kernels: the definition in plain loops, sums in double. */
#include "kernels/kernels.h"

enum { LANES = 8 };

int PK_NAME(window_lanes)(void) { return LANES; }

int64_t PK_NAME(window_scratch)(const pk_window *p) {
    (void)p;
    return 64;
}

/* x at (row, column) of the stuffed map; zero outside it. */
static double pixel(const pk_window *p, const pk_window_io *io, int row, int col, int c) {
    if (row < 0 || row >= p->in_h || col < 0 || col >= p->in_w || row % p->stuff_y || col % p->stuff_x) return 0;
    int64_t width = (p->in_w - 1) / p->stuff_x + 1;
    return io->x[(row / p->stuff_y * width + col / p->stuff_x) * io->ldx + c];
}

/* What band i x band j sums for output (q, r). */
static double box(const pk_window *p, const pk_window_io *io, int i, int j, int q, int r, int c) {
    int top = q * p->stride_y + p->row[i].at, left = r * p->stride_x + p->col[j].at;
    double sum = 0;
    for (int row = top; row < top + p->row[i].size; row++)
        for (int col = left; col < left + p->col[j].size; col++) sum += pixel(p, io, row, col, c);
    return sum;
}

static int64_t weight_at(const pk_window *p, const pk_window_io *io, int i, int j) {
    return ((int64_t)p->row[i].index * p->weight_cols + p->col[j].index) * io->ldw;
}

void PK_NAME(window_forward)(const pk_window *p, const pk_window_io *io) {
    for (int q = 0; q < p->out_h; q++)
        for (int r = 0; r < p->out_w; r++)
            for (int c = 0; c < io->lanes; c++) {
                int64_t out = (int64_t)q * p->out_w + r;
                double sum = (io->bias ? io->bias[c] : 0) + (io->map ? io->map[out * io->ldmap + c] : 0);
                for (int i = 0; i < p->rows; i++)
                    for (int j = 0; j < p->cols; j++)
                        sum += io->w[weight_at(p, io, i, j) + c] * box(p, io, i, j, q, r, c);
                io->y[out * io->ldy + c] = (float)sum;
            }
}

void PK_NAME(window_wgrad)(const pk_window *p, const pk_window_io *io) {
    for (int i = 0; i < p->rows; i++)
        for (int j = 0; j < p->cols; j++)
            for (int c = 0; c < io->lanes; c++) {
                double sum = 0;
                for (int q = 0; q < p->out_h; q++)
                    for (int r = 0; r < p->out_w; r++)
                        sum += io->y[((int64_t)q * p->out_w + r) * io->ldy + c] * box(p, io, i, j, q, r, c);
                io->dw[weight_at(p, io, i, j) + c] += (float)sum;
            }
}

float PK_NAME(peak)(int64_t n) {
    float a = 0, b = 1;
    for (int64_t i = 0; i < n * 10; i++) a = a * 0.5f + b;
    return a;
}
