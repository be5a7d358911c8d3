/* From one weight a region to one weight a tap: the dense kernel a peripheral kernel stands for. */
#include <stddef.h>
#include <string.h>

#include "ops/grid.h"
#include "ops/op.h"

typedef struct expand_params {
    pk_grid_params grid;
} expand_params;

static const pk_field fields[] = {PK_GRID_FIELDS(expand_params, grid)};

static pk_status bands_of(const pk_call *c, pk_ints *grid) {
    const expand_params *p = c->params;
    PK_RETURN_IF(c->in[0]->shape[0] < 1, PK_EINVAL, "%s: w has no bands", c->op->name);
    return pk_grid_of(c->op->name, &p->grid, c->in[0]->shape[0], grid);
}

static pk_status infer(pk_call *c) {
    pk_ints grid;
    PK_TRY(pk_want_ndim(c, 0, 3));
    const int64_t *shape = c->in[0]->shape;
    PK_TRY(pk_want_shape(c, 0, 3, (int64_t[]){shape[0], shape[0], shape[2]}, "as many rows as columns"));
    PK_TRY(bands_of(c, &grid));
    int64_t k = pk_grid_total(&grid);
    pk_out(c, 0, PK_FLOAT32, 3, (int64_t[]){k, k, shape[2]});
    return PK_OK;
}

/* Call visit for each tap: its number and its region's. */
typedef void visit_fn(void *context, int64_t tap, int64_t region);

static void each_tap(const pk_ints *grid, visit_fn *visit, void *context) {
    int64_t tap = 0;
    for (int32_t i = 0; i < grid->n; i++)
        for (int32_t a = 0; a < grid->v[i]; a++)
            for (int32_t j = 0; j < grid->n; j++)
                for (int32_t b = 0; b < grid->v[j]; b++) visit(context, tap++, (int64_t)i * grid->n + j);
}

typedef struct arrays {
    float *region, *tap;
    int64_t channels;
} arrays;

static void spread(void *context, int64_t tap, int64_t region) {
    const arrays *a = context;
    memcpy(a->tap + tap * a->channels, a->region + region * a->channels, (size_t)a->channels * sizeof(float));
}

static void gather(void *context, int64_t tap, int64_t region) {
    const arrays *a = context;
    for (int64_t c = 0; c < a->channels; c++) a->region[region * a->channels + c] += a->tap[tap * a->channels + c];
}

static pk_status forward(pk_call *c) {
    pk_ints grid;
    PK_TRY(bands_of(c, &grid));
    arrays a = {pk_f32(c->in[0]), pk_f32(c->out[0]), c->in[0]->shape[2]};
    each_tap(&grid, spread, &a);
    return PK_OK;
}

static pk_status backward(pk_call *c) {
    pk_ints grid;
    PK_TRY(bands_of(c, &grid));
    PK_TRY(pk_grad_like(c, 0));
    PK_TRY(pk_tensor_fill(c->din[0], 0));
    arrays a = {pk_f32(c->din[0]), pk_f32(c->dout[0]), c->in[0]->shape[2]};
    each_tap(&grid, gather, &a);
    return PK_OK;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    pk_ints grid;
    if (bands_of(c, &grid) != PK_OK) return;
    int64_t channels = c->in[0]->shape[2], at = 0;
    for (int32_t i = 0; i < grid.n; i++)
        for (int32_t a = 0; a < grid.v[i]; a++)
            for (int32_t j = 0; j < grid.n; j++)
                for (int32_t b = 0; b < grid.v[j]; b++)
                    for (int64_t ch = 0; ch < channels; ch++)
                        out[0][at++] = in[0][((int64_t)i * grid.n + j) * channels + ch];
}

const pk_op pk_op_expand_kernel = {
    .name = "expand_kernel",
    .doc = "w {k',k',C} to the dense kernel {k,k,C}: each tap gets its region's weight (PeLK, section 4.1).",
    .params_size = sizeof(expand_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"w", 0, PK_REAL, "{k',k',C}"}},
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .cases = (const char *const[]){"w:1x1x1 | kernel=1 radius=0", "w:3x3x2 | grid=2,1,4", "w:7x7x3 | kernel=9",
                                   "w:5x5x1 | kernel=9 radius=1 rule=merge", "w:3x3x17", NULL},
};
