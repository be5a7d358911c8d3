/* Pooling windows over images: mean and maximum. Backward gathers, for each input pixel, from the windows over it. */
#include <math.h>

#include "ops/onnx.h"
#include "ops/plane.h"

typedef struct pool_params {
    int64_t kernel[2], stride[2], padding[2];
    bool count_include_pad;
} pool_params;

#define FIELDS                                                                                                       \
    {"kernel", PK_PAIR, offsetof(pool_params, kernel), .def = 2, .min = 1, .max = 65536, .doc = "size of the window"}, \
    {"stride", PK_PAIR, offsetof(pool_params, stride), .def = 0, .min = 0, .max = 65536, .doc = "0: the kernel"}, \
    {"padding", PK_PADDING, offsetof(pool_params, padding), .def = 0, .min = -1, .max = 65536, .doc = "around x"}

static const pk_field max_fields[] = {FIELDS};
static const pk_field avg_fields[] = {FIELDS,
                                      {"count_include_pad", PK_BOOL, offsetof(pool_params, count_include_pad), .def = 1,
                                       .doc = "padding counts as zeros"}};

static pk_status plane_of(const pk_call *c, pk_plane *plane) {
    const pool_params *p = c->params;
    int64_t stride[2];
    for (int a = 0; a < 2; a++) {
        stride[a] = p->stride[a] ? p->stride[a] : p->kernel[a];
        PK_RETURN_IF(p->padding[a] != PK_SAME && 2 * p->padding[a] > p->kernel[a], PK_EINVAL,
                     "%s: padding %lld is more than half the kernel %lld", c->op->name, (long long)p->padding[a],
                     (long long)p->kernel[a]);
    }
    return pk_plane_of(c, p->kernel[0], p->kernel[1], stride, p->padding, (int64_t[]){1, 1}, plane);
}

static pk_status infer(pk_call *c) {
    pk_plane p;
    PK_TRY(plane_of(c, &p));
    pk_out(c, 0, PK_FLOAT32, 4, (int64_t[]){p.n, p.oh, p.ow, p.c});
    return PK_OK;
}

/* Taps of the window at output place o that lie in the image: from..to-1, image places. */
static void taps(int64_t o, int64_t kernel, int64_t stride, int64_t padding, int64_t size, int64_t *from, int64_t *to) {
    *from = pk_max(0, o * stride - padding);
    *to = pk_max(*from, pk_min(size, o * stride - padding + kernel));
}

/* Windows over image place i: from..to-1. */
static void windows(int64_t i, int64_t kernel, int64_t stride, int64_t padding, int64_t count, int64_t *from,
                    int64_t *to) {
    int64_t first = i + padding - kernel + 1;
    *from = first > 0 ? pk_ceil_div(first, stride) : 0;
    *to = pk_min(count, (i + padding) / stride + 1);
}

typedef struct pool_job {
    pk_plane p;
    bool count_pad;
    const float *x, *dy;
    float *y, *dx;
    int32_t *best; /* max: which input pixel of the image was taken */
} pool_job;

static pk_status job_of(const pk_call *c, pool_job *j) {
    *j = (pool_job){.count_pad = ((const pool_params *)c->params)->count_include_pad};
    return plane_of(c, &j->p);
}

static float share(const pool_job *j, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    int64_t count = j->count_pad ? j->p.kh * j->p.kw : (y1 - y0) * (x1 - x0);
    return 1 / (float)pk_max(1, count);
}

/* Output row number `row` of all images. */
static void avg_row(void *context, int64_t row, int worker) {
    (void)worker;
    const pool_job *j = context;
    const pk_plane *p = &j->p;
    int64_t y0, y1, x0, x1;
    taps(row % p->oh, p->kh, p->sy, p->py, p->h, &y0, &y1);
    for (int64_t ox = 0; ox < p->ow; ox++) {
        float *out = j->y + (row * p->ow + ox) * p->c;
        taps(ox, p->kw, p->sx, p->px, p->w, &x0, &x1);
        for (int64_t k = 0; k < p->c; k++) out[k] = 0;
        for (int64_t y = y0; y < y1; y++)
            for (int64_t x = x0; x < x1; x++)
                pk_k()->add_to(p->c, out, j->x + ((row / p->oh * p->h + y) * p->w + x) * p->pixel);
        pk_k()->scale(p->c, out, share(j, y0, y1, x0, x1));
    }
}

