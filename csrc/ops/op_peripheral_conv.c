/* Peripheral convolution: a depthwise kernel whose taps share weights on a grid that is fine in the centre and coarse
 * outside (PeLK, sections 4.1 and 4.2), with its position embedding. Its cost hardly depends on the kernel's size. */
#include <stddef.h>
#include <string.h>

#include "core/alloc.h"
#include "ops/grid.h"
#include "ops/onnx.h"
#include "ops/pixels.h"
#include "ops/position_run.h"
#include "ops/window_run.h"

enum { X, W, POSITION, BIAS, MAP };

typedef struct peripheral_params {
    pk_grid_params grid;
    int position_mode;
} peripheral_params;

static const pk_field fields[] = {
    PK_GRID_FIELDS(peripheral_params, grid),
    {.name = "position_mode", .type = PK_ENUM, .offset = offsetof(peripheral_params, position_mode), .def = 0,
     .choices = PK_POSITION_MODES, .doc = "which taps see the position embedding: those in the image, all, none"},
};

static pk_status grid_of(const pk_call *c, pk_ints *grid) {
    const peripheral_params *p = c->params;
    PK_RETURN_IF(c->in[W]->shape[0] < 1, PK_EINVAL, "%s: w has no bands", c->op->name);
    return pk_grid_of(c->op->name, &p->grid, c->in[W]->shape[0], grid);
}

static pk_status want_position(const pk_call *c, int64_t k, int64_t channels) {
    const pk_tensor *t = c->in[POSITION];
    if (t->ndim == 2) return pk_want_shape(c, POSITION, 2, (int64_t[]){k, k}, "one value a tap of the kernel");
    return pk_want_shape(c, POSITION, 3, (int64_t[]){k, k, channels}, "one value a tap of the kernel and channel");
}

static pk_status infer(pk_call *c) {
    pk_ints grid;
    PK_TRY(pk_want_ndim(c, X, 4));
    PK_TRY(pk_want_ndim(c, W, 3));
    const int64_t *x = c->in[X]->shape, *w = c->in[W]->shape;
    PK_TRY(pk_want_shape(c, W, 3, (int64_t[]){w[0], w[0], x[3]}, "k' rows, k' columns, x's channels"));
    PK_TRY(grid_of(c, &grid));
    if (c->in[POSITION]) PK_TRY(want_position(c, pk_grid_total(&grid), x[3]));
    if (c->in[BIAS]) PK_TRY(pk_want_shape(c, BIAS, 1, &x[3], "one number for each channel"));
    if (c->in[MAP]) PK_TRY(pk_want_shape(c, MAP, 3, &x[1], "one number for each place and channel"));
    pk_out_like(c, 0, X);
    return PK_OK;
}

static pk_axis axis_of(const pk_ints *grid, int64_t extent) {
    int32_t n = (int32_t)pk_min(extent, INT32_MAX / 2); /* beyond what a window can be: pk_window_new says so */
    return (pk_axis){.size = grid->v, .count = grid->n, .at = (int32_t)(-pk_grid_total(grid) / 2), .dilation = 1,
                     .in = n, .out = n, .stride = 1, .stuff = 1};
}

static pk_position_mode mode_of(const pk_call *c) {
    const peripheral_params *p = c->params;
    return c->in[POSITION] ? (pk_position_mode)p->position_mode : PK_POSITION_OFF;
}

static pk_position_job position_of(const pk_call *c, const pk_ints *grid) {
    const int64_t *x = c->in[X]->shape;
    return (pk_position_job){.grid = grid, .h = x[1], .w = x[2], .channels = x[3], .weight = pk_f32(c->in[W]),
                             .position = pk_f32(c->in[POSITION]), .shared = c->in[POSITION]->ndim == 2};
}

