/* The MLP back. A task is a span of pixels and one chunk of hidden channels: it walks the span's tiles, makes the chunk's
 * hidden values again (or reads what went into the GELU), and adds to the chunk's part of the weight gradients, which stays
 * in the second cache. Spans' weight gradients and chunks' input gradients are added in order afterwards.
 *
 * Gamma: with D = sum over the pixels of (keep * dy)' h, dw2 is D with its rows times gamma, and the gradient of gamma[o]
 * is <w2[o], D[o]> + b2[o] * sum of keep * dy[o]: what the second layer gave is neither kept nor made again. Where there
 * are fewer pixels than hidden channels a pass over D costs more than keeping it, and gamma's gradient is a sum over it. */
#include "ops/mlp.h"

#include <string.h>

#include "core/alloc.h"
#include "kernels/product.h"

enum {
    ROWS = 200, /* pixels of a tile, at most: as deep as the product's kernel goes at once */
    TASKS = 8   /* aim at this many */
};

typedef struct job {
    const pk_mlp *m;
    const pk_mlp_grads *to;
    const float *dy;
    int64_t spans, chunks, tile, widest; /* pixels of a tile; hidden channels of a chunk: at most */
    bool wants_w2, wants_w1, wants_x;
    bool by_weights;                     /* gamma's gradient comes from D; then dw2 is scaled at the end */
    float *room, *normed, *kept, *scaled, *hidden, *slope, *sums, *scratch; /* of worker 0; the others' behind */
    int64_t stride;                                                      /* floats from one worker's to the next */
    float *w2, *w1;        /* {spans,out,hidden}, {spans,hidden,in}: from the second span on where the first has a target */
    float *b1, *dy_sum;    /* {spans,hidden}, {spans,out} */
    float *x;              /* {chunks,rows,in}: gradients of what goes into the first layer */
} job;

static float *w2_of(const job *j, int64_t span) {
    const int64_t own = j->to->w2 ? span - 1 : span;
    return own < 0 ? j->to->w2 : j->w2 + own * j->m->out * j->m->hidden;
}
static float *w1_of(const job *j, int64_t span) {
    return span == 0 ? j->to->w1 : j->w1 + (span - 1) * j->m->hidden * j->m->in;
}

/* ---- one tile and one chunk ---- */

typedef struct tile {
    int64_t begin, end, rows, h0, width, span, chunk;
    bool first;                   /* of the span: gradients of weights are written, else added to */
    const float *dy, *scaled;     /* keep * dy; times gamma */
    pk_pixels x;                  /* what goes into the first layer */
    float *hidden, *slope, *sums, *scratch;
} tile;

/* keep * dy in `to`, or dy itself where nothing is dropped. False: all of the tile is. */
static bool keep_rows(const job *j, tile *t, float *to) {
    const int64_t out = j->m->out;
    bool any = false, whole = true;
    float factor;
    for (int64_t r = t->begin; r < t->end; r = pk_mlp_kept(j->m, r, t->end, &factor)) {
        pk_mlp_kept(j->m, r, t->end, &factor);
        any |= factor != 0;
        whole &= factor == 1;
    }
    t->dy = whole ? j->dy + t->begin * out : to;
    if (whole || !any) return any;
    memcpy(to, j->dy + t->begin * out, (size_t)(t->rows * out) * sizeof *to);
    for (int64_t r = t->begin, next; r < t->end; r = next) {
        next = pk_mlp_kept(j->m, r, t->end, &factor);
        pk_k()->scale((next - r) * out, to + (r - t->begin) * out, factor);
    }
    return true;
}

/* Hidden values into t->hidden, and the gradient before the GELU into t->slope. */
static void hidden_both(const pk_mlp *m, const tile *t) {
    const pk_product again = {.tb = true, .m = t->rows, .n = t->width, .k = m->in, .a = t->x.at, .lda = t->x.stride,
                              .b = m->w1 + t->h0 * m->in, .ldb = m->in, .bias = m->b1 ? m->b1 + t->h0 : NULL,
                              .c = t->hidden, .ldc = t->width};
    const pk_product back = {.m = t->rows, .n = t->width, .k = m->out, .a = t->scaled, .lda = m->out, .b = m->w2 + t->h0,
                             .ldb = m->hidden, .c = t->slope, .ldc = t->width};
    pk_product_here(&back, false, t->scratch);
    if (!m->before) {
        pk_product_here(&again, false, t->scratch);
        pk_k()->gelu_and_grad(t->rows * t->width, t->hidden, t->slope, t->hidden, t->slope);
        return;
    }
    for (int64_t r = 0; r < t->rows; r++)
        pk_k()->gelu_and_grad(t->width, m->before + (t->begin + r) * m->hidden + t->h0, t->slope + r * t->width,
                              t->hidden + r * t->width, t->slope + r * t->width);
}

