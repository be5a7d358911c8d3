/* Pixels by channels, and sums over them: one partial result a chunk, added in the order of the chunks. */
#include "ops/pixels.h"

#include <string.h>

#include "core/alloc.h"

pk_pixels pk_pixels_of(const pk_tensor *t) {
    pk_pixels p = {0};
    p.channels = t->ndim ? t->shape[t->ndim - 1] : 1;
    p.count = t->ndim ? pk_span(t, 0, t->ndim - 1) : 1;
    if (t->storage && !pk_is_rows(t, &p.stride)) p.stride = p.channels;
    if (!t->storage) p.stride = p.channels;
    p.at = t->storage ? pk_f32(t) : NULL;
    return p;
}

int64_t pk_span(const pk_tensor *t, int from, int to) {
    int64_t n = 1;
    for (int d = from; d < to; d++) n *= t->shape[d];
    return n;
}

int64_t pk_pixel_chunks(const pk_pixels *p) { return pk_chunks(p->count, 32768 / pk_max(1, p->channels)); }

typedef struct sum_job {
    const pk_sum *sum;
    float *partial, *out; /* partial: a chunk's sums and, where there are blocks, a block's, for every chunk */
    int64_t room;         /* floats of partial for one chunk */
} sum_job;

static void sum_chunk(void *context, int64_t i, int worker) {
    const sum_job *j = context;
    const pk_sum *s = j->sum;
    float *total = j->partial + i * j->room, *part = total + s->width;
    int64_t at = i / s->chunks * s->n, begin = at + pk_chunk_begin(s->n, s->chunks, i % s->chunks);
    int64_t end = at + pk_chunk_begin(s->n, s->chunks, i % s->chunks + 1);
    memset(total, 0, (size_t)s->width * sizeof *total);
    if (!s->block || end - begin <= s->block) {
        s->add(s->context, begin, end, worker, total);
        return;
    }
    for (int64_t b = begin; b < end; b += s->block) {
        memset(part, 0, (size_t)s->width * sizeof *part);
        s->add(s->context, b, pk_min(end, b + s->block), worker, part);
        pk_k()->add_to(s->width, total, part);
    }
}

enum { COLUMNS = 256 };

static void sum_columns(void *context, int64_t i, int worker) {
    (void)worker;
    const sum_job *j = context;
    const pk_sum *s = j->sum;
    int64_t all = s->groups * s->width, end = pk_min(all, (i + 1) * COLUMNS);
    for (int64_t k = i * COLUMNS; k < end; k++) {
        const float *column = j->partial + k / s->width * s->chunks * j->room + k % s->width;
        double total = 0;
        for (int64_t chunk = 0; chunk < s->chunks; chunk++) total += (double)column[chunk * j->room];
        j->out[k] = (float)total;
    }
}

pk_status pk_sum_run(const pk_sum *sum, float *out) {
    int64_t room = sum->block ? 2 * sum->width : sum->width;
    int64_t bytes = sum->groups * sum->chunks * room * (int64_t)sizeof(float);
    sum_job j = {sum, pk_alloc(bytes), out, room};
    if (!j.partial) return pk_no_memory(bytes);
    pk_parallel(sum->groups * sum->chunks, sum_chunk, &j);
    pk_parallel(pk_ceil_div(sum->groups * sum->width, COLUMNS), sum_columns, &j);
    pk_free(j.partial);
    return PK_OK;
}

typedef struct bias_job {
    const float *g;
    int64_t width;
} bias_job;

static void add_pixels(void *context, int64_t begin, int64_t end, int worker, float *partial) {
    (void)worker;
    const bias_job *j = context;
    pk_k()->channel_sum(end - begin, j->width, j->g + begin * j->width, j->width, partial);
}

pk_status pk_bias_grad(const float *g, int64_t rows, int64_t width, float *out) {
    bias_job j = {g, width};
    pk_sum sum = {1, rows, pk_chunks(rows, 32768 / pk_max(1, width)), PK_SUM_BLOCK, width, add_pixels, &j};
    return pk_sum_run(&sum, out);
}
