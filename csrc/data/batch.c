/* Assembling batches, in parallel over pictures. */
#include "data/batch.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"
#include "core/rng.h"

#define SHUFFLE_KEY 0x73687566666c65u /* so that order and pictures draw from different streams */

/* ---- extents along the pipeline ---- */

typedef struct batch_plan {
    pk_extent at[PK_MAX_TRANSFORMS + 1]; /* before step i */
    int64_t floats, scratch;             /* largest extent, largest scratch */
} batch_plan;

static pk_extent first_extent(int ndim, const int64_t *shape) {
    pk_extent e = {1, 1, 1, ndim == 4};
    if (ndim == 4) return (pk_extent){shape[1], shape[2], shape[3], true};
    for (int i = 1; i < ndim - 1; i++) e.w *= shape[i]; /* its product was checked when the tensor was made */
    if (ndim > 1) e.c = shape[ndim - 1];
    return e;
}

static pk_status make_plan(const pk_pipeline *p, int ndim, const int64_t *shape, batch_plan *plan) {
    pk_extent e = first_extent(ndim, shape);
    plan->at[0] = e;
    plan->scratch = 0;
    plan->floats = e.h * e.w * e.c;
    for (int i = 0; i < p->count; i++) {
        const pk_transform_kind *kind = p->step[i]->kind;
        PK_RETURN_IF(kind->spatial && !e.image, PK_EINVAL, "%s: wants pictures {N,H,W,C}, got %s", kind->name,
                     pk_dims_text(ndim, shape));
        if (kind->infer) PK_TRY(kind->infer(p->step[i]->options, &e));
        int64_t floats;
        PK_RETURN_IF(!pk_mul_ok(e.h, e.w, &floats) || !pk_mul_ok(floats, e.c, &floats), PK_EINVAL, "%s: too large",
                     kind->name);
        plan->floats = pk_max(plan->floats, floats);
        if (kind->scratch) plan->scratch = pk_max(plan->scratch, kind->scratch(&plan->at[i], &e));
        plan->at[i + 1] = e;
    }
    return PK_OK;
}

pk_status pk_pipeline_infer(const pk_pipeline *p, int ndim, const int64_t *shape, pk_extent *out) {
    batch_plan plan;
    PK_TRY(make_plan(p, ndim, shape, &plan));
    *out = plan.at[p->count];
    return PK_OK;
}

/* ---- pictures ---- */

typedef struct job {
    const pk_tensor *x;
    const int32_t *row;
    const pk_pipeline *p;
    const batch_plan *plan;
    uint64_t stream;
    float *work;          /* a part a worker: two pictures and the scratch */
    int64_t work_floats;
    float *out;
} job;

static void load(const pk_tensor *x, int64_t row, int64_t n, float *to) {
    if (x->dtype == PK_FLOAT32) {
        memcpy(to, pk_f32(x) + row * n, (size_t)n * sizeof *to);
        return;
    }
    const uint8_t *from = pk_u8(x) + row * n;
    for (int64_t i = 0; i < n; i++) to[i] = (float)from[i];
}

static void assemble(void *context, int64_t index, int worker) {
    const job *j = context;
    const batch_plan *plan = j->plan;
    int last = j->p->count;
    int64_t row = j->row[index] - 1, in_floats = plan->at[0].h * plan->at[0].w * plan->at[0].c;
    float *work = j->work + worker * j->work_floats;
    float *side[2] = {work, work + plan->floats};
    float *out = j->out + index * plan->at[last].h * plan->at[last].w * plan->at[last].c;
    uint64_t stream = pk_random_bits(j->stream, (uint64_t)row);
    load(j->x, row, in_floats, last == 0 ? out : side[0]);
    for (int i = 0; i < last; i++) {
        pk_step s = {.options = j->p->step[i]->options, .from = plan->at[i], .to = plan->at[i + 1], .in = side[i & 1],
                     .out = i + 1 == last ? out : side[(i + 1) & 1], .scratch = work + 2 * plan->floats,
                     .stream = pk_random_bits(stream, (uint64_t)i)};
        j->p->step[i]->kind->apply(&s);
    }
}

static pk_status check_rows(const char *what, const pk_tensor *x, const int32_t *row, int64_t count) {
    PK_RETURN_IF(x->ndim < 1, PK_EINVAL, "%s: a scalar has no rows", what);
    for (int64_t i = 0; i < count; i++)
        PK_RETURN_IF(row[i] < 1 || row[i] > x->shape[0], PK_EINVAL, "%s: row %d, there are 1 to %lld", what, row[i],
                     (long long)x->shape[0]);
    return PK_OK;
}