static void add_sums(const tile *t, const float *rows, int64_t width, float *total) {
    pk_k()->channel_sum(t->rows, width, rows, width, t->sums);
    if (t->first) memcpy(total, t->sums, (size_t)width * sizeof *total);
    else pk_k()->add_to(width, total, t->sums);
}

static void add_gradients(const job *j, const tile *t) {
    const pk_mlp *m = j->m;
    const pk_product to_w2 = {.ta = true, .m = m->out, .n = t->width, .k = t->rows,
                              .a = j->by_weights ? t->dy : t->scaled, .lda = m->out, .b = t->hidden, .ldb = t->width,
                              .c = j->wants_w2 ? w2_of(j, t->span) + t->h0 : NULL, .ldc = m->hidden};
    const pk_product to_w1 = {.ta = true, .m = t->width, .n = m->in, .k = t->rows, .a = t->slope, .lda = t->width,
                              .b = t->x.at, .ldb = t->x.stride,
                              .c = j->wants_w1 ? w1_of(j, t->span) + t->h0 * m->in : NULL, .ldc = m->in};
    const pk_product to_x = {.m = t->rows, .n = m->in, .k = t->width, .a = t->slope, .lda = t->width,
                             .b = m->w1 + t->h0 * m->in, .ldb = m->in,
                             .c = j->wants_x ? j->x + (t->chunk * m->rows + t->begin) * m->in : NULL, .ldc = m->in};
    if (j->wants_w2) pk_product_here(&to_w2, !t->first, t->scratch);
    if (j->wants_w1) pk_product_here(&to_w1, !t->first, t->scratch);
    if (j->wants_x) pk_product_here(&to_x, false, t->scratch);
    if (j->b1) add_sums(t, t->slope, t->width, j->b1 + t->span * m->hidden + t->h0);
    if (j->dy_sum && t->chunk == 0) add_sums(t, t->dy, m->out, j->dy_sum + t->span * m->out);
}

/* A span of which nothing was kept. */
static void no_gradients(const job *j, const tile *t) {
    const pk_mlp *m = j->m;
    const size_t width = (size_t)t->width * sizeof(float);
    for (int64_t o = 0; j->wants_w2 && o < m->out; o++) memset(w2_of(j, t->span) + o * m->hidden + t->h0, 0, width);
    if (j->wants_w1) memset(w1_of(j, t->span) + t->h0 * m->in, 0, width * (size_t)m->in);
    if (j->b1) memset(j->b1 + t->span * m->hidden + t->h0, 0, width);
    if (j->dy_sum && t->chunk == 0) memset(j->dy_sum + t->span * m->out, 0, (size_t)m->out * sizeof(float));
}

static void run_tile(const job *j, tile *t, int64_t at) {
    const pk_mlp *m = j->m;
    if (!keep_rows(j, t, j->kept ? j->kept + at : NULL)) {
        if (j->wants_x)
            memset(j->x + (t->chunk * m->rows + t->begin) * m->in, 0, (size_t)(t->rows * m->in) * sizeof(float));
        return;
    }
    t->scaled = t->dy;
    if (m->gamma) {
        pk_k()->affine_rows(t->rows, m->out, t->dy, m->out, NULL, m->gamma, NULL, j->scaled + at);
        t->scaled = j->scaled + at;
    }
    t->x = pk_mlp_normed(m, t->begin, t->end, j->normed + at, NULL, NULL);
    hidden_both(m, t);
    add_gradients(j, t);
    t->first = false;
}

static void run_span(void *context, int64_t index, int worker) {
    const job *j = context;
    const pk_mlp *m = j->m;
    const int64_t at = worker * j->stride, chunk = index % j->chunks, span = index / j->chunks;
    const int64_t h0 = pk_mlp_hidden(m, chunk), begin = pk_chunk_begin(m->rows, j->spans, span);
    const int64_t rows = pk_chunk_begin(m->rows, j->spans, span + 1) - begin, tiles = pk_ceil_div(rows, j->tile);
    tile t = {.h0 = h0, .width = pk_mlp_hidden(m, chunk + 1) - h0, .span = span, .chunk = chunk, .first = true,
              .hidden = j->hidden + at, .slope = j->slope + at, .sums = j->sums + at, .scratch = j->scratch + at};
    for (int64_t i = 0; i < tiles; i++) {
        t.begin = begin + pk_chunk_begin(rows, tiles, i);
        t.end = begin + pk_chunk_begin(rows, tiles, i + 1);
        t.rows = t.end - t.begin;
        run_tile(j, &t, at);
    }
    if (t.first) no_gradients(j, &t);
}