static pk_status forward(pk_call *c) {
    pk_ints grid;
    PK_TRY(grid_of(c, &grid));
    const int64_t *shape = c->in[X]->shape, channels = shape[3], size = shape[1] * shape[2] * channels;
    const pk_position_mode mode = mode_of(c);
    float *made = NULL; /* the position's map, or its constant */
    const float *bias = c->in[BIAS] ? pk_f32(c->in[BIAS]) : NULL, *map = c->in[MAP] ? pk_f32(c->in[MAP]) : NULL;
    pk_axis rows = axis_of(&grid, shape[1]), cols = axis_of(&grid, shape[2]);
    pk_status status = PK_OK;
    if (mode != PK_POSITION_OFF) {
        pk_position_job job = position_of(c, &grid);
        int64_t bytes = (mode == PK_POSITION_VALID ? size : channels) * (int64_t)sizeof(float);
        made = pk_alloc_zeroed(bytes);
        if (!made) return pk_no_memory(bytes);
        if (mode == PK_POSITION_VALID) {
            PK_TRY_DONE(pk_position_map(&job, made));
            if (map) pk_k()->add_to(size, made, map);
            map = made;
        } else {
            pk_position_constant(&job, made);
            if (bias) pk_k()->add_to(channels, made, bias);
            bias = made;
        }
    }
    status = pk_window_run(&rows, &cols, c->in[X], pk_f32(c->in[W]), bias, map, c->out[0]);
done:
    pk_free(made);
    return status;
}

/* What reaches the outputs beside x: gradients of bias and map, and through the position those of w and position. */
static pk_status backward_beside(pk_call *c, const pk_ints *grid) {
    const pk_tensor *dy = c->dout[0];
    const pk_position_mode mode = mode_of(c);
    const bool position = mode != PK_POSITION_OFF && (c->needs[W] || c->needs[POSITION]);
    const int64_t channels = dy->shape[3], size = dy->shape[1] * dy->shape[2] * channels;
    const bool want_map = c->needs[MAP] || (position && mode == PK_POSITION_VALID);
    const bool want_sum = c->needs[BIAS] || (position && mode == PK_POSITION_ALL);
    float *dw = c->needs[W] ? pk_f32(c->din[W]) : NULL, *dp = c->needs[POSITION] ? pk_f32(c->din[POSITION]) : NULL;
    float *map = NULL, *sum = NULL;
    pk_status status = PK_OK;
    if (want_map) {
        map = pk_alloc(size * (int64_t)sizeof *map);
        if (!map) PK_TRY_DONE(pk_no_memory(size * (int64_t)sizeof *map));
        pk_sum_images(dy, map);
        if (c->needs[MAP]) memcpy(pk_f32(c->din[MAP]), map, (size_t)size * sizeof *map);
    }
    if (want_sum) {
        sum = pk_alloc(channels * (int64_t)sizeof *sum);
        if (!sum) PK_TRY_DONE(pk_no_memory(channels * (int64_t)sizeof *sum));
        PK_TRY_DONE(pk_bias_grad(pk_f32(dy), pk_span(dy, 0, 3), channels, sum));
        if (c->needs[BIAS]) memcpy(pk_f32(c->din[BIAS]), sum, (size_t)channels * sizeof *sum);
    }
    if (position) {
        pk_position_job job = position_of(c, grid);
        if (mode == PK_POSITION_VALID) status = pk_position_map_grad(&job, map, dw, dp);
        else pk_position_constant_grad(&job, sum, dw, dp);
    }
done:
    pk_free(map);
    pk_free(sum);
    return status;
}

static pk_status backward(pk_call *c) {
    pk_ints grid;
    PK_TRY(grid_of(c, &grid));
    pk_axis rows = axis_of(&grid, c->in[X]->shape[1]), cols = axis_of(&grid, c->in[X]->shape[2]);
    for (int i = 0; i < c->nin; i++)
        if (c->needs[i]) PK_TRY(pk_grad_like(c, i));
    if (c->needs[POSITION]) PK_TRY(pk_tensor_fill(c->din[POSITION], 0)); /* taps out of reach, mode off */
    if (c->needs[X]) PK_TRY(pk_window_run_back(&rows, &cols, c->dout[0], pk_f32(c->in[W]), c->din[X]));
    if (c->needs[W]) PK_TRY(pk_window_run_weights(&rows, &cols, c->in[X], c->dout[0], pk_f32(c->din[W])));
    return backward_beside(c, &grid);
}

/* ---- the definition ---- */

static int64_t band_of(const pk_ints *grid, int64_t tap) {
    int64_t b = 0;
    while (tap >= grid->v[b]) tap -= grid->v[b++];
    return b;
}

