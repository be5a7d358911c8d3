/* The window's weight gradient: the same stream of box rows as forward. A tile of the output's gradient stays in
 * registers while the columns' sums come by. */
#define WIN_WGRAD 1
#include "kernels/window_tile.h"

void PK_NAME(window_wgrad)(const pk_window *p, const pk_window_io *io) {
    win_stream s = {0};
    if (!p->rows || !p->cols) return;
    win_layout(p, io->scratch, &s);
    s.used = NULL; /* weights that are zero have gradients too */
    win_blocks(&s);
    win_pack(&s, io);
    memset(s.weights, 0, (size_t)p->rows * (size_t)p->cols * VL * sizeof(float));
    const int64_t n = (int64_t)p->out_h * p->out_w;
    for (int64_t i = 0; i < n; i++) v_store(s.other + i * VL, win_load(io->y + i * io->ldy, io->lanes));
    win_stream_rows(&s, win_use);
    const float *sum = s.weights;
    for (int i = 0; i < p->rows; i++)
        for (int j = 0; j < p->cols; j++, sum += VL) {
            float *dw = io->dw + ((int64_t)p->row[i].index * p->weight_cols + p->col[j].index) * io->ldw;
            win_store(dw, v_add(win_load(dw, io->lanes), v_load(sum)), io->lanes);
        }
}
