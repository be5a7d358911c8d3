/* The norm of all gradients, and clipping by it. */
#include <math.h>

#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"
#include "train/params.h"

typedef struct sum_job {
    const float *x;
    int64_t n, chunks;
    double part[512]; /* pk_chunks makes at most that many */
} sum_job;

static void sum_chunk(void *context, int64_t i, int worker) {
    sum_job *j = context;
    (void)worker;
    int64_t begin = pk_chunk_begin(j->n, j->chunks, i), end = pk_chunk_begin(j->n, j->chunks, i + 1);
    j->part[i] = pk_k()->sum_squares(end - begin, j->x + begin);
}

static pk_status add_squares(void *context, const char *path, pk_module *m, pk_slot *slot) {
    (void)path, (void)m;
    const pk_tensor *g = pk_tensor_grad(slot->tensor);
    if (!g) return PK_OK;
    sum_job j = {.x = pk_f32(g), .n = pk_numel(g)};
    j.chunks = pk_chunks(j.n, 1 << 15);
    pk_parallel(j.chunks, sum_chunk, &j);
    for (int64_t i = 0; i < j.chunks; i++) *(double *)context += j.part[i];
    return PK_OK;
}

pk_status pk_grad_norm(pk_module *m, double *norm) {
    double sum = 0;
    PK_TRY(pk_module_each_slot(m, add_squares, &sum));
    *norm = sqrt(sum);
    return PK_OK;
}

static pk_status scale(void *context, const char *path, pk_module *m, pk_slot *slot) {
    (void)path, (void)m;
    const pk_tensor *g = pk_tensor_grad(slot->tensor);
    if (g) pk_k()->scale(pk_numel(g), pk_f32(g), *(float *)context);
    return PK_OK;
}

pk_status pk_clip_grad_norm(pk_module *m, double max_norm, double *norm) {
    PK_RETURN_IF(!(max_norm > 0), PK_EINVAL, "clip_grad_norm: the largest norm must be positive, got %g", max_norm);
    PK_TRY(pk_grad_norm(m, norm));
    if (!isfinite(*norm) || *norm <= max_norm) return PK_OK;
    float factor = (float)(max_norm / (*norm + 1e-6)); /* 1e-6 as PyTorch's clip_grad_norm_ */
    return pk_module_each_slot(m, scale, &factor);
}
