/* The norm of all gradients, and clipping by it. */
#include <math.h>

#include "core/alloc.h"
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

/* The gradients of what is trained of a model, each once: a layer may stand in several places. */
typedef struct gradients {
    const pk_tensor **of;
    int64_t count, room;
} gradients;

static pk_status collect(void *context, const char *path, pk_module *m, pk_slot *slot) {
    gradients *all = context;
    const pk_tensor *g = pk_tensor_grad(slot->tensor);
    (void)path, (void)m;
    if (!g || !slot->tensor->requires_grad) return PK_OK; /* what was frozen may have one of before */
    for (int64_t i = 0; i < all->count; i++)
        if (all->of[i] == g) return PK_OK;
    PK_TRY(pk_grow(&all->of, all->count, &all->room, sizeof *all->of));
    all->of[all->count++] = g;
    return PK_OK;
}

static double squares(const pk_tensor *g) {
    sum_job j = {.x = pk_f32(g), .n = pk_numel(g)};
    double sum = 0;
    j.chunks = pk_chunks(j.n, 1 << 15);
    pk_parallel(j.chunks, sum_chunk, &j);
    for (int64_t i = 0; i < j.chunks; i++) sum += j.part[i];
    return sum;
}

/* most: clip to it; 0: only look. */
static pk_status norm_of(pk_module *m, double most, double *norm) {
    gradients all = {0};
    double sum = 0;
    pk_status status = pk_module_each_slot(m, collect, &all);
    if (status == PK_OK) {
        for (int64_t i = 0; i < all.count; i++) sum += squares(all.of[i]);
        *norm = sqrt(sum);
    }
    if (status == PK_OK && most > 0 && isfinite(*norm) && *norm > most) {
        float factor = (float)(most / (*norm + 1e-6)); /* 1e-6 as PyTorch's clip_grad_norm_ */
        for (int64_t i = 0; i < all.count; i++) pk_k()->scale(pk_numel(all.of[i]), pk_f32(all.of[i]), factor);
    }
    pk_free(all.of);
    return status;
}

pk_status pk_grad_norm(pk_module *m, double *norm) { return norm_of(m, 0, norm); }

pk_status pk_clip_grad_norm(pk_module *m, double max_norm, double *norm) {
    PK_RETURN_IF(!(max_norm > 0), PK_EINVAL, "clip_grad_norm: the largest norm must be positive, got %g", max_norm);
    return norm_of(m, max_norm, norm);
}
