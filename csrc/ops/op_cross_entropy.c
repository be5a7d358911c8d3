/* Cross entropy of logits against class labels or soft targets. Backward computes the softmax again. */
#include <math.h>

#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"
#include "ops/op.h"

typedef struct cross_entropy_params {
    double label_smoothing;
} cross_entropy_params;

static const pk_field fields[] = {
    {"label_smoothing", PK_FLOAT, offsetof(cross_entropy_params, label_smoothing), .def = 0, .min = 0, .max = 1,
     .doc = "share of the target spread over all classes"},
};

static pk_status infer(pk_call *c) {
    PK_TRY(pk_want_ndim(c, 0, 2));
    const int64_t *s = c->in[0]->shape;
    bool labels = c->in[1]->dtype == PK_INT32;
    PK_TRY(pk_want_shape(c, 1, labels ? 1 : 2, s,
                         labels ? "one label for each row" : "a target for each logit; class labels are int32"));
    if (c->in[2]) PK_TRY(pk_want_shape(c, 2, 1, s + 1, "a weight for each class"));
    PK_RETURN_IF(s[0] < 1 || s[1] < 1, PK_EINVAL, "cross_entropy: logits %s hold no row or no class",
                 pk_shape_text(c->in[0]));
    pk_out(c, 0, PK_FLOAT32, 0, NULL);
    return PK_OK;
}

static pk_status check_labels(const pk_call *c) {
    int64_t rows = c->in[0]->shape[0], classes = c->in[0]->shape[1];
    const int32_t *label = pk_i32(c->in[1]);
    int32_t low = label[0], high = label[0];
    int64_t bad = -1;
    for (int64_t i = 0; i < rows; i++) {
        low = label[i] < low ? label[i] : low;
        high = label[i] > high ? label[i] : high;
        if (bad < 0 && (label[i] < 1 || label[i] > classes)) bad = i;
    }
    PK_RETURN_IF(bad >= 0, PK_EINVAL,
                 "cross_entropy: row %lld has label %d, labels are 1 to %lld (found in this batch: %d to %d%s)",
                 (long long)bad + 1, label[bad], (long long)classes, low, high,
                 low == 0 && high < classes ? "; were they counted from 0?" : "");
    return PK_OK;
}

typedef struct loss_job {
    int64_t rows, classes, chunks;
    const float *x, *soft, *weight; /* weight: one a class, or null */
    const int32_t *label;
    double smoothing, divisor;      /* rows, or the weights of their labels */
    double *loss;                   /* one a chunk */
    float *dx, factor;
} loss_job;

static void job_of(const pk_call *c, loss_job *j) {
    const pk_tensor *x = c->in[0], *target = c->in[1];
    bool labels = target->dtype == PK_INT32;
    *j = (loss_job){.rows = x->shape[0], .classes = x->shape[1], .x = pk_f32(x), .soft = labels ? NULL : pk_f32(target),
                    .label = labels ? pk_i32(target) : NULL, .weight = c->in[2] ? pk_f32(c->in[2]) : NULL,
                    .smoothing = ((const cross_entropy_params *)c->params)->label_smoothing};
    j->chunks = pk_min(256, pk_chunks(j->rows, 16384 / j->classes));
    j->divisor = (double)j->rows;
    if (!j->label || !j->weight) return;
    j->divisor = 0;
    for (int64_t r = 0; r < j->rows; r++) j->divisor += j->weight[j->label[r] - 1];
}

/* What class k of a row counts: its share of the smoothed target times its weight. */
static double share(const loss_job *j, int64_t row, int64_t k) {
    double t = j->label ? (double)(j->label[row] == k + 1) : (double)j->soft[row * j->classes + k];
    return j->weight[k] * ((1 - j->smoothing) * t + j->smoothing / (double)j->classes);
}

static double weighted_loss(const loss_job *j, int64_t row) {
    const float *x = j->x + row * j->classes;
    double lse = pk_k()->log_sum_exp(j->classes, x), loss = 0;
    for (int64_t k = 0; k < j->classes; k++) {
        const double counts = share(j, row, k);
        if (counts != 0) loss += counts * (lse - x[k]); /* a class that does not count may be impossible */
    }
    return loss;
}

/* -sum_k t_k (x_k - lse), t = (1 - s) target + s / K: the sum over t of lse is lse times the target's mass. */
static double row_loss(const loss_job *j, int64_t row) {
    const pk_kernels *k = pk_k();
    int64_t n = j->classes;
    if (j->weight) return weighted_loss(j, row);
    const float *x = j->x + row * n;
    double lse = k->log_sum_exp(n, x), s = j->smoothing, loss;
    if (j->label)
        loss = (1 - s) * (lse - x[j->label[row] - 1]);
    else
        loss = (1 - s) * (lse * k->sum(n, j->soft + row * n) - k->dot(n, j->soft + row * n, x));
    return s > 0 ? loss + s * (lse - k->sum(n, x) / (double)n) : loss;
}

