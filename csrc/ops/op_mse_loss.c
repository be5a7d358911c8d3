/* Mean squared error. */
#include "ops/elementwise.h"
#include "ops/reduce.h"

static pk_status infer(pk_call *c) {
    PK_TRY(pk_want_shape(c, 1, c->in[0]->ndim, c->in[0]->shape, "that of x"));
    PK_RETURN_IF(pk_numel(c->in[0]) == 0, PK_EINVAL, "mse_loss: x %s is empty", pk_shape_text(c->in[0]));
    pk_out(c, 0, PK_FLOAT32, 0, NULL);
    return PK_OK;
}

static pk_status forward(pk_call *c) {
    int64_t n = pk_numel(c->in[0]);
    pk_tensor *d;
    PK_TRY(pk_tensor_like(c->in[0], &d));
    pk_map2_run(pk_k()->map_sub, pk_f32(c->in[0]), pk_f32(c->in[1]), pk_f32(d), n);
    pk_map2_run(pk_k()->map_mul, pk_f32(d), pk_f32(d), pk_f32(d), n);
    pk_reduction all;
    pk_reduction_of(1, &n, (bool[]){true}, &all);
    pk_status status = pk_reduce_sum(&all, pk_f32(d), 1 / (double)n, pk_f32(c->out[0]));
    pk_tensor_release(d);
    return status;
}

static pk_status backward(pk_call *c) {
    int64_t n = pk_numel(c->in[0]);
    float factor = (float)(2.0 * (double)*pk_f32(c->dout[0]) / (double)n);
    for (int i = 0; i < 2; i++) {
        if (!c->needs[i]) continue;
        PK_TRY(pk_grad_like(c, i));
        pk_map2_run(pk_k()->map_sub, pk_f32(c->in[i]), pk_f32(c->in[1 - i]), pk_f32(c->din[i]), n);
        pk_k()->scale(n, pk_f32(c->din[i]), factor);
    }
    return PK_OK;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    int64_t n = pk_numel(c->in[0]);
    *out[0] = 0;
    for (int64_t i = 0; i < n; i++) *out[0] += (in[0][i] - in[1][i]) * (in[0][i] - in[1][i]) / (double)n;
}

const pk_op pk_op_mse_loss = {
    .name = "mse_loss",
    .doc = "Mean over all elements of (x - target)^2.",
    .args = {{"x", 0, PK_REAL, "{...}"}, {"target", 0, PK_REAL, "as x"}},
    .needs_in = 3,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .cases = (const char *const[]){"x:1 target:1", "x:2x7x5x3 target:2x7x5x3", "x:50000 target:50000", NULL},
};
