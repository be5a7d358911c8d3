/* SGD and AdamW with PyTorch's semantics, on flat arenas. */
#include "train/optim.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"
#include "nn/fields.h"

static void sgd_step(const pk_optim *o, const pk_run *r) {
    const pk_optim_options *p = &o->options;
    pk_k()->sgd_step(r->end - r->begin, pk_f32(o->params->values) + r->begin, pk_f32(o->params->grads) + r->begin,
                     p->momentum != 0 ? pk_f32(o->state[0]) + r->begin : NULL, (float)r->lr, (float)p->momentum,
                     (float)p->dampening, (float)r->decay, p->nesterov, o->steps == 1);
}

static void adamw_step(const pk_optim *o, const pk_run *r) {
    const pk_optim_options *p = &o->options;
    double c1 = 1 - pow(p->beta1, (double)o->steps), c2 = 1 - pow(p->beta2, (double)o->steps);
    pk_k()->adamw_step(r->end - r->begin, pk_f32(o->params->values) + r->begin, pk_f32(o->params->grads) + r->begin,
                       pk_f32(o->state[0]) + r->begin, pk_f32(o->state[1]) + r->begin, (float)r->lr, (float)(1 - p->beta1),
                       (float)(1 - p->beta2), (float)p->eps, (float)r->decay, (float)c1, (float)c2);
}

static const pk_field sgd_fields[] = {
    F_FLOAT(pk_optim_options, lr, 0.1, 0, 1e6, "learning rate"),
    F_FLOAT(pk_optim_options, momentum, 0.9, 0, 1, "share of the last step kept"),
    F_FLOAT(pk_optim_options, dampening, 0, 0, 1, "share of the gradient left out of the momentum"),
    F_FLOAT(pk_optim_options, weight_decay, 0, 0, 1e6, "added to the gradient as weight_decay * w"),
    F_BOOL(pk_optim_options, nesterov, 0, "Nesterov's momentum"),
};
static const pk_field adamw_fields[] = {
    F_FLOAT(pk_optim_options, lr, 1e-3, 0, 1e6, "learning rate"),
    F_FLOAT(pk_optim_options, beta1, 0.9, 0, 0.999999999, "decay of the first moment"),
    F_FLOAT(pk_optim_options, beta2, 0.999, 0, 0.999999999, "decay of the second moment"),
    F_FLOAT(pk_optim_options, eps, 1e-8, 0, 1, "added to the root of the second moment"),
    F_FLOAT(pk_optim_options, weight_decay, 0.05, 0, 1e6, "decoupled: w shrinks by lr * weight_decay a step"),
};

static const pk_optim_class sgd = {"sgd", "Stochastic gradient descent with momentum.", sgd_fields, F_COUNT(sgd_fields), 1,
                                   {"momentum_buffer", NULL}, sgd_step, NULL, NULL};
static const pk_optim_class adamw = {"adamw", "Adam with decoupled weight decay (Loshchilov and Hutter, 2019).",
                                     adamw_fields, F_COUNT(adamw_fields), 2, {"exp_avg", "exp_avg_sq"}, adamw_step,
                                     NULL, NULL};
static const pk_optim_class *const classes[] = {&sgd, &adamw, &pk_optim_lamb};

const pk_optim_class *pk_optim_find(const char *name) {
    for (int i = 0; i < F_COUNT(classes); i++)
        if (strcmp(classes[i]->name, name) == 0) return classes[i];
    return NULL;
}

pk_status pk_optim_new(const pk_optim_class *cls, pk_module *m, const pk_optim_options *options,
                       const char *const *no_decay, pk_optim **out) {
    *out = NULL;
    PK_TRY(pk_schema_check(cls->name, cls->fields, cls->nfields, options));
    pk_optim *o = pk_alloc_zeroed(sizeof *o);
    if (!o) return pk_no_memory(sizeof *o);
    o->cls = cls;
    o->options = *options;
    o->grad_scale = 1;
    pk_status status = pk_params_new(m, no_decay, cls->nstates, &o->params);
    for (int i = 0; i < cls->nstates && status == PK_OK; i++) o->state[i] = o->params->moment[i];
    if (status == PK_OK)
        *out = o;
    else
        pk_optim_free(o);
    return status;
}

void pk_optim_free(pk_optim *o) {
    if (!o) return;
    pk_params_free(o->params);
    for (int i = 0; i < 2; i++) pk_tensor_release(o->state[i]);
    pk_free(o);
}

/* ---- a step: runs of equal learning rate and weight decay, cut for the threads ---- */

typedef struct step_job {
    const pk_optim *o;
    pk_run run;
    int64_t chunks;
} step_job;

static void step_chunk(void *context, int64_t i, int worker) {
    const step_job *j = context;
    (void)worker;
    int64_t n = j->run.end - j->run.begin;
    pk_run part = j->run;
    part.begin = j->run.begin + pk_chunk_begin(n, j->chunks, i);
    part.end = j->run.begin + pk_chunk_begin(n, j->chunks, i + 1);
    j->o->cls->step(j->o, &part);
}

static void step_run(const pk_optim *o, const pk_param *p, int64_t end) {
    double decay = p->weight_decay >= 0 ? p->weight_decay : p->decay ? o->options.weight_decay : 0;
    step_job j = {o, {p->at, end, o->options.lr * p->lr_scale, decay}, pk_chunks(end - p->at, 1 << 14)};
    if (o->cls->ratio) j.run.lr *= o->cls->ratio(o, &j.run);
    pk_parallel(j.chunks, step_chunk, &j);
}

static bool alike(const pk_param *a, const pk_param *b) {
    return a->tensor->requires_grad == b->tensor->requires_grad && a->decay == b->decay && a->lr_scale == b->lr_scale &&
           a->weight_decay == b->weight_decay;
}

pk_status pk_optim_step(pk_optim *o) {
    PK_TRY(pk_params_ready(o->params));
    PK_TRY(pk_schema_check(o->cls->name, o->cls->fields, o->cls->nfields, &o->options));
    o->steps++;
    const pk_params *p = o->params;
    if (o->cls->begin) o->cls->begin(o);
    for (int64_t first = 0, i = 1; i <= p->count; i++) {
        if (i < p->count && !o->cls->ratio && alike(&p->param[i], &p->param[first])) continue;
        if (p->param[first].tensor->requires_grad) /* what was frozen since stays as it is */
            step_run(o, &p->param[first], i < p->count ? p->param[i].at : p->total);
        first = i;
    }
    pk_tensor_written(p->values);
    pk_params_apply_masks(o->params);
    return PK_OK;
}

pk_status pk_optim_group(pk_optim *o, const char *path, double lr_scale, double weight_decay) {
    PK_RETURN_IF(!(lr_scale >= 0) || !isfinite(lr_scale), PK_EINVAL, "%s: lr_scale must be at least 0, got %g", path, lr_scale);
    PK_RETURN_IF(!isfinite(weight_decay), PK_EINVAL, "%s: weight_decay must be finite, got %g", path, weight_decay);
    for (int64_t i = 0; i < o->params->count; i++) {
        pk_param *p = &o->params->param[i];
        if (strcmp(p->path, path) != 0) continue;
        p->lr_scale = lr_scale;
        p->weight_decay = weight_decay;
        return PK_OK;
    }
    return pk_fail(PK_EINVAL, "the optimiser has no parameter '%s'", path);
}
