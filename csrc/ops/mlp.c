/* The MLP forward. A task is a tile of pixels and some chunks of hidden channels; a chunk of a tile is made, activated
 * and used while it is in the second cache, and never goes to memory. Where there are few tiles several tasks share one:
 * each sums over its own chunks, and their sums are added in order. */
#include "ops/mlp.h"

#include <string.h>

#include "core/alloc.h"
#include "kernels/product.h"

enum {
    ROWS = 256,                         /* pixels of a tile, at most */
    CHUNK = 11,                         /* strips of a chunk of hidden channels, at most */
    TASKS = 8                           /* aim at this many */
};

/* Tiles of forward: threads in twos and fours get the same number of them. */
static int64_t tiles_of(const pk_mlp *m) {
    const int64_t tiles = pk_ceil_div(m->rows, ROWS);
    return tiles > 4 ? pk_round_up(tiles, 4) : tiles > 1 ? pk_round_up(tiles, 2) : tiles;
}

/* As many as keep a chunk in the second cache, or give the threads tasks where there are few tiles. */
int64_t pk_mlp_chunks(const pk_mlp *m) {
    const int64_t strips = pk_ceil_div(m->hidden, PK_GEMM_STRIP), wanted = pk_ceil_div(TASKS, tiles_of(m));
    return pk_max(pk_ceil_div(strips, CHUNK), pk_min(strips / 2, wanted));
}

int64_t pk_mlp_hidden(const pk_mlp *m, int64_t chunk) {
    const int64_t strips = pk_ceil_div(m->hidden, PK_GEMM_STRIP);
    return pk_min(m->hidden, pk_chunk_begin(strips, pk_mlp_chunks(m), chunk) * PK_GEMM_STRIP);
}

int64_t pk_mlp_widest(const pk_mlp *m) { return pk_min(m->hidden, CHUNK * PK_GEMM_STRIP); }

int64_t pk_mlp_kept(const pk_mlp *m, int64_t begin, int64_t end, float *factor) {
    *factor = 1;
    if (!m->drop) return end;
    *factor = pk_drop_factor(m->drop, begin / m->sample);
    return pk_min(end, (begin / m->sample + 1) * m->sample);
}

pk_pixels pk_mlp_normed(const pk_mlp *m, int64_t begin, int64_t end, float *to, float *mean, float *rstd) {
    pk_pixels x = m->x;
    x.at += begin * x.stride;
    x.count = end - begin;
    if (m->norm == PK_MLP_NONE) return x;
    pk_k()->layer_norm_rows(x.count, m->in, x.at, x.stride, m->norm_weight, m->norm_bias, (float)m->eps, to, mean, rstd);
    return (pk_pixels){.count = x.count, .channels = m->in, .stride = m->in, .at = to};
}

typedef struct job {
    const pk_mlp *m;
    int64_t tiles, chunks, groups; /* groups of chunks share a tile */
    int64_t normed, hidden, scratch; /* floats of a worker's parts; of all of it */
    float *room, *partial;         /* partial: {groups,rows,out}, where there are several groups */
    float *last, *y;               /* last: what the second layer gives; y itself where it is not kept */
} job;

/* The first linear layer and GELU of one chunk, into `hidden`. */
static void activate(const pk_mlp *m, const pk_pixels *x, int64_t begin, int64_t h0, int64_t h1, float *hidden,
                     float *scratch) {
    const int64_t n = h1 - h0;
    float *before = m->before ? m->before + begin * m->hidden + h0 : hidden;
    const int64_t stride = m->before ? m->hidden : n;
    const pk_product p = {.tb = true, .m = x->count, .n = n, .k = m->in, .a = x->at, .lda = x->stride,
                          .b = m->w1 + h0 * m->in, .ldb = m->in, .bias = m->b1 ? m->b1 + h0 : NULL, .c = before,
                          .ldc = stride};
    pk_product_here(&p, false, scratch);
    for (int64_t r = 0; m->before && r < x->count; r++) pk_k()->map_gelu(n, before + r * stride, hidden + r * n);
    if (!m->before) pk_k()->map_gelu(x->count * n, hidden, hidden);
}

