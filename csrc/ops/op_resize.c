/* Resizing images, as PyTorch does with align_corners false and no antialiasing. */
#include <math.h>

#include "core/alloc.h"
#include "ops/onnx.h"
#include "ops/pixels.h"

typedef struct resize_params {
    int64_t size[2];
    int mode;
} resize_params;

enum { BILINEAR, NEAREST };

static const pk_field fields[] = {
    {"size", PK_PAIR, offsetof(resize_params, size), .def = 1, .min = 1, .max = 1048576, .required = true,
     .doc = "{h, w}"},
    {"mode", PK_ENUM, offsetof(resize_params, mode), .choices = "bilinear|nearest",
     .doc = "how to look between pixels"},
};

static pk_status infer(pk_call *c) {
    PK_TRY(pk_want_ndim(c, 0, 4));
    const int64_t *s = c->in[0]->shape, *size = ((const resize_params *)c->params)->size;
    PK_RETURN_IF(s[1] < 1 || s[2] < 1, PK_EINVAL, "resize: x %s has no pixels", pk_shape_text(c->in[0]));
    pk_out(c, 0, PK_FLOAT32, 4, (int64_t[]){s[0], size[0], size[1], s[3]});
    return PK_OK;
}

/* The two source places of output place o, and the share of the second. */
static void source(int64_t o, int64_t in, int64_t out, int mode, int64_t *a, int64_t *b, float *share) {
    double at = mode == NEAREST ? floor((double)o * (double)in / (double)out)
                                : ((double)o + 0.5) * (double)in / (double)out - 0.5;
    if (at < 0) at = 0;
    *a = pk_min(in - 1, (int64_t)at);
    *b = mode == NEAREST ? *a : pk_min(in - 1, *a + 1);
    *share = mode == NEAREST ? 0 : (float)(at - (double)*a);
}

typedef struct resize_job {
    int64_t h, w, oh, ow, c, pixel, blocks; /* blocks of channels: backward */
    int mode;
    const float *x, *dy;
    float *y, *dx;
} resize_job;

static void job_of(const pk_call *c, resize_job *j) {
    const int64_t *s = c->in[0]->shape, *size = ((const resize_params *)c->params)->size;
    *j = (resize_job){s[1], s[2], size[0], size[1], s[3], pk_pixels_of(c->in[0]).stride, pk_ceil_div(s[3], 16),
                      ((const resize_params *)c->params)->mode, NULL, NULL, NULL, NULL};
}

/* Row number `row` of all output images. */
static void forward_row(void *context, int64_t row, int worker) {
    (void)worker;
    const resize_job *j = context;
    int64_t y0, y1, x0, x1;
    float sy, sx;
    source(row % j->oh, j->h, j->oh, j->mode, &y0, &y1, &sy);
    const float *image = j->x + row / j->oh * j->h * j->w * j->pixel;
    for (int64_t ox = 0; ox < j->ow; ox++) {
        source(ox, j->w, j->ow, j->mode, &x0, &x1, &sx);
        const float *a = image + (y0 * j->w + x0) * j->pixel, *b = image + (y0 * j->w + x1) * j->pixel;
        const float *d = image + (y1 * j->w + x0) * j->pixel, *e = image + (y1 * j->w + x1) * j->pixel;
        float *out = j->y + (row * j->ow + ox) * j->c;
        if (j->mode == NEAREST)
            for (int64_t k = 0; k < j->c; k++) out[k] = a[k];
        else
            for (int64_t k = 0; k < j->c; k++)
                out[k] = (1 - sy) * ((1 - sx) * a[k] + sx * b[k]) + sy * ((1 - sx) * d[k] + sx * e[k]);
    }
}

static pk_status forward(pk_call *c) {
    resize_job j;
    job_of(c, &j);
    j.x = pk_f32(c->in[0]);
    j.y = pk_f32(c->out[0]);
    pk_parallel(c->in[0]->shape[0] * j.oh, forward_row, &j);
    return PK_OK;
}

/* One image, sixteen of its channels: output pixels give to their sources in order. */
static void backward_block(void *context, int64_t i, int worker) {
    (void)worker;
    const resize_job *j = context;
    int64_t n = i / j->blocks, k0 = i % j->blocks * 16, k1 = pk_min(j->c, k0 + 16), y0, y1, x0, x1;
    float sy, sx, *image = j->dx + n * j->h * j->w * j->c;
    for (int64_t oy = 0; oy < j->oh; oy++) {
        source(oy, j->h, j->oh, j->mode, &y0, &y1, &sy);
        for (int64_t ox = 0; ox < j->ow; ox++) {
            source(ox, j->w, j->ow, j->mode, &x0, &x1, &sx);
            const float *g = j->dy + ((n * j->oh + oy) * j->ow + ox) * j->c;
            float *a = image + (y0 * j->w + x0) * j->c, *b = image + (y0 * j->w + x1) * j->c;
            float *d = image + (y1 * j->w + x0) * j->c, *e = image + (y1 * j->w + x1) * j->c;
            for (int64_t k = k0; k < k1; k++) {
                a[k] += (1 - sy) * (1 - sx) * g[k];
                b[k] += (1 - sy) * sx * g[k];
                d[k] += sy * (1 - sx) * g[k];
                e[k] += sy * sx * g[k];
            }
        }
    }
}