static void loss_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const loss_job *j = context;
    int64_t end = pk_chunk_begin(j->rows, j->chunks, i + 1);
    j->loss[i] = 0;
    for (int64_t r = pk_chunk_begin(j->rows, j->chunks, i); r < end; r++) j->loss[i] += row_loss(j, r);
}

static pk_status forward(pk_call *c) {
    double partial[256], loss = 0;
    loss_job j;
    if (c->in[1]->dtype == PK_INT32) PK_TRY(check_labels(c));
    job_of(c, &j);
    PK_RETURN_IF(j.divisor == 0, PK_EINVAL, "cross_entropy: the weights of all labels of this batch are 0");
    j.loss = partial;
    pk_parallel(j.chunks, loss_chunk, &j);
    for (int64_t i = 0; i < j.chunks; i++) loss += partial[i];
    *pk_f32(c->out[0]) = (float)(loss / j.divisor);
    return PK_OK;
}

static void weighted_grad(const loss_job *j, int64_t row) {
    float *dx = j->dx + row * j->classes;
    double mass = 0;
    for (int64_t k = 0; k < j->classes; k++) mass += share(j, row, k);
    pk_k()->softmax_row(j->classes, j->x + row * j->classes, dx);
    for (int64_t k = 0; k < j->classes; k++) dx[k] = j->factor * (float)(mass * dx[k] - share(j, row, k));
}

/* dx_k = factor * (mass * softmax_k - t_k). */
static void grad_row(const loss_job *j, int64_t row) {
    int64_t n = j->classes;
    if (j->weight) {
        weighted_grad(j, row);
        return;
    }
    float *dx = j->dx + row * n, keep = (float)(1 - j->smoothing), spread = (float)(j->smoothing / (double)n);
    float mass = j->label ? 1 : (float)((1 - j->smoothing) * pk_k()->sum(n, j->soft + row * n) + j->smoothing);
    pk_k()->softmax_row(n, j->x + row * n, dx);
    for (int64_t k = 0; k < n; k++)
        dx[k] = j->factor * (mass * dx[k] - spread - (j->soft ? keep * j->soft[row * n + k] : 0));
    if (j->label) dx[j->label[row] - 1] -= j->factor * keep;
}

static void grad_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const loss_job *j = context;
    int64_t end = pk_chunk_begin(j->rows, j->chunks, i + 1);
    for (int64_t r = pk_chunk_begin(j->rows, j->chunks, i); r < end; r++) grad_row(j, r);
}

static pk_status backward(pk_call *c) {
    loss_job j;
    job_of(c, &j);
    PK_TRY(pk_grad_like(c, 0));
    j.dx = pk_f32(c->din[0]);
    j.factor = (float)(*pk_f32(c->dout[0]) / j.divisor);
    pk_parallel(j.chunks, grad_chunk, &j);
    return PK_OK;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    int64_t rows = c->in[0]->shape[0], n = c->in[0]->shape[1];
    double smoothing = ((const cross_entropy_params *)c->params)->label_smoothing, loss = 0, all = 0;
    const double *weight = c->nin > 2 ? in[2] : NULL;
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        bool labels = c->in[1]->ndim == 1;
        for (int64_t k = 0; k < n; k++) sum += exp(in[0][r * n + k]);
        for (int64_t k = 0; k < n; k++) {
            double t = labels ? (double)(in[1][r] == (double)(k + 1)) : in[1][r * n + k];
            double w = weight ? weight[k] : 1;
            if (labels) all += t * w;
            loss -= w * ((1 - smoothing) * t + smoothing / (double)n) * (in[0][r * n + k] - log(sum));
        }
        if (!labels) all += 1;
    }
    *out[0] = loss / all;
}

const pk_op pk_op_cross_entropy = {
    .name = "cross_entropy",
    .doc = "Mean over the rows of -sum t log softmax(logits). target: labels 1..K {N} (int32), or distributions {N,K}\n"
           "(float32). t = (1 - label_smoothing) target + label_smoothing / K. weight: of each class; with labels the mean\n"
           "is over the labels' weights, with distributions over the rows (as in PyTorch).",
    .params_size = sizeof(cross_entropy_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"logits", 0, PK_REAL, "{N,K}"}, {"target", PK_NO_GRAD | PK_MAY_BE_LABELS, PK_CLASS, "{N} or {N,K}"},
             {"weight", PK_NO_GRAD | PK_OPTIONAL, PK_POSITIVE, "{K}"}},
    .needs_in = 7,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .cases = (const char *const[]){"logits:1x1 target:1", "logits:7x17 target:7", "logits:5x3 target:5x3",
                                   "logits:9x19 target:9 | label_smoothing=0.1",
                                   "logits:6x33 target:6x33 | label_smoothing=0.3", "logits:300x130 target:300",
                                   "logits:7x17 target:7 weight:17", "logits:5x3 target:5x3 weight:3",
                                   "logits:9x19 target:9 weight:19 | label_smoothing=0.1",
                                   "logits:300x130 target:300x130 weight:130 | label_smoothing=0.3", NULL},
};
