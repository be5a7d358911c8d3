/* The position embedding over whole tensors: see position_run.h. A task is one block of channels. */
#include "ops/position_run.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"
#include "ops/grid.h"

typedef struct job {
    const pk_kernels *k;
    pk_position p;               /* of channel 0 */
    int64_t channels, blocks, lanes;
    int64_t taps;                /* k * k */
    float *partial;              /* gradient of a shared position: one {k,k} a block */
    char *scratch;
    int64_t scratch_bytes;
} job;

static pk_status begin(job *j, const pk_position_job *job_) {
    const int64_t k = pk_grid_total(job_->grid), c = job_->channels;
    *j = (job){.k = pk_k(), .channels = c, .taps = k * k};
    j->p = (pk_position){.kernel = (int32_t)k, .size = job_->grid->v, .count = job_->grid->n, .h = (int32_t)job_->h,
                         .w = (int32_t)job_->w, .weight = job_->weight, .position = job_->position, .ldw = c,
                         .ldp = job_->shared ? 1 : c, .ldmap = c, .shared = job_->shared};
    j->lanes = j->k->window_lanes();
    j->blocks = pk_ceil_div(c, j->lanes);
    j->scratch_bytes = pk_round_up(j->k->position_scratch(&j->p), 64);
    int64_t bytes = j->scratch_bytes * pk_threads();
    j->scratch = pk_alloc(bytes);
    return j->scratch ? PK_OK : pk_no_memory(bytes);
}

static pk_position place(const job *j, int64_t block, int worker) {
    pk_position p = j->p;
    int64_t c = block * j->lanes;
    p.weight += c;
    if (!p.shared) p.position += c;
    if (p.map) p.map += c;
    if (p.dmap) p.dmap += c;
    if (p.dweight) p.dweight += c;
    if (p.dposition) p.dposition = p.shared ? j->partial + block * j->taps : p.dposition + c;
    p.lanes = (int32_t)pk_min(j->lanes, j->channels - c);
    p.scratch = j->scratch + worker * j->scratch_bytes;
    return p;
}

static void map_task(void *context, int64_t index, int worker) {
    const job *j = context;
    pk_position p = place(j, index, worker);
    j->k->position_map(&p);
}

pk_status pk_position_map(const pk_position_job *what, float *map) {
    job j;
    if (what->h == 0 || what->w == 0) return PK_OK;
    PK_TRY(begin(&j, what));
    j.p.map = map;
    pk_parallel(j.blocks, map_task, &j);
    pk_free(j.scratch);
    return PK_OK;
}

static void grad_task(void *context, int64_t index, int worker) {
    const job *j = context;
    pk_position p = place(j, index, worker);
    j->k->position_grad(&p);
}

pk_status pk_position_map_grad(const pk_position_job *what, const float *dmap, float *dweight, float *dposition) {
    job j;
    if (what->h == 0 || what->w == 0) return PK_OK;
    PK_TRY(begin(&j, what));
    j.p.dmap = dmap, j.p.dweight = dweight, j.p.dposition = dposition;
    if (dposition && what->shared) {
        int64_t bytes = j.blocks * j.taps * (int64_t)sizeof(float);
        j.partial = pk_alloc_zeroed(bytes);
        if (!j.partial) {
            pk_free(j.scratch);
            return pk_no_memory(bytes);
        }
    }
    pk_parallel(j.blocks, grad_task, &j);
    for (int64_t b = 0; j.partial && b < j.blocks; b++) j.k->add_to(j.taps, dposition, j.partial + b * j.taps);
    pk_free(j.partial);
    pk_free(j.scratch);
    return PK_OK;
}

/* ---- mode "all" ---- */

/* sum over the taps of region (i, j), channel c, of position */
static double region_sum(const pk_position_job *j, int64_t k, int64_t top, int64_t height, int64_t left, int64_t width,
                         int64_t c) {
    double sum = 0;
    int64_t step = j->shared ? 1 : j->channels;
    for (int64_t a = top; a < top + height; a++)
        for (int64_t b = left; b < left + width; b++) sum += j->position[(a * k + b) * step + (j->shared ? 0 : c)];
    return sum;
}

void pk_position_constant(const pk_position_job *j, float *constant) {
    const pk_ints *g = j->grid;
    const int64_t k = pk_grid_total(g);
    for (int64_t c = 0; c < j->channels; c++) {
        double sum = 0;
        for (int32_t r = 0, top = 0; r < g->n; top += g->v[r++])
            for (int32_t s = 0, left = 0; s < g->n; left += g->v[s++])
                sum += j->weight[((int64_t)r * g->n + s) * j->channels + c] *
                       region_sum(j, k, top, g->v[r], left, g->v[s], c);
        constant[c] += (float)sum;
    }
}

void pk_position_constant_grad(const pk_position_job *j, const float *dconstant, float *dweight, float *dposition) {
    const pk_ints *g = j->grid;
    const int64_t k = pk_grid_total(g), channels = j->channels;
    for (int32_t r = 0, top = 0; r < g->n; top += g->v[r++])
        for (int32_t s = 0, left = 0; s < g->n; left += g->v[s++]) {
            const float *w = j->weight + ((int64_t)r * g->n + s) * channels;
            double shared = 0;
            for (int64_t c = 0; c < channels; c++) {
                double tap = (double)w[c] * dconstant[c];
                shared += tap;
                if (dweight)
                    dweight[((int64_t)r * g->n + s) * channels + c] +=
                        (float)(dconstant[c] * region_sum(j, k, top, g->v[r], left, g->v[s], c));
                for (int64_t t = 0; dposition && !j->shared && t < (int64_t)g->v[r] * g->v[s]; t++)
                    dposition[((top + t / g->v[s]) * k + left + t % g->v[s]) * channels + c] += (float)tap;
            }
            for (int64_t t = 0; dposition && j->shared && t < (int64_t)g->v[r] * g->v[s]; t++)
                dposition[(top + t / g->v[s]) * k + left + t % g->v[s]] += (float)shared;
        }
}