static pk_status backward(pk_call *c) {
    resize_job j;
    job_of(c, &j);
    PK_TRY(pk_tensor_zeros(PK_FLOAT32, 4, c->in[0]->shape, &c->din[0]));
    j.dy = pk_f32(c->dout[0]);
    j.dx = pk_f32(c->din[0]);
    pk_parallel(c->in[0]->shape[0] * j.blocks, backward_block, &j);
    return PK_OK;
}

/* Weights by distance: every source pixel within one of the place looked at takes part. */
static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const resize_params *p = c->params;
    const int64_t *s = c->in[0]->shape;
    double step[2] = {(double)s[1] / (double)p->size[0], (double)s[2] / (double)p->size[1]};
    for (int64_t i = 0; i < s[0] * p->size[0] * p->size[1] * s[3]; i++) {
        int64_t k = i % s[3], o[2] = {i / (s[3] * p->size[1]) % p->size[0], i / s[3] % p->size[1]};
        const double *image = in[0] + i / (s[3] * p->size[0] * p->size[1]) * s[1] * s[2] * s[3];
        double at[2], sum = 0;
        for (int a = 0; a < 2; a++) {
            at[a] = p->mode == NEAREST ? floor((double)o[a] * step[a]) : ((double)o[a] + 0.5) * step[a] - 0.5;
            at[a] = fmin(fmax(at[a], 0), (double)(s[1 + a] - 1));
        }
        for (int64_t y = 0; y < s[1]; y++)
            for (int64_t x = 0; x < s[2]; x++) {
                double wy = 1 - fabs((double)y - at[0]), wx = 1 - fabs((double)x - at[1]);
                if (wy > 0 && wx > 0) sum += wy * wx * image[(y * s[2] + x) * s[3] + k];
            }
        out[0][i] = sum;
    }
}

/* The nearest pixels by their places, so that no rounding of a scale can miss one. */
static int nearest_onnx(pk_onnx *g, int x, int64_t in, int64_t out, int64_t axis) {
    int64_t unused, *from = pk_alloc(out * (int64_t)sizeof *from);
    float share;
    if (!from) {
        pk_onnx_fail(g, pk_no_memory(out * (int64_t)sizeof *from));
        return -1;
    }
    for (int64_t o = 0; o < out; o++) source(o, in, out, NEAREST, &from[o], &unused, &share);
    int y = pk_onnx_node2(g, "Gather", x, pk_onnx_ints(g, (int)out, from));
    pk_onnx_set_int(g, "axis", axis);
    pk_free(from);
    return y;
}

/* From scales a runtime makes sizes by rounding down: as large as it takes. */
static float scale_of(int64_t in, int64_t out) {
    float scale = (float)out / (float)in;
    while ((int64_t)floorf((float)in * scale) < out) scale = nextafterf(scale, INFINITY);
    return scale;
}

static void onnx(pk_onnx *g, const pk_call *c) {
    const int64_t *s = c->in[0]->shape, *size = ((const resize_params *)c->params)->size;
    if (((const resize_params *)c->params)->mode == NEAREST) {
        pk_order order = pk_onnx_common_order(g);
        int rows = nearest_onnx(g, pk_onnx_in(g, 0, order), s[1], size[0], pk_onnx_axis(1, 4, order));
        pk_onnx_out(g, 0, nearest_onnx(g, rows, s[2], size[1], pk_onnx_axis(2, 4, order)), order);
        return;
    }
    const float scales[] = {1, 1, scale_of(s[1], size[0]), scale_of(s[2], size[1])};
    int in[] = {pk_onnx_in(g, 0, PK_CHANNELS_FIRST), -1, pk_onnx_floats(g, -1, 1, (const int64_t[]){4}, scales)};
    int y = pk_onnx_node(g, "Resize", 3, in);
    pk_onnx_set_text(g, "mode", "linear");
    pk_onnx_set_text(g, "coordinate_transformation_mode", "half_pixel");
    pk_onnx_out(g, 0, y, PK_CHANNELS_FIRST);
}

const pk_op pk_op_resize = {
    .name = "resize",
    .doc = "Images {N,H,W,C} -> {N,h,w,C}; pixel centres are aligned, not corners.",
    .params_size = sizeof(resize_params),
    .fields = fields,
    .nfields = 2,
    .args = {{"x", PK_ROWS, PK_REAL, "{N,H,W,C}"}},
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .cases = (const char *const[]){"x:1x1x1x1 | size=3,2", "x:2x5x7x17 | size=8,3", "x:1x6x4x3 | size=2,9 mode=nearest",
                                   "x:2x3x5x19 | size=6,10 mode=nearest", "x:1x9x8x2 | size=4,4", NULL},
};
