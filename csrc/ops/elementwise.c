/* Elementwise maps over chunks, and broadcasting: dimensions that both operands walk alike are merged, the innermost
 * run is one kernel call, and an operand that stands still is laid out in a small block first. */
#include "ops/elementwise.h"

#include "core/checked.h"
#include "core/pool.h"
#include "ops/reduce.h"

enum { GRAIN = 16384 };

typedef struct map_job {
    pk_map1 *f1;
    pk_map2 *f2;
    const float *a, *b;
    float *y;
    int64_t n, chunks;
} map_job;

static void map_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const map_job *j = context;
    int64_t at = pk_chunk_begin(j->n, j->chunks, i), n = pk_chunk_begin(j->n, j->chunks, i + 1) - at;
    if (j->f1)
        j->f1(n, j->a + at, j->y + at);
    else
        j->f2(n, j->a + at, j->b + at, j->y + at);
}

void pk_map1_run(pk_map1 *f, const float *x, float *y, int64_t n) {
    map_job j = {.f1 = f, .a = x, .y = y, .n = n, .chunks = pk_chunks(n, GRAIN)};
    pk_parallel(j.chunks, map_chunk, &j);
}

void pk_map2_run(pk_map2 *f, const float *a, const float *b, float *y, int64_t n) {
    map_job j = {.f2 = f, .a = a, .b = b, .y = y, .n = n, .chunks = pk_chunks(n, GRAIN)};
    pk_parallel(j.chunks, map_chunk, &j);
}

/* Merged dimensions: sizes, and steps of a and b (0 where they are stretched). */
typedef struct broadcast_job {
    pk_map2 *f;
    const float *a, *b;
    float *y;
    int n;
    int64_t size[PK_MAX_DIMS + 1], step_a[PK_MAX_DIMS + 1], step_b[PK_MAX_DIMS + 1];
    int64_t rows, chunks; /* of the innermost run */
} broadcast_job;

/* Steps of a packed tensor along `shape`. */
static void steps_of(const pk_tensor *t, int ndim, const int64_t *shape, int64_t *step) {
    int64_t stride = 1;
    for (int d = ndim - 1, e = t->ndim - 1; d >= 0; d--, e--) {
        int64_t size = e >= 0 ? t->shape[e] : 1;
        step[d] = size == 1 && shape[d] != 1 ? 0 : stride;
        stride *= size;
    }
}

static void merge_dims(broadcast_job *j, int ndim, const int64_t *shape, const int64_t *sa, const int64_t *sb) {
    for (int d = 0; d < ndim; d++) {
        if (shape[d] == 1) continue;
        int p = j->n - 1;
        if (j->n && j->step_a[p] == sa[d] * shape[d] && j->step_b[p] == sb[d] * shape[d]) {
            j->size[p] *= shape[d];
            j->step_a[p] = sa[d];
            j->step_b[p] = sb[d];
            continue;
        }
        j->size[j->n] = shape[d];
        j->step_a[j->n] = sa[d];
        j->step_b[j->n++] = sb[d];
    }
    if (j->n) return;
    j->n = 1;
    j->size[0] = j->step_a[0] = j->step_b[0] = 1;
}

enum { BLOCK = 256 };

static const float *laid_out(const float *p, int64_t step, float *block, int64_t n) {
    if (step) return p;
    for (int64_t i = 0; i < n && i < BLOCK; i++) block[i] = *p;
    return block;
}

/* n elements, each operand either packed or standing still. */
static void inner_run(const broadcast_job *j, const float *a, int64_t sa, const float *b, int64_t sb, float *y,
                      int64_t n) {
    float block_a[BLOCK], block_b[BLOCK];
    if (sa && sb) {
        j->f(n, a, b, y);
        return;
    }
    const float *pa = laid_out(a, sa, block_a, n), *pb = laid_out(b, sb, block_b, n);
    for (int64_t i = 0; i < n; i += BLOCK)
        j->f(pk_min(BLOCK, n - i), sa ? a + i : pa, sb ? b + i : pb, y + i);
}

static void broadcast_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const broadcast_job *j = context;
    int last = j->n - 1;
    int64_t end = pk_chunk_begin(j->rows, j->chunks, i + 1);
    for (int64_t row = pk_chunk_begin(j->rows, j->chunks, i); row < end; row++) {
        int64_t at_a = 0, at_b = 0, rest = row;
        for (int d = last - 1; d >= 0; d--) {
            int64_t k = rest % j->size[d];
            rest /= j->size[d];
            at_a += k * j->step_a[d];
            at_b += k * j->step_b[d];
        }
        inner_run(j, j->a + at_a, j->step_a[last], j->b + at_b, j->step_b[last], j->y + row * j->size[last],
                  j->size[last]);
    }
}

void pk_broadcast_run(pk_map2 *f, const pk_tensor *a, const pk_tensor *b, int ndim, const int64_t *shape, float *y) {
    broadcast_job j = {.f = f, .a = pk_f32(a), .b = pk_f32(b), .y = y};
    int64_t sa[PK_MAX_DIMS], sb[PK_MAX_DIMS], total = 1;
    for (int d = 0; d < ndim; d++) total *= shape[d];
    if (total == 0) return;
    steps_of(a, ndim, shape, sa);
    steps_of(b, ndim, shape, sb);
    merge_dims(&j, ndim, shape, sa, sb);
    if (j.n == 1 && j.step_a[0] && j.step_b[0]) {
        pk_map2_run(f, j.a, j.b, y, total);
        return;
    }
    j.rows = total / j.size[j.n - 1];
    j.chunks = pk_chunks(j.rows, pk_max(1, GRAIN / j.size[j.n - 1]));
    pk_parallel(j.chunks, broadcast_chunk, &j);
}

pk_status pk_unbroadcast(const float *g, int ndim, const int64_t *shape, const pk_tensor *like, float *out) {
    bool reduced[PK_MAX_DIMS];
    pk_reduction r;
    for (int d = 0; d < ndim; d++) {
        int e = d - (ndim - like->ndim);
        reduced[d] = e < 0 || (like->shape[e] == 1 && shape[d] != 1);
    }
    pk_reduction_of(ndim, shape, reduced, &r);
    return pk_reduce_sum(&r, g, 1, out);
}

int64_t pk_broadcast_place(int64_t i, int ndim, const int64_t *shape, int small_ndim, const int64_t *small) {
    int64_t at = 0, stride = 1;
    for (int d = ndim - 1, e = small_ndim - 1; d >= 0; d--, e--) {
        int64_t k = i % shape[d];
        i /= shape[d];
        if (e < 0) break;
        if (small[e] != 1) at += k * stride;
        stride *= small[e];
    }
    return at;
}