/* ---- adding up ---- */

/* Row o of D, all spans; then of dw2 and the gradient of gamma. */
static void finish_w2(void *context, int64_t o, int worker) {
    (void)worker;
    const job *j = context;
    const pk_mlp *m = j->m;
    const pk_mlp_grads *to = j->to;
    float *row = w2_of(j, 0) + o * m->hidden, dy = 0;
    for (int64_t s = 1; s < j->spans; s++) pk_k()->add_to(m->hidden, row, w2_of(j, s) + o * m->hidden);
    for (int64_t s = 0; j->dy_sum && s < j->spans; s++) dy += j->dy_sum[s * m->out + o];
    if (!j->by_weights) return;
    if (to->gamma) {
        const double own = pk_k()->dot(m->hidden, row, m->w2 + o * m->hidden);
        to->gamma[o] = (float)(own + (m->b2 ? (double)m->b2[o] * (double)dy : 0));
    }
    if (to->w2) pk_k()->scale(m->hidden, row, m->gamma[o]);
}

static void finish_w1(void *context, int64_t h, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t at = h * j->m->in;
    for (int64_t s = 1; s < j->spans; s++) pk_k()->add_to(j->m->in, w1_of(j, 0) + at, w1_of(j, s) + at);
}

static void finish_biases(const job *j) {
    const pk_mlp *m = j->m;
    for (int64_t h = 0; j->to->b1 && h < m->hidden; h++) {
        float sum = 0;
        for (int64_t s = 0; s < j->spans; s++) sum += j->b1[s * m->hidden + h];
        j->to->b1[h] = sum;
    }
    for (int64_t o = 0; j->to->b2 && o < m->out; o++) {
        float sum = 0;
        for (int64_t s = 0; s < j->spans; s++) sum += j->dy_sum[s * m->out + o];
        j->to->b2[o] = m->gamma ? sum * m->gamma[o] : sum;
    }
}

/* Gamma's gradient from what the second layer gave. */
static void add_gamma(void *context, int64_t begin, int64_t end, int worker, float *partial) {
    (void)worker;
    const job *j = context;
    const pk_mlp *m = j->m;
    for (int64_t r = begin, next; r < end; r = next) {
        float factor, *own = partial + m->out;
        next = pk_mlp_kept(m, r, end, &factor);
        if (factor == 0) continue;
        pk_k()->channel_dot(next - r, m->out, m->last + r * m->out, m->out, NULL, j->dy + r * m->out, m->out, own);
        pk_k()->scale(m->out, own, factor);
        pk_k()->add_to(m->out, partial, own);
    }
}

static pk_status finish_gamma(const job *j) {
    const pk_mlp *m = j->m;
    const int64_t bytes = 2 * m->out * (int64_t)sizeof(float); /* sums, and the last run's */
    float *sums = pk_alloc(bytes);
    if (!sums) return pk_no_memory(bytes);
    const pk_sum sum = {1, m->rows, pk_chunks(m->rows, 32768 / pk_max(1, m->out)), PK_SUM_BLOCK, 2 * m->out, add_gamma,
                        (void *)j};
    pk_status status = pk_sum_run(&sum, sums);
    if (status == PK_OK) memcpy(j->to->gamma, sums, (size_t)bytes / 2);
    pk_free(sums);
    return status;
}

/* The chunks' gradients of some pixels, added; then the norm's. */
static void finish_x(void *context, int64_t begin, int64_t end, int worker, float *partial) {
    (void)worker;
    const job *j = context;
    const pk_mlp *m = j->m;
    const int64_t n = (end - begin) * m->in, at = begin * m->in;
    for (int64_t c = 1; c < j->chunks; c++) pk_k()->add_to(n, j->x + at, j->x + c * m->rows * m->in + at);
    if (m->norm == PK_MLP_NONE) return;
    const bool sums = j->to->norm_weight || j->to->norm_bias;
    pk_k()->layer_norm_grad(end - begin, m->in, m->x.at + begin * m->x.stride, m->x.stride, m->norm_weight,
                            m->mean + begin, m->rstd + begin, j->x + at, j->to->x ? j->to->x + at : NULL,
                            sums ? partial : NULL, sums ? partial + m->in : NULL);
}