/* y = shortcut + factor * gamma * last; last may be y. */
static void finish_rows(const pk_mlp *m, int64_t begin, int64_t end, const float *last, float *y) {
    for (int64_t r = begin, next; r < end; r = next) {
        float factor;
        next = pk_mlp_kept(m, r, end, &factor);
        const float *from = last + r * m->out;
        float *to = y + r * m->out;
        if (m->shortcut.at)
            pk_k()->residual_rows(next - r, m->out, from, m->out, m->gamma, factor,
                                  m->shortcut.at + r * m->shortcut.stride, m->shortcut.stride, to);
        else if (m->gamma)
            pk_k()->affine_rows(next - r, m->out, from, m->out, NULL, m->gamma, NULL, to);
        else if (from != to)
            memcpy(to, from, (size_t)((next - r) * m->out) * sizeof *to);
        if (!m->shortcut.at && factor != 1) pk_k()->scale((next - r) * m->out, to, factor);
    }
}

static void run_tile(void *context, int64_t index, int worker) {
    const job *j = context;
    const pk_mlp *m = j->m;
    const int64_t tile = index / j->groups, group = index % j->groups;
    const int64_t begin = pk_chunk_begin(m->rows, j->tiles, tile), end = pk_chunk_begin(m->rows, j->tiles, tile + 1);
    const int64_t first = pk_chunk_begin(j->chunks, j->groups, group);
    const int64_t behind = pk_chunk_begin(j->chunks, j->groups, group + 1);
    float *normed = j->room + worker * j->scratch, *hidden = normed + j->normed, *scratch = hidden + j->hidden;
    float *last = j->groups > 1 ? j->partial + group * m->rows * m->out : j->last;
    const bool keeps = group == 0 && m->mean;
    const pk_pixels x = pk_mlp_normed(m, begin, end, normed, keeps ? m->mean + begin : NULL,
                                      keeps ? m->rstd + begin : NULL);
    for (int64_t c = first; c < behind; c++) {
        const int64_t h0 = pk_mlp_hidden(m, c), h1 = pk_mlp_hidden(m, c + 1);
        activate(m, &x, begin, h0, h1, hidden, scratch);
        const pk_product p = {.tb = true, .m = end - begin, .n = m->out, .k = h1 - h0, .a = hidden, .lda = h1 - h0,
                              .b = m->w2 + h0, .ldb = m->hidden, .bias = c == 0 ? m->b2 : NULL, .c = last + begin * m->out,
                              .ldc = m->out};
        pk_product_here(&p, c > first, scratch);
    }
    if (j->groups == 1) finish_rows(m, begin, end, last, j->y);
}

/* The groups' sums, added in order. */
static void add_groups(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const pk_mlp *m = j->m;
    const int64_t chunks = pk_chunks(m->rows, 8), begin = pk_chunk_begin(m->rows, chunks, index);
    const int64_t end = pk_chunk_begin(m->rows, chunks, index + 1), at = begin * m->out, n = (end - begin) * m->out;
    pk_k()->map_add(n, j->partial + at, j->partial + m->rows * m->out + at, j->last + at);
    for (int64_t g = 2; g < j->groups; g++) pk_k()->add_to(n, j->last + at, j->partial + g * m->rows * m->out + at);
    finish_rows(m, begin, end, j->last, j->y);
}

pk_status pk_mlp_forward(const pk_mlp *m, float *y) {
    if (m->rows < 1 || m->out < 1) return PK_OK;
    job j = {.m = m, .last = m->last ? m->last : y, .y = y, .tiles = tiles_of(m), .chunks = pk_mlp_chunks(m)};
    const int64_t rows = pk_ceil_div(m->rows, j.tiles);
    j.groups = pk_min(j.chunks, pk_ceil_div(TASKS, j.tiles));
    j.normed = m->norm == PK_MLP_NONE ? 0 : pk_round_up(rows * m->in, 16);
    j.hidden = pk_round_up(rows * pk_mlp_widest(m), 16);
    j.scratch = j.normed + j.hidden + pk_product_scratch();
    const int64_t partial = j.groups > 1 ? j.groups * m->rows * m->out : 0;
    const int64_t bytes = (pk_threads() * j.scratch + partial) * (int64_t)sizeof(float);
    j.room = pk_alloc(bytes);
    if (!j.room) return pk_no_memory(bytes);
    j.partial = j.room + pk_threads() * j.scratch;
    pk_parallel(j.tiles * j.groups, run_tile, &j);
    if (j.groups > 1) pk_parallel(pk_chunks(m->rows, 8), add_groups, &j);
    pk_free(j.room);
    return PK_OK;
}