/* One output: the expanded kernel over x plus position. */
static double literal(const pk_call *c, const pk_ints *grid, const double *const *in, int64_t n, int64_t y, int64_t x,
                      int64_t ch) {
    const int64_t *s = c->in[X]->shape, k = pk_grid_total(grid), channels = s[3];
    const pk_position_mode mode = mode_of(c);
    double sum = 0;
    for (int64_t a = 0; a < k; a++)
        for (int64_t b = 0; b < k; b++) {
            int64_t row = y + a - k / 2, col = x + b - k / 2;
            bool inside = row >= 0 && row < s[1] && col >= 0 && col < s[2];
            double value = inside ? in[X][((n * s[1] + row) * s[2] + col) * channels + ch] : 0;
            if (mode == PK_POSITION_ALL || (mode == PK_POSITION_VALID && inside))
                value += in[POSITION][c->in[POSITION]->ndim == 2 ? a * k + b : (a * k + b) * channels + ch];
            sum += in[W][(band_of(grid, a) * grid->n + band_of(grid, b)) * channels + ch] * value;
        }
    return sum;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    pk_ints grid;
    if (grid_of(c, &grid) != PK_OK) return;
    const int64_t *s = c->in[X]->shape;
    for (int64_t n = 0, at = 0; n < s[0]; n++)
        for (int64_t y = 0; y < s[1]; y++)
            for (int64_t x = 0; x < s[2]; x++)
                for (int64_t ch = 0; ch < s[3]; ch++, at++)
                    out[0][at] = literal(c, &grid, in, n, y, x, ch) + (in[BIAS] ? in[BIAS][ch] : 0) +
                                 (in[MAP] ? in[MAP][(y * s[2] + x) * s[3] + ch] : 0);
}

/* Products of the position's table, made once a forward: one for each tap in reach, or for each region. */
static double position_products(const pk_call *c, const pk_ints *grid) {
    const int64_t k = pk_grid_total(grid), h = c->in[X]->shape[1], w = c->in[X]->shape[2], channels = c->in[X]->shape[3];
    switch (mode_of(c)) {
    case PK_POSITION_VALID: return (double)(pk_min(k, 2 * h - 1) * pk_min(k, 2 * w - 1) * channels);
    case PK_POSITION_ALL: return (double)((int64_t)grid->n * grid->n * channels);
    default: return 0;
    }
}

/* The sums over regions are additions: only the products count. */
static pk_status macs(const pk_call *c, pk_macs *m) {
    pk_ints grid;
    double products;
    PK_TRY(grid_of(c, &grid));
    const int64_t *x = c->in[X]->shape, k = pk_grid_total(&grid);
    pk_axis rows = axis_of(&grid, x[1]), cols = axis_of(&grid, x[2]);
    PK_TRY(pk_window_products(&rows, &cols, &products));
    double planes = (double)x[0] * (double)x[3];
    pk_macs_add(m, c->in[W], planes * (double)x[1] * (double)x[2] * (double)k * (double)k,
                planes * pk_taps_inside(x[1], x[1], k, 1, k / 2, 1) * pk_taps_inside(x[2], x[2], k, 1, k / 2, 1),
                planes * products + position_products(c, &grid));
    return PK_OK;
}

/* ---- as ONNX: the dense kernel it stands for, and what the position adds as a map of this image size ---- */

/* dense {C,1,k,k} */
static void expand(const pk_ints *grid, const float *w, int64_t channels, float *dense) {
    int64_t k = pk_grid_total(grid);
    for (int64_t tap = 0; tap < k * k; tap++) {
        const float *region = w + (band_of(grid, tap / k) * grid->n + band_of(grid, tap % k)) * channels;
        for (int64_t c = 0; c < channels; c++) dense[c * k * k + tap] = region[c];
    }
}

/* y plus a map {H,W,C}. */
static int add_map(pk_onnx *g, const pk_call *c, int y, int i, const float *map, float *scratch) {
    const int64_t *s = c->in[X]->shape, pixels = s[1] * s[2];
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t ch = 0; ch < s[3]; ch++) scratch[ch * pixels + p] = map[p * s[3] + ch];
    return pk_onnx_node2(g, "Add", y, pk_onnx_floats(g, i, 4, (const int64_t[]){1, s[3], s[1], s[2]}, scratch));
}

static int bias_onnx(pk_onnx *g, const pk_call *c, const pk_ints *grid, float *constant) {
    const int64_t channels = c->in[X]->shape[3];
    if (mode_of(c) != PK_POSITION_ALL) return pk_onnx_vector(g, BIAS);
    pk_position_job job = position_of(c, grid);
    for (int64_t i = 0; i < channels; i++) constant[i] = c->in[BIAS] ? pk_f32(c->in[BIAS])[i] : 0;
    pk_position_constant(&job, constant);
    return pk_onnx_floats(g, c->in[BIAS] ? BIAS : -1, 1, &channels, constant);
}