static int out_shape(const pk_tensor *x, const pk_extent *e, int64_t count, int64_t *shape) {
    memcpy(shape, x->shape, sizeof x->shape);
    shape[0] = count;
    if (x->ndim == 4) {
        shape[1] = e->h;
        shape[2] = e->w;
        shape[3] = e->c;
    }
    return x->ndim;
}

pk_status pk_batch(const pk_tensor *x, const int32_t *row, int64_t count, const pk_pipeline *p, uint64_t seed,
                   uint64_t epoch, pk_tensor **out) {
    *out = NULL;
    PK_RETURN_IF(x->dtype == PK_INT32, PK_EINVAL, "batch: wants uint8 or float32 data, got int32");
    PK_RETURN_IF(!pk_is_contiguous(x), PK_EINVAL, "batch: the data must be contiguous");
    PK_TRY(check_rows("batch", x, row, count));
    batch_plan plan;
    PK_TRY(make_plan(p, x->ndim, x->shape, &plan));
    int64_t shape[PK_MAX_DIMS], bytes;
    int ndim = out_shape(x, &plan.at[p->count], count, shape);
    job j = {.x = x, .row = row, .p = p, .plan = &plan, .stream = pk_random_bits(seed, epoch)};
    PK_RETURN_IF(!pk_mul_ok(plan.floats, 2, &j.work_floats) ||
                     !pk_add_ok(j.work_floats, plan.scratch + 16, &j.work_floats) ||
                     !pk_mul_ok(j.work_floats, pk_threads() * (int64_t)sizeof(float), &bytes),
                 PK_EINVAL, "batch: pictures too large");
    PK_TRY(pk_tensor_new(PK_FLOAT32, ndim, shape, out));
    j.work = pk_alloc(bytes);
    if (!j.work) {
        pk_tensor_release(*out);
        *out = NULL;
        return pk_no_memory(bytes);
    }
    j.out = pk_f32(*out);
    pk_parallel(count, assemble, &j);
    pk_free(j.work);
    return PK_OK;
}

pk_status pk_batch_rows(const pk_tensor *y, const int32_t *row, int64_t count, pk_tensor **out) {
    *out = NULL;
    PK_RETURN_IF(!pk_is_contiguous(y), PK_EINVAL, "batch: the labels must be contiguous");
    PK_TRY(check_rows("batch labels", y, row, count));
    int64_t shape[PK_MAX_DIMS];
    memcpy(shape, y->shape, sizeof shape);
    shape[0] = count;
    PK_TRY(pk_tensor_new(y->dtype, y->ndim, shape, out));
    int64_t bytes = count > 0 ? pk_numel(*out) / count * pk_dtype_size(y->dtype) : 0;
    uint8_t *to = (*out)->storage->data;
    const uint8_t *from = (const uint8_t *)y->storage->data + y->offset * pk_dtype_size(y->dtype);
    for (int64_t i = 0; i < count && bytes > 0; i++) memcpy(to + i * bytes, from + (row[i] - 1) * bytes, (size_t)bytes);
    return PK_OK;
}

/* ---- the order of an epoch ---- */

pk_status pk_epoch_order(int64_t n, const pk_tensor *subset, bool shuffle, uint64_t seed, uint64_t epoch,
                         pk_tensor **out) {
    *out = NULL;
    PK_RETURN_IF(n < 0 || n > INT32_MAX, PK_EINVAL, "an epoch has 0 to %d rows, not %lld", INT32_MAX, (long long)n);
    PK_RETURN_IF(subset && (subset->dtype != PK_INT32 || subset->ndim != 1 || subset->shape[0] != n ||
                            !pk_is_contiguous(subset)),
                 PK_EINVAL, "the rows of a subset must be int32 {%lld}", (long long)n);
    PK_TRY(pk_tensor_new(PK_INT32, 1, &n, out));
    int32_t *order = pk_i32(*out);
    if (shuffle)
        pk_random_permutation(pk_random_bits(seed ^ SHUFFLE_KEY, epoch), (int32_t)n, order);
    else
        for (int64_t i = 0; i < n; i++) order[i] = (int32_t)i;
    for (int64_t i = 0; i < n; i++) order[i] = subset ? pk_i32(subset)[order[i]] : order[i] + 1;
    return PK_OK;
}