static pk_status finish_norm(const job *j) {
    const pk_mlp *m = j->m;
    const int64_t width = j->to->norm_weight || j->to->norm_bias ? 2 * m->in : 0;
    const int64_t bytes = width * (int64_t)sizeof(float);
    float *sums = pk_alloc(bytes);
    if (!sums) return pk_no_memory(bytes);
    const pk_sum sum = {1, m->rows, pk_pixel_chunks(&m->x), PK_SUM_BLOCK, width, finish_x, (void *)j};
    pk_status status = pk_sum_run(&sum, sums);
    if (status == PK_OK && j->to->norm_weight) memcpy(j->to->norm_weight, sums, (size_t)bytes / 2);
    if (status == PK_OK && j->to->norm_bias) memcpy(j->to->norm_bias, sums + m->in, (size_t)bytes / 2);
    pk_free(sums);
    return status;
}

/* ---- the whole ---- */

/* Where everything lies in one block: its size in floats, and with a base the pointers. */
static int64_t lay_out(job *j, float *base) {
    const pk_mlp *m = j->m;
    const int64_t rows = j->tile, w2 = m->out * m->hidden, w1 = m->hidden * m->in;
    int64_t at = 0;
#define PLACE(pointer, wanted, count) \
    (pointer) = base && (wanted) ? base + at : NULL, at += (wanted) ? pk_round_up(count, 16) : 0
    PLACE(j->normed, true, m->norm == PK_MLP_NONE ? 16 : rows * m->in);
    PLACE(j->kept, m->drop != NULL, rows * m->out);
    PLACE(j->scaled, m->gamma != NULL, rows * m->out);
    PLACE(j->hidden, true, rows * j->widest);
    PLACE(j->slope, true, rows * j->widest);
    PLACE(j->sums, true, pk_max(j->widest, m->out));
    PLACE(j->scratch, true, pk_product_scratch());
    j->stride = at;
    at *= pk_threads();
    PLACE(j->w2, j->wants_w2, (j->to->w2 ? j->spans - 1 : j->spans) * w2);
    PLACE(j->w1, j->wants_w1, (j->spans - 1) * w1);
    PLACE(j->b1, j->to->b1 != NULL, j->spans * m->hidden);
    PLACE(j->dy_sum, j->to->b2 || j->to->gamma, j->spans * m->out);
    const bool into_target = m->norm == PK_MLP_NONE && j->chunks == 1;
    PLACE(j->x, j->wants_x && !into_target, j->chunks * m->rows * m->in);
    if (into_target) j->x = j->to->x;
#undef PLACE
    return at;
}

static pk_status add_up(job *j) {
    const pk_mlp *m = j->m;
    if (j->wants_w2 && (j->spans > 1 || j->by_weights)) pk_parallel(m->out, finish_w2, j);
    if (j->to->gamma && !j->by_weights) PK_TRY(finish_gamma(j));
    if (j->wants_w1 && j->spans > 1) pk_parallel(m->hidden, finish_w1, j);
    finish_biases(j);
    if (j->wants_x) PK_TRY(finish_norm(j));
    if (j->to->x && m->norm == PK_MLP_NONE && j->chunks > 1)
        memcpy(j->to->x, j->x, (size_t)(m->rows * m->in) * sizeof(float));
    return PK_OK;
}

static void no_pixels(const pk_mlp *m, const pk_mlp_grads *to) {
    const struct {
        float *p;
        int64_t n;
    } all[] = {{to->w1, m->hidden * m->in}, {to->w2, m->out * m->hidden}, {to->b1, m->hidden}, {to->b2, m->out},
               {to->norm_weight, m->in},    {to->norm_bias, m->in},       {to->gamma, m->out}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].p) memset(all[i].p, 0, (size_t)all[i].n * sizeof(float));
}

pk_status pk_mlp_backward(const pk_mlp *m, const float *dy, const pk_mlp_grads *to) {
    if (m->rows < 1) {
        no_pixels(m, to);
        return PK_OK;
    }
    job j = {.m = m, .to = to, .dy = dy, .chunks = pk_mlp_chunks(m), .widest = pk_mlp_widest(m)};
    const int64_t tiles = pk_ceil_div(m->rows, ROWS);
    j.spans = pk_min(tiles, pk_ceil_div(TASKS, j.chunks));
    j.tile = pk_min(m->rows, ROWS);
    j.by_weights = m->gamma && !pk_mlp_keeps_last(m->rows, m->hidden);
    j.wants_w2 = to->w2 || (to->gamma && j.by_weights);
    j.wants_w1 = to->w1 != NULL;
    j.wants_x = to->x || to->norm_weight || to->norm_bias;
    const int64_t bytes = lay_out(&j, NULL) * (int64_t)sizeof(float);
    j.room = pk_alloc(bytes);
    if (!j.room) return pk_no_memory(bytes);
    lay_out(&j, j.room);
    pk_parallel(j.spans * j.chunks, run_span, &j);
    pk_status status = add_up(&j);
    pk_free(j.room);
    return status;
}