/* scratch: room for the dense kernel, or for two maps. */
static void write_onnx(pk_onnx *g, const pk_call *c, const pk_ints *grid, float *scratch) {
    static const int64_t one[] = {1, 1};
    const int64_t *s = c->in[X]->shape, k = pk_grid_total(grid), half[] = {k / 2, k / 2}, kernel[] = {k, k};
    float *map = scratch + s[1] * s[2] * s[3];
    expand(grid, pk_f32(c->in[W]), s[3], scratch);
    int w = pk_onnx_floats(g, W, 4, (const int64_t[]){s[3], 1, k, k}, scratch);
    int y = pk_onnx_conv(g, c, w, bias_onnx(g, c, grid, scratch), kernel, one, half, one, s[3]);
    if (mode_of(c) == PK_POSITION_VALID) {
        pk_position_job job = position_of(c, grid);
        pk_status status = pk_position_map(&job, map);
        if (status != PK_OK) pk_onnx_fail(g, status);
        y = add_map(g, c, y, POSITION, map, scratch);
    }
    if (c->in[MAP]) y = add_map(g, c, y, MAP, pk_f32(c->in[MAP]), scratch);
    pk_onnx_out(g, 0, y, PK_CHANNELS_FIRST);
}

static void onnx(pk_onnx *g, const pk_call *c) {
    const int64_t *s = c->in[X]->shape;
    pk_ints grid;
    if (grid_of(c, &grid) != PK_OK) return; /* infer has seen it succeed */
    for (int i = W; i <= MAP; i++)
        if (!pk_onnx_is_constant(g, i)) return;
    const int64_t k = pk_grid_total(&grid), bytes = pk_max(k * k, 2 * s[1] * s[2]) * s[3] * (int64_t)sizeof(float);
    float *scratch = pk_alloc(bytes);
    if (scratch)
        write_onnx(g, c, &grid, scratch);
    else
        pk_onnx_fail(g, pk_no_memory(bytes));
    pk_free(scratch);
}

const pk_op pk_op_peripheral_conv = {
    .name = "peripheral_conv",
    .doc = "y = sum over taps (a,b) of w[region of (a,b)] * (x at that tap + position[a][b]) + bias + bias_map, each\n"
           "channel for itself; zeros outside the image. w has one weight a region of the sharing grid, which kernel,\n"
           "radius, base and rule describe, or grid itself. PeLK, sections 4.1 and 4.2.",
    .params_size = sizeof(peripheral_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"x", PK_ROWS, PK_REAL, "{N,H,W,C}"},
             {"w", 0, PK_REAL, "{k',k',C}"},
             {"position", PK_OPTIONAL, PK_REAL, "{k,k} or {k,k,C}"},
             {"bias", PK_OPTIONAL, PK_REAL, "{C}"},
             {"bias_map", PK_OPTIONAL, PK_REAL, "{H,W,C}"}},
    .needs_in = 1u << X | 1u << W | 1u << POSITION,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .macs = macs,
    .cases = (const char *const[]){"x:1x1x1x1 w:1x1x1 | kernel=1 radius=0",
                                   "x:1x1x1x17 w:13x13x17 position:51x51 | kernel=51",
                                   "x:2x5x7x17 w:13x13x17 position:51x51 bias:17 | kernel=51",
                                   "x:1x7x4x3 w:7x7x3 position:9x9x3 bias:3 bias_map:7x4x3 | kernel=9",
                                   "x:2x6x5x4 w:7x7x4 position:9x9 bias:4 | kernel=9 position_mode=all",
                                   "x:1x4x6x2 w:7x7x2 position:9x9x2 | kernel=9 position_mode=all",
                                   "x:1x4x4x2 w:7x7x2 position:9x9 | kernel=9 position_mode=off",
                                   "x:1x8x3x5 w:3x3x5 position:7x7 | grid=2,1,4",
                                   "x:2x9x9x1 w:5x5x1 bias_map:9x9x1 | kernel=15 radius=0 base=3",
                                   "x:1x12x13x3 w:9x9x3 | kernel=13 radius=3 rule=merge",
                                   "x:1x20x18x16 w:11x11x16 position:31x31 | kernel=31", NULL},
};