/* The first tap of a window is taken whatever it is; x is null where an image without pixels has none. */
static void first_tap(const pool_job *j, const float *x, int32_t place, int64_t out) {
    for (int64_t k = 0; k < j->p.c; k++) j->y[out + k] = x ? x[k] : -INFINITY;
    for (int64_t k = 0; j->best && k < j->p.c; k++) j->best[out + k] = place;
}

static void max_row(void *context, int64_t row, int worker) {
    (void)worker;
    const pool_job *j = context;
    const pk_plane *p = &j->p;
    int64_t y0, y1, x0, x1;
    taps(row % p->oh, p->kh, p->sy, p->py, p->h, &y0, &y1);
    for (int64_t ox = 0; ox < p->ow; ox++) {
        int64_t out = (row * p->ow + ox) * p->c;
        taps(ox, p->kw, p->sx, p->px, p->w, &x0, &x1);
        if (y0 == y1 || x0 == x1) first_tap(j, NULL, -1, out);
        for (int64_t y = y0; y < y1; y++)
            for (int64_t x = x0; x < x1; x++) {
                const float *v = j->x + ((row / p->oh * p->h + y) * p->w + x) * p->pixel;
                const int32_t place = (int32_t)(y * p->w + x);
                if (y == y0 && x == x0) first_tap(j, v, place, out);
                else if (j->best) pk_k()->max_take(p->c, v, place, j->y + out, j->best + out);
                else pk_k()->map_max(p->c, v, j->y + out, j->y + out); /* of equal ones the first, as above */
            }
    }
}

static pk_status avg_forward(pk_call *c) {
    pool_job j;
    PK_TRY(job_of(c, &j));
    j.x = pk_f32(c->in[0]);
    j.y = pk_f32(c->out[0]);
    pk_parallel(j.p.n * j.p.oh, avg_row, &j);
    return PK_OK;
}

static pk_status max_forward(pk_call *c) {
    pool_job j;
    PK_TRY(job_of(c, &j));
    j.x = pk_f32(c->in[0]);
    j.y = pk_f32(c->out[0]);
    if (c->keep) {
        PK_TRY(pk_tensor_new(PK_INT32, 4, c->meta[0].shape, &c->saved[0]));
        j.best = pk_i32(c->saved[0]);
    }
    pk_parallel(j.p.n * j.p.oh, max_row, &j);
    return PK_OK;
}

/* Gradient of one input row of one image. */
static void grad_row(void *context, int64_t row, int worker) {
    (void)worker;
    const pool_job *j = context;
    const pk_plane *p = &j->p;
    int64_t n = row / p->h, y = row % p->h, oy0, oy1, ox0, ox1, y0, y1, x0, x1;
    windows(y, p->kh, p->sy, p->py, p->oh, &oy0, &oy1);
    for (int64_t x = 0; x < p->w; x++) {
        float *dx = j->dx + (row * p->w + x) * p->c;
        windows(x, p->kw, p->sx, p->px, p->ow, &ox0, &ox1);
        for (int64_t k = 0; k < p->c; k++) dx[k] = 0;
        for (int64_t oy = oy0; oy < oy1; oy++)
            for (int64_t ox = ox0; ox < ox1; ox++) {
                int64_t out = ((n * p->oh + oy) * p->ow + ox) * p->c;
                taps(oy, p->kh, p->sy, p->py, p->h, &y0, &y1);
                taps(ox, p->kw, p->sx, p->px, p->w, &x0, &x1);
                if (j->best) {
                    pk_k()->max_give(p->c, j->best + out, (int32_t)(y * p->w + x), j->dy + out, dx);
                    continue;
                }
                float part = share(j, y0, y1, x0, x1);
                for (int64_t k = 0; k < p->c; k++) dx[k] += j->dy[out + k] * part;
            }
    }
}

static pk_status backward(pk_call *c) {
    pool_job j;
    PK_TRY(job_of(c, &j));
    PK_TRY(pk_grad_like(c, 0));
    j.dy = pk_f32(c->dout[0]);
    j.dx = pk_f32(c->din[0]);
    j.best = c->saved[0] ? pk_i32(c->saved[0]) : NULL;
    pk_parallel(j.p.n * j.p.h, grad_row, &j);
    return PK_OK;
}

