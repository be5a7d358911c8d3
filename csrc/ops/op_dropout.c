/* Dropout of single numbers, and drop path: dropout of whole samples. The mask is drawn again in backward. */
#include "core/checked.h"
#include "core/pool.h"
#include "ops/drop.h"
#include "ops/onnx.h"
#include "ops/op.h"

static const pk_field dropout_fields[] = {PK_DROP_FIELDS_OF(0.5)};
static const pk_field path_fields[] = {PK_DROP_FIELDS};

static pk_status dropout_infer(pk_call *c) {
    pk_out_like(c, 0, 0);
    return PK_OK;
}

static pk_status path_infer(pk_call *c) {
    PK_RETURN_IF(c->in[0]->ndim < 1, PK_EINVAL, "drop_path: x is a single number, {N,...} is wanted");
    pk_out_like(c, 0, 0);
    return PK_OK;
}

typedef struct drop_job {
    const pk_drop_params *drop;
    const float *x;
    float *y;
    int64_t n, unit, chunks; /* unit numbers are dropped together */
} drop_job;

static void drop_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const drop_job *j = context;
    int64_t end = pk_chunk_begin(j->n, j->chunks, i + 1);
    for (int64_t k = pk_chunk_begin(j->n, j->chunks, i); k < end;) {
        int64_t unit = k / j->unit, stop = pk_min(end, (unit + 1) * j->unit);
        float factor = pk_drop_factor(j->drop, unit);
        for (; k < stop; k++) j->y[k] = factor == 0 ? 0 : j->x[k] * factor;
    }
}

static int64_t unit_of(const pk_call *c) {
    const pk_tensor *x = c->in[0];
    return c->op->fields == path_fields ? pk_max(1, pk_numel(x) / pk_max(1, x->shape[0])) : 1;
}

static void drop(const pk_call *c, const pk_tensor *x, pk_tensor *y) {
    drop_job j = {c->params, pk_f32(x), pk_f32(y), pk_numel(x), unit_of(c), pk_chunks(pk_numel(x), 16384)};
    pk_parallel(j.chunks, drop_chunk, &j);
}

static pk_status forward(pk_call *c) {
    drop(c, c->in[0], c->out[0]);
    return PK_OK;
}

static pk_status backward(pk_call *c) {
    PK_TRY(pk_grad_like(c, 0));
    drop(c, c->dout[0], c->din[0]);
    return PK_OK;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    for (int64_t i = 0; i < pk_numel(c->in[0]); i++)
        out[0][i] = in[0][i] * pk_drop_factor(c->params, i / unit_of(c));
}

static void onnx(pk_onnx *g, const pk_call *c) {
    const pk_drop_params *p = c->params;
    if (p->training && p->p > 0) pk_onnx_refuse(g, "drops at random in training");
    pk_onnx_map1(g, "Identity");
}

const pk_op pk_op_dropout = {
    .name = "dropout",
    .doc = "In training each number is 0 with probability p, else x / (1 - p); otherwise x.",
    .params_size = sizeof(pk_drop_params),
    .fields = dropout_fields,
    .nfields = sizeof dropout_fields / sizeof *dropout_fields,
    .args = {{"x", 0, PK_REAL, "{...}"}},
    .infer = dropout_infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .cases = (const char *const[]){"x:1 | p=0", "x:3x17 | seed=5", "x:70000 | p=0.1 seed=7", "x:5x3 | training=false",
                                   "x:9 | p=1", NULL},
};

const pk_op pk_op_drop_path = {
    .name = "drop_path",
    .doc = "In training each sample (of the first dimension) is 0 with probability p, else x / (1 - p); otherwise x.",
    .params_size = sizeof(pk_drop_params),
    .fields = path_fields,
    .nfields = sizeof path_fields / sizeof *path_fields,
    .args = {{"x", 0, PK_REAL, "{N,...}"}},
    .infer = path_infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .cases = (const char *const[]){"x:1 | p=0.5 seed=2", "x:9x3x5 | p=0.5 seed=3", "x:64x700 | p=0.2 seed=4", "x:4x3",
                                   NULL},
};
