/* LAMB (You et al., 2020, algorithm 2), with timm's semantics: Adam's update of every parameter is scaled so that its
 * norm is the parameter's. Gradients are first clipped by their global norm; parameters without weight decay take
 * Adam's update as it is. */
#include <math.h>

#include "core/pool.h"
#include "kernels/kernels.h"
#include "nn/fields.h"
#include "train/optim.h"

typedef struct sum_job {
    const pk_optim *o;
    pk_run run;
    int64_t chunks;
    double part[512][2]; /* pk_chunks makes at most that many */
} sum_job;

static void square_chunk(void *context, int64_t i, int worker) {
    sum_job *j = context;
    (void)worker;
    int64_t begin = pk_chunk_begin(j->run.end, j->chunks, i), end = pk_chunk_begin(j->run.end, j->chunks, i + 1);
    j->part[i][0] = pk_k()->sum_squares(end - begin, pk_f32(j->o->params->grads) + begin);
}

/* The factor that brings the norm of all gradients down to max_grad_norm. */
static void clip(pk_optim *o) {
    o->grad_scale = 1;
    if (o->options.max_grad_norm <= 0) return;
    sum_job j = {.o = o, .run = {0, o->params->total, 0, 0}, .chunks = pk_chunks(o->params->total, 1 << 15)};
    pk_parallel(j.chunks, square_chunk, &j);
    double sum = 0;
    for (int64_t i = 0; i < j.chunks; i++) sum += j.part[i][0];
    if (sqrt(sum) > o->options.max_grad_norm) o->grad_scale = o->options.max_grad_norm / sqrt(sum);
}

static void corrections(const pk_optim *o, float *c1, float *c2) {
    *c1 = (float)(1 - pow(o->options.beta1, (double)o->steps));
    *c2 = (float)(1 - pow(o->options.beta2, (double)o->steps));
}

static void moments_chunk(void *context, int64_t i, int worker) {
    sum_job *j = context;
    const pk_optim *o = j->o;
    (void)worker;
    float c1, c2;
    corrections(o, &c1, &c2);
    int64_t n = j->run.end - j->run.begin;
    int64_t at = j->run.begin + pk_chunk_begin(n, j->chunks, i), end = j->run.begin + pk_chunk_begin(n, j->chunks, i + 1);
    pk_k()->lamb_moments(end - at, pk_f32(o->params->values) + at, pk_f32(o->params->grads) + at, pk_f32(o->state[0]) + at,
                         pk_f32(o->state[1]) + at, (float)o->grad_scale, (float)(1 - o->options.beta1),
                         (float)(1 - o->options.beta2),
                         (float)o->options.eps, (float)j->run.decay, c1, c2, j->part[i]);
}

/* The moments, and how much longer the parameter is than its update. */
static double ratio(const pk_optim *o, const pk_run *run) {
    sum_job j = {.o = o, .run = *run, .chunks = pk_chunks(run->end - run->begin, 1 << 14)};
    pk_parallel(j.chunks, moments_chunk, &j);
    double weights = 0, updates = 0;
    for (int64_t i = 0; i < j.chunks; i++) weights += j.part[i][0], updates += j.part[i][1];
    bool adapts = (run->decay > 0 || o->options.always_adapt) && weights > 0 && updates > 0;
    return adapts ? sqrt(weights / updates) : 1;
}

static void step(const pk_optim *o, const pk_run *r) {
    float c1, c2;
    corrections(o, &c1, &c2);
    pk_k()->lamb_step(r->end - r->begin, pk_f32(o->params->values) + r->begin, pk_f32(o->state[0]) + r->begin,
                      pk_f32(o->state[1]) + r->begin, (float)r->lr, (float)o->options.eps, (float)r->decay, c1, c2);
}

static const pk_field fields[] = {
    F_FLOAT(pk_optim_options, lr, 1e-3, 0, 1e6, "learning rate"),
    F_FLOAT(pk_optim_options, beta1, 0.9, 0, 0.999999999, "decay of the first moment"),
    F_FLOAT(pk_optim_options, beta2, 0.999, 0, 0.999999999, "decay of the second moment"),
    F_FLOAT(pk_optim_options, eps, 1e-6, 0, 1, "added to the root of the second moment"),
    F_FLOAT(pk_optim_options, weight_decay, 0.01, 0, 1e6, "added to the update as weight_decay * w"),
    F_FLOAT(pk_optim_options, max_grad_norm, 1, 0, 1e6, "largest norm of all gradients together; 0: any"),
    F_BOOL(pk_optim_options, always_adapt, 0, "scale the updates of parameters without weight decay too"),
};

const pk_optim_class pk_optim_lamb = {"lamb", "Layer-wise adaptive moments for large batches (You et al., 2020).", fields,
                                      F_COUNT(fields), 2, {"exp_avg", "exp_avg_sq"}, step, clip, ratio};
