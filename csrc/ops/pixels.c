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
    int64_t n, chunks, width;
    pk_partial_sum *add;
    void *context;
    float *partial, *out;
} sum_job;

static void sum_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    sum_job *j = context;
    float *partial = j->partial + i * j->width;
    memset(partial, 0, (size_t)j->width * sizeof *partial);
    j->add(j->context, pk_chunk_begin(j->n, j->chunks, i), pk_chunk_begin(j->n, j->chunks, i + 1), partial);
}

static void sum_columns(void *context, int64_t i, int worker) {
    (void)worker;
    sum_job *j = context;
    int64_t parts = pk_chunks(j->width, 256);
    for (int64_t k = pk_chunk_begin(j->width, parts, i); k < pk_chunk_begin(j->width, parts, i + 1); k++) {
        double s = 0;
        for (int64_t chunk = 0; chunk < j->chunks; chunk++) s += (double)j->partial[chunk * j->width + k];
        j->out[k] = (float)s;
    }
}

pk_status pk_sum_chunks(int64_t n, int64_t chunks, int64_t width, pk_partial_sum *add, void *context, float *out) {
    int64_t bytes = chunks * width * (int64_t)sizeof(float);
    sum_job j = {n, chunks, width, add, context, pk_alloc(bytes), out};
    if (!j.partial) return pk_no_memory(bytes);
    pk_parallel(chunks, sum_chunk, &j);
    pk_parallel(pk_chunks(width, 256), sum_columns, &j);
    pk_free(j.partial);
    return PK_OK;
}

typedef struct bias_job {
    const float *g;
    int64_t width;
} bias_job;

static void add_pixels(void *context, int64_t begin, int64_t end, float *partial) {
    const bias_job *j = context;
    pk_k()->channel_sum(end - begin, j->width, j->g + begin * j->width, j->width, partial);
}

pk_status pk_bias_grad(const float *g, int64_t rows, int64_t width, float *sum) {
    bias_job j = {g, width};
    return pk_sum_chunks(rows, pk_chunks(rows, 32768 / pk_max(1, width)), width, add_pixels, &j, sum);
}
