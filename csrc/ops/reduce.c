/* Sums over sets of dimensions, and the reverse. */
#include "ops/reduce.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"

void pk_reduction_of(int ndim, const int64_t *shape, const bool *reduced, pk_reduction *r) {
    *r = (pk_reduction){.kept = 1, .count = 1};
    for (int d = 0; d < ndim; d++) {
        if (reduced[d])
            r->count *= shape[d];
        else
            r->kept *= shape[d];
        if (shape[d] == 1) continue;
        if (r->n && r->reduced[r->n - 1] == reduced[d]) {
            r->size[r->n - 1] *= shape[d];
        } else {
            r->reduced[r->n] = reduced[d];
            r->size[r->n++] = shape[d];
        }
    }
}

/* The place of element i of the runs that are reduced (or kept). */
static int64_t place(const pk_reduction *r, bool reduced, int64_t i) {
    int64_t stride = 1, at = 0;
    for (int d = r->n - 1; d >= 0; d--) {
        if (r->reduced[d] == reduced) {
            at += i % r->size[d] * stride;
            i /= r->size[d];
        }
        stride *= r->size[d];
    }
    return at;
}

int64_t pk_reduction_base(const pk_reduction *r, int64_t k) { return place(r, false, k); }
int64_t pk_reduction_step(const pk_reduction *r, int64_t i) { return place(r, true, i); }

/* The last run is the inner loop: a sum along it where it is reduced, else a row of sums. */
typedef struct reduce_job {
    const pk_reduction *r;
    int64_t inner, outer_kept, outer_count; /* kept and reduced elements outside the inner run */
    bool inner_reduced;
    int64_t kept_chunks, count_chunks;
    const float *x, *g;
    double factor, *partial; /* [count_chunks][kept] */
    float *out, *y;
} reduce_job;

static void job_of(const pk_reduction *r, reduce_job *j) {
    *j = (reduce_job){.r = r, .inner = r->n ? r->size[r->n - 1] : 1, .inner_reduced = r->n && r->reduced[r->n - 1]};
    j->outer_kept = j->inner_reduced ? r->kept : r->kept / pk_max(1, j->inner);
    j->outer_count = j->inner_reduced ? r->count / pk_max(1, j->inner) : r->count;
    if (r->kept * r->count == 0) j->outer_count = 0; /* empty sums */
    j->kept_chunks = pk_chunks(j->outer_kept, 32768 / pk_max(1, j->inner * j->outer_count));
    bool few = j->kept_chunks < 16;
    j->count_chunks = few ? pk_max(1, pk_min(64, pk_chunks(j->outer_count, 32768 / pk_max(1, j->inner)))) : 1;
}

static void add_row(double *s, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) s[i] += (double)x[i];
}

static void reduce_part(void *context, int64_t i, int worker) {
    (void)worker;
    const reduce_job *j = context;
    int64_t kc = i % j->kept_chunks, cc = i / j->kept_chunks, width = j->inner_reduced ? 1 : j->inner;
    int64_t c0 = pk_chunk_begin(j->outer_count, j->count_chunks, cc);
    int64_t c1 = pk_chunk_begin(j->outer_count, j->count_chunks, cc + 1);
    int64_t k1 = pk_chunk_begin(j->outer_kept, j->kept_chunks, kc + 1);
    for (int64_t k = pk_chunk_begin(j->outer_kept, j->kept_chunks, kc); k < k1; k++) {
        double *s = j->partial + cc * j->r->kept + k * width;
        memset(s, 0, (size_t)width * sizeof *s);
        int64_t base = pk_reduction_base(j->r, k * width);
        for (int64_t n = c0; n < c1; n++) {
            const float *x = j->x + base + pk_reduction_step(j->r, n * (j->inner_reduced ? j->inner : 1));
            if (j->inner_reduced)
                *s += pk_k()->sum(j->inner, x);
            else
                add_row(s, x, j->inner);
        }
    }
}

/* One long run to one number: in pieces. */
static void reduce_piece(void *context, int64_t i, int worker) {
    (void)worker;
    const reduce_job *j = context;
    int64_t at = pk_chunk_begin(j->inner, j->count_chunks, i);
    j->partial[i] = pk_k()->sum(pk_chunk_begin(j->inner, j->count_chunks, i + 1) - at, j->x + at);
}

enum { MAX_PIECES = 64 };

static void reduce_all(reduce_job *j, double factor, float *out) {
    double partial[MAX_PIECES], s = 0;
    j->partial = partial;
    j->count_chunks = pk_min(MAX_PIECES, pk_chunks(j->inner, 32768));
    pk_parallel(j->count_chunks, reduce_piece, j);
    for (int64_t i = 0; i < j->count_chunks; i++) s += partial[i];
    *out = (float)(s * factor);
}

pk_status pk_reduce_sum(const pk_reduction *r, const float *x, double factor, float *out) {
    reduce_job j;
    job_of(r, &j);
    int64_t bytes = j.count_chunks * r->kept * (int64_t)sizeof(double);
    j.x = x;
    if (r->n == 1 && j.inner_reduced) {
        reduce_all(&j, factor, out);
        return PK_OK;
    }
    j.partial = pk_alloc(bytes);
    if (!j.partial) return pk_no_memory(bytes);
    pk_parallel(j.kept_chunks * j.count_chunks, reduce_part, &j);
    for (int64_t k = 0; k < r->kept; k++) {
        double s = 0;
        for (int64_t c = 0; c < j.count_chunks; c++) s += j.partial[c * r->kept + k];
        out[k] = (float)(s * factor);
    }
    pk_free(j.partial);
    return PK_OK;
}

static void spread_part(void *context, int64_t i, int worker) {
    (void)worker;
    const reduce_job *j = context;
    int64_t width = j->inner_reduced ? 1 : j->inner, k1 = pk_chunk_begin(j->outer_kept, j->kept_chunks, i + 1);
    for (int64_t k = pk_chunk_begin(j->outer_kept, j->kept_chunks, i); k < k1; k++) {
        const float *g = j->g + k * width;
        int64_t base = pk_reduction_base(j->r, k * width);
        for (int64_t n = 0; n < j->outer_count; n++) {
            float *y = j->y + base + pk_reduction_step(j->r, n * (j->inner_reduced ? j->inner : 1));
            for (int64_t e = 0; e < j->inner; e++) y[e] = (float)j->factor * g[j->inner_reduced ? 0 : e];
        }
    }
}

void pk_reduce_spread(const pk_reduction *r, const float *g, float factor, float *y) {
    reduce_job j;
    job_of(r, &j);
    j.g = g;
    j.factor = factor;
    j.y = y;
    pk_parallel(j.kept_chunks, spread_part, &j);
}

pk_status pk_reduce_infer(pk_call *c, const pk_ints *dim, bool keepdim, bool reduced[PK_MAX_DIMS]) {
    const pk_tensor *x = c->in[0];
    int64_t shape[PK_MAX_DIMS];
    int n = 0;
    for (int d = 0; d < PK_MAX_DIMS; d++) reduced[d] = dim->n == 0;
    for (int i = 0; i < dim->n; i++) {
        int d;
        PK_TRY(pk_want_dim(c, dim->v[i], x->ndim, &d));
        PK_RETURN_IF(reduced[d], PK_EINVAL, "%s: dimension %d (counted from 0) is named twice", c->op->name, d);
        reduced[d] = true;
    }
    for (int d = 0; d < x->ndim; d++)
        if (!reduced[d] || keepdim) shape[n++] = reduced[d] ? 1 : x->shape[d];
    pk_out(c, 0, PK_FLOAT32, n, shape);
    return PK_OK;
}