/* Both at once: the window's sum, maximum and number of taps inside. */
static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const pool_params *q = c->params;
    const int64_t *xs = c->in[0]->shape, *ys = c->meta[0].shape;
    int64_t pad[2], step[2];
    for (int a = 0; a < 2; a++) {
        pad[a] = q->padding[a] == PK_SAME ? (q->kernel[a] - 1) / 2 : q->padding[a];
        step[a] = q->stride[a] ? q->stride[a] : q->kernel[a];
    }
    for (int64_t i = 0; i < ys[0] * ys[1] * ys[2] * ys[3]; i++) {
        int64_t k = i % ys[3], ox = i / ys[3] % ys[2], oy = i / (ys[3] * ys[2]) % ys[1],
                n = i / (ys[3] * ys[2] * ys[1]);
        double sum = 0, best = -INFINITY;
        int64_t inside = 0;
        for (int64_t ky = 0; ky < q->kernel[0]; ky++)
            for (int64_t kx = 0; kx < q->kernel[1]; kx++) {
                int64_t y = oy * step[0] - pad[0] + ky, x = ox * step[1] - pad[1] + kx;
                if (y < 0 || y >= xs[1] || x < 0 || x >= xs[2]) continue;
                double v = in[0][((n * xs[1] + y) * xs[2] + x) * xs[3] + k];
                sum += v;
                best = fmax(best, v);
                inside++;
            }
        bool max = c->op->fields == max_fields;
        out[0][i] = max ? best : sum / (double)(q->count_include_pad ? q->kernel[0] * q->kernel[1] : inside);
    }
}

static void window_onnx(pk_onnx *g, const pk_call *c, const char *type) {
    pk_plane p;
    int64_t pads[4];
    if (plane_of(c, &p) != PK_OK) return; /* infer has seen it succeed */
    const int64_t kernel[] = {p.kh, p.kw}, stride[] = {p.sy, p.sx}, before[] = {p.py, p.px};
    pk_onnx_pads(c, kernel, stride, before, pads);
    int y = pk_onnx_node1(g, type, pk_onnx_in(g, 0, PK_CHANNELS_FIRST));
    pk_onnx_set_ints(g, "kernel_shape", 2, kernel);
    pk_onnx_set_ints(g, "strides", 2, stride);
    pk_onnx_set_ints(g, "pads", 4, pads);
    pk_onnx_out(g, 0, y, PK_CHANNELS_FIRST);
}

static void avg_onnx(pk_onnx *g, const pk_call *c) {
    window_onnx(g, c, "AveragePool");
    pk_onnx_set_int(g, "count_include_pad", ((const pool_params *)c->params)->count_include_pad);
}
static void max_onnx(pk_onnx *g, const pk_call *c) { window_onnx(g, c, "MaxPool"); }

#define COMMON(op_name, list)                                                                                        \
    .name = #op_name, .params_size = sizeof(pool_params), .fields = list, .nfields = sizeof list / sizeof *list,      \
    .args = {{"x", PK_ROWS, PK_REAL, "{N,H,W,C}"}}, .infer = infer, .backward = backward, .reference = reference

const pk_op pk_op_avg_pool = {
    COMMON(avg_pool, avg_fields),
    .forward = avg_forward,
    .onnx = avg_onnx,
    .doc = "Mean over windows of kernel, stride apart (the kernel by default): {N,H,W,C} -> {N,H',W',C}.",
    .cases = (const char *const[]){"x:1x1x1x1 | kernel=1", "x:2x7x5x17 | kernel=3,2",
                                   "x:1x9x6x3 | kernel=3 stride=2 padding=1",
                                   "x:2x5x7x4 | kernel=5 stride=1 padding=same count_include_pad=false",
                                   "x:1x8x8x5 | kernel=2 stride=3", NULL},
};
const pk_op pk_op_max_pool = {
    COMMON(max_pool, max_fields),
    .forward = max_forward,
    .onnx = max_onnx,
    .doc = "Maximum over windows of kernel, stride apart (the kernel by default): {N,H,W,C} -> {N,H',W',C}.",
    .cases = (const char *const[]){"x:1x1x1x1 | kernel=1", "x:2x7x5x17 | kernel=3,2",
                                   "x:1x9x6x3 | kernel=3 stride=2 padding=1",
                                   "x:2x5x7x4 | kernel=5 stride=1 padding=same", "x:1x8x8x5 | kernel=2 stride=3",
                                   "x:1x0x4x3 | kernel=2 padding=1", NULL},
};
