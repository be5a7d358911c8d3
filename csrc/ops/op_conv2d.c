/* Convolution of images with any number of channels: patches of a tile of output pixels are gathered into scratch and
 * multiplied with the weights, so that no buffer of all patches exists. A 1x1 convolution needs no patches, and 3x3 ones
 * mostly go through ops/winograd.h. */
#include <string.h>

#include "core/alloc.h"
#include "kernels/product.h"
#include "ops/dense.h"
#include "ops/onnx.h"
#include "ops/plane.h"
#include "ops/winograd.h"

typedef struct conv2d_params {
    int64_t stride[2], padding[2], dilation[2], groups;
} conv2d_params;

static const pk_field fields[] = {
    {"stride", PK_PAIR, offsetof(conv2d_params, stride), .def = 1, .min = 1, .max = 65536, .doc = "step of the window"},
    {"padding", PK_PADDING, offsetof(conv2d_params, padding), .def = 0, .min = -1, .max = 65536,
     .doc = "zeros around x"},
    {"dilation", PK_PAIR, offsetof(conv2d_params, dilation), .def = 1, .min = 1, .max = 65536,
     .doc = "distance of taps"},
    {"groups", PK_INT, offsetof(conv2d_params, groups), .def = 1, .min = 1, .max = 65536, .doc = "independent parts"},
};

typedef struct conv_job {
    pk_plane plane;
    int64_t groups, in, out;   /* channels of a group */
    int64_t taps;              /* kh * kw * in: length of a patch */
    int64_t rows, tile, chunks; /* output pixels; of a tile; parts of the work */
    int64_t band, bands, phase; /* backward to x: output rows of a band, bands an image, even or odd bands */
    const float *x, *w, *b, *dy;
    float *y, *dx, *scratch;   /* products' scratch and a tile of patches for each worker */
    int64_t stride;            /* floats a worker */
} conv_job;

static pk_status plane_of(const pk_call *c, pk_plane *plane) {
    const conv2d_params *p = c->params;
    return pk_plane_of(c, c->in[1]->shape[1], c->in[1]->shape[2], p->stride, p->padding, p->dilation, plane);
}

static pk_status infer(pk_call *c) {
    const conv2d_params *p = c->params;
    const pk_tensor *x = c->in[0], *w = c->in[1];
    pk_plane plane;
    PK_TRY(pk_want_ndim(c, 0, 4));
    PK_TRY(pk_want_ndim(c, 1, 4));
    PK_RETURN_IF(x->shape[3] % p->groups || w->shape[0] % p->groups, PK_EINVAL,
                 "conv2d: %lld groups do not divide both %lld input and %lld output channels", (long long)p->groups,
                 (long long)x->shape[3], (long long)w->shape[0]);
    int64_t want[4] = {w->shape[0], w->shape[1], w->shape[2], x->shape[3] / p->groups};
    PK_TRY(pk_want_shape(c, 1, 4, want, "{O,kh,kw,I/groups}"));
    if (c->in[2]) PK_TRY(pk_want_shape(c, 2, 1, w->shape, "one number for each output channel"));
    PK_TRY(plane_of(c, &plane));
    pk_out(c, 0, PK_FLOAT32, 4, (int64_t[]){plane.n, plane.oh, plane.ow, w->shape[0]});
    return PK_OK;
}

static void job_of(const pk_call *c, conv_job *j) {
    const conv2d_params *p = c->params;
    *j = (conv_job){.groups = p->groups};
    plane_of(c, &j->plane); /* infer has seen it succeed */
    j->in = j->plane.c / p->groups;
    j->out = c->in[1]->shape[0] / p->groups;
    j->taps = j->plane.kh * j->plane.kw * j->in;
    j->rows = j->plane.n * j->plane.oh * j->plane.ow;
    j->tile = pk_max(16, pk_min(256, 131072 / pk_max(1, j->taps)));
    j->chunks = pk_chunks(j->rows, j->tile);
    j->x = c->in[0]->storage ? pk_f32(c->in[0]) : NULL;
    j->w = pk_f32(c->in[1]);
}

static bool is_dense(const conv_job *j) {
    const pk_plane *p = &j->plane;
    return p->kh == 1 && p->kw == 1 && p->sy == 1 && p->sx == 1 && p->oh == p->h && p->ow == p->w && j->groups == 1;
}

static pk_status new_scratch(conv_job *j) {
    int64_t patches, bytes = -1; /* weights without outputs take no memory, however large */
    bool fits = pk_mul_ok(j->tile, j->taps, &patches) && pk_add_ok(patches, 16 + pk_product_scratch(), &j->stride) &&
                pk_mul_ok(j->stride, pk_threads() * (int64_t)sizeof(float), &bytes);
    if (!fits) return pk_no_memory(INT64_MAX);
    j->stride = pk_round_up(patches, 16) + pk_product_scratch();
    j->scratch = pk_alloc(bytes);
    return j->scratch ? PK_OK : pk_no_memory(bytes);
}

/* A worker's scratch: that of products, then the patches. */
static float *scratch_of(const conv_job *j, int worker) { return j->scratch + worker * j->stride; }
static float *tile_of(const conv_job *j, int worker) { return scratch_of(j, worker) + pk_product_scratch(); }

/* The part of taps 0..kw-1 at output column ox that lies in the image: *from .. *to-1 (dilation 1). */
static void inside(const pk_plane *p, int64_t ox, int64_t *from, int64_t *to) {
    int64_t left = pk_plane_col(p, ox, 0);
    *from = pk_min(p->kw, pk_max(0, -left));
    *to = pk_max(*from, pk_min(p->kw, p->w - left));
}

/* One row of taps, channels at..at+in-1: kw * in floats. */
static void gather_row(const conv_job *j, const float *image_row, int64_t ox, int64_t at, float *patch) {
    const pk_plane *p = &j->plane;
    if (p->dx == 1 && j->in == p->pixel) { /* pixels lie together */
        int64_t from, to;
        inside(p, ox, &from, &to);
        memset(patch, 0, (size_t)(from * j->in) * sizeof *patch);
        if (to > from)
            memcpy(patch + from * j->in, image_row + pk_plane_col(p, ox, from) * j->in,
                   (size_t)((to - from) * j->in) * sizeof *patch);
        memset(patch + to * j->in, 0, (size_t)((p->kw - to) * j->in) * sizeof *patch);
        return;
    }
    for (int64_t kx = 0; kx < p->kw; kx++, patch += j->in) {
        int64_t ix = pk_plane_col(p, ox, kx);
        if (ix < 0 || ix >= p->w)
            memset(patch, 0, (size_t)j->in * sizeof *patch);
        else
            memcpy(patch, image_row + ix * p->pixel + at, (size_t)j->in * sizeof *patch);
    }
}

/* Patches of output pixels r0..r1-1 for one group. */
static void gather(const conv_job *j, int64_t r0, int64_t r1, int64_t group, float *patch) {
    const pk_plane *p = &j->plane;
    if (j->in == 0) return;
    for (int64_t r = r0; r < r1; r++) {
        int64_t n, oy, ox;
        pk_plane_place(p, r, &n, &oy, &ox);
        for (int64_t ky = 0; ky < p->kh; ky++, patch += p->kw * j->in) {
            int64_t iy = pk_plane_row(p, oy, ky);
            if (iy < 0 || iy >= p->h)
                memset(patch, 0, (size_t)(p->kw * j->in) * sizeof *patch);
            else
                gather_row(j, j->x + (n * p->h + iy) * p->w * p->pixel, ox, group * j->in, patch);
        }
    }
}

/* The reverse: add patches of gradients to dx (which is packed). */
static void scatter(const conv_job *j, int64_t r0, int64_t r1, int64_t group, const float *patch) {
    const pk_plane *p = &j->plane;
    const pk_kernels *k = pk_k();
    if (j->in == 0) return;
    for (int64_t r = r0; r < r1; r++) {
        int64_t n, oy, ox;
        pk_plane_place(p, r, &n, &oy, &ox);
        for (int64_t ky = 0; ky < p->kh; ky++) {
            int64_t iy = pk_plane_row(p, oy, ky);
            for (int64_t kx = 0; kx < p->kw; kx++, patch += j->in) {
                int64_t ix = pk_plane_col(p, ox, kx);
                if (iy < 0 || iy >= p->h || ix < 0 || ix >= p->w) continue;
                k->add_to(j->in, j->dx + ((n * p->h + iy) * p->w + ix) * p->c + group * j->in, patch);
            }
        }
    }
}

/* y = patches * w' + b for one group. */
static pk_product outputs_of(const conv_job *j, int64_t rows, int64_t group, const float *patch, float *y) {
    return (pk_product){.tb = true, .m = rows, .n = j->out, .k = j->taps, .a = patch, .lda = j->taps,
                        .b = j->w + group * j->out * j->taps, .ldb = j->taps, .bias = j->b ? j->b + group * j->out : NULL,
                        .c = y + group * j->out, .ldc = j->groups * j->out};
}

static void forward_chunk(void *context, int64_t i, int worker) {
    const conv_job *j = context;
    float *patch = tile_of(j, worker);
    int64_t end = pk_chunk_begin(j->rows, j->chunks, i + 1), width = j->groups * j->out;
    for (int64_t r0 = pk_chunk_begin(j->rows, j->chunks, i); r0 < end; r0 += j->tile) {
        int64_t rows = pk_min(j->tile, end - r0);
        for (int64_t g = 0; g < j->groups; g++) {
            const pk_product p = outputs_of(j, rows, g, patch, j->y + r0 * width);
            gather(j, r0, r0 + rows, g, patch);
            pk_product_here(&p, false, scratch_of(j, worker));
        }
    }
}

static pk_status forward(pk_call *c) {
    conv_job j;
    job_of(c, &j);
    j.b = c->in[2] ? pk_f32(c->in[2]) : NULL;
    j.y = pk_f32(c->out[0]);
    if (is_dense(&j)) {
        pk_pixels x = pk_pixels_of(c->in[0]);
        return pk_dense_forward(&x, j.w, j.b, j.out, j.y);
    }
    if (pk_winograd_pays(&j.plane, j.in, j.out))
        return pk_winograd_forward(&j.plane, j.x, j.w, j.b, j.out, j.y);
    PK_TRY(new_scratch(&j));
    pk_status status = PK_OK;
    if (j.rows <= j.tile && j.groups == 1) { /* too few rows to share: the threads share the columns */
        const pk_product p = outputs_of(&j, j.rows, 0, tile_of(&j, 0), j.y);
        gather(&j, 0, j.rows, 0, tile_of(&j, 0));
        status = pk_product_run(&p);
    } else {
        pk_parallel(j.chunks, forward_chunk, &j);
    }
    pk_free(j.scratch);
    return status;
}

/* Output rows of one band of one image. Two bands with one between them write to different rows of dx, so all even
 * bands may run at once, then all odd ones: the order of additions is fixed. */
static void dx_band(void *context, int64_t i, int worker) {
    const conv_job *j = context;
    const pk_plane *p = &j->plane;
    int64_t mine = (j->bands + 1 - j->phase) / 2, n = i / mine, band = 2 * (i % mine) + j->phase;
    int64_t r = (n * p->oh + band * j->band) * p->ow, end = (n * p->oh + pk_min(p->oh, (band + 1) * j->band)) * p->ow;
    float *patch = tile_of(j, worker);
    for (; r < end; r += j->tile) {
        int64_t rows = pk_min(j->tile, end - r);
        for (int64_t g = 0; g < j->groups; g++) {
            const pk_product product = {.m = rows, .n = j->taps, .k = j->out, .a = j->dy + (r * j->groups + g) * j->out,
                                        .lda = j->groups * j->out, .b = j->w + g * j->out * j->taps, .ldb = j->taps,
                                        .c = patch, .ldc = j->taps};
            pk_product_here(&product, false, scratch_of(j, worker));
            scatter(j, r, r + rows, g, patch);
        }
    }
}

static void dx_all(conv_job *j) {
    const pk_plane *p = &j->plane;
    j->band = pk_max(pk_max(1, (p->kh - 1) * p->dy / p->sy), 128 / pk_max(1, p->ow));
    j->bands = pk_ceil_div(p->oh, j->band);
    for (j->phase = 0; j->phase < 2; j->phase++) pk_parallel(p->n * ((j->bands + 1 - j->phase) / 2), dx_band, j);
}

static void dw_chunk(void *context, int64_t begin, int64_t end, int worker, float *dw) {
    const conv_job *j = context;
    float *patch = tile_of(j, worker);
    for (int64_t r = begin; r < end; r += j->tile) {
        int64_t rows = pk_min(j->tile, end - r);
        for (int64_t g = 0; g < j->groups; g++) {
            gather(j, r, r + rows, g, patch);
            const pk_product product = {.ta = true, .m = j->out, .n = j->taps, .k = rows,
                                        .a = j->dy + (r * j->groups + g) * j->out, .lda = j->groups * j->out, .b = patch,
                                        .ldb = j->taps, .c = dw + g * j->out * j->taps, .ldc = j->taps};
            pk_product_here(&product, true, scratch_of(j, worker));
        }
    }
}

/* Few enough chunks that their partial weights stay below about 16 MB, but at least 8 if there are tiles for them. */
static pk_status dw_all(conv_job *j, float *dw) {
    int64_t width = j->groups * j->out * j->taps, most = pk_max(8, pk_min(64, 4194304 / pk_max(1, width)));
    int64_t chunks = pk_min(most, pk_chunks(j->rows, j->tile));
    pk_sum sum = {1, j->rows, chunks, 0, width, dw_chunk, j};
    return pk_sum_run(&sum, dw);
}

static pk_status backward(pk_call *c) {
    conv_job j;
    job_of(c, &j);
    j.dy = pk_f32(c->dout[0]);
    const bool winograd_dx = pk_winograd_pays_dx(&j.plane, j.in, j.out);
    float *grad[3] = {0};
    for (int i = 0; i < c->nin; i++) {
        if (!c->needs[i]) continue;
        if (i == 0 && !winograd_dx)
            PK_TRY(pk_tensor_zeros(PK_FLOAT32, 4, c->in[0]->shape, &c->din[0]));
        else
            PK_TRY(pk_grad_like(c, i));
        grad[i] = pk_f32(c->din[i]);
    }
    if (is_dense(&j)) {
        pk_pixels x = pk_pixels_of(c->in[0]);
        return pk_dense_backward(&x, j.w, j.out, j.dy, grad[0], grad[1], grad[2]);
    }
    if (grad[2]) PK_TRY(pk_bias_grad(j.dy, j.rows, j.groups * j.out, grad[2]));
    if (grad[0] && winograd_dx) {
        PK_TRY(pk_winograd_dx(&j.plane, j.dy, j.w, j.out, grad[0]));
        grad[0] = NULL;
    }
    if (grad[1] && pk_winograd_pays_dw(&j.plane, j.in, j.out)) {
        PK_TRY(pk_winograd_dw(&j.plane, j.x, j.dy, j.out, grad[1]));
        grad[1] = NULL;
    }
    if (!grad[0] && !grad[1]) return PK_OK;
    PK_TRY(new_scratch(&j));
    j.dx = grad[0];
    if (grad[0]) dx_all(&j);
    pk_status status = grad[1] ? dw_all(&j, grad[1]) : PK_OK;
    pk_free(j.scratch);
    return status;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const conv2d_params *p = c->params;
    const int64_t *xs = c->in[0]->shape, *ws = c->in[1]->shape, *ys = c->meta[0].shape;
    int64_t og = ws[0] / p->groups, pad[2];
    for (int a = 0; a < 2; a++)
        pad[a] = p->padding[a] == PK_SAME ? (ws[1 + a] - 1) * p->dilation[a] / 2 : p->padding[a];
    for (int64_t i = 0; i < ys[0] * ys[1] * ys[2] * ys[3]; i++) {
        int64_t o = i % ys[3], ox = i / ys[3] % ys[2], oy = i / (ys[3] * ys[2]) % ys[1],
                n = i / (ys[3] * ys[2] * ys[1]);
        double s = in[2] ? in[2][o] : 0;
        for (int64_t ky = 0; ky < ws[1]; ky++)
            for (int64_t kx = 0; kx < ws[2]; kx++)
                for (int64_t k = 0; k < ws[3]; k++) {
                    int64_t y = oy * p->stride[0] - pad[0] + ky * p->dilation[0];
                    int64_t x = ox * p->stride[1] - pad[1] + kx * p->dilation[1];
                    if (y < 0 || y >= xs[1] || x < 0 || x >= xs[2]) continue;
                    s += in[0][((n * xs[1] + y) * xs[2] + x) * xs[3] + o / og * ws[3] + k] *
                         in[1][((o * ws[1] + ky) * ws[2] + kx) * ws[3] + k];
                }
        out[0][i] = s;
    }
}

static void onnx(pk_onnx *g, const pk_call *c) {
    const conv2d_params *p = c->params;
    pk_plane plane;
    if (plane_of(c, &plane) != PK_OK) return; /* infer has seen it succeed */
    const int64_t kernel[] = {plane.kh, plane.kw}, before[] = {plane.py, plane.px};
    int w = pk_onnx_weight(g, 1, 4, (const int[]){0, 3, 1, 2}), b = pk_onnx_vector(g, 2);
    pk_onnx_out(g, 0, pk_onnx_conv(g, c, w, b, kernel, p->stride, before, p->dilation, p->groups), PK_CHANNELS_FIRST);
}

/* Patches and tiles hold the padding's zeros, so it costs as much as the image. */
static pk_status macs(const pk_call *c, pk_macs *m) {
    const int64_t *w = c->in[1]->shape, *y = c->meta[0].shape;
    pk_plane p;
    PK_TRY(plane_of(c, &p));
    double pairs = (double)(y[0] * y[3] * w[3]), all = pairs * (double)(y[1] * y[2] * w[1] * w[2]);
    const bool winograd = pk_winograd_pays(&p, w[3], w[0]);
    pk_macs_add(m, c->in[1], all, pairs * pk_plane_taps_inside(&p), winograd ? pk_winograd_macs(&p, w[0]) : all);
    return PK_OK;
}

const pk_op pk_op_conv2d = {
    .name = "conv2d",
    .doc = "Convolution: x {N,H,W,I}, w {O,kh,kw,I/groups}, b {O} -> {N,H',W',O} with H' = (H + 2 padding -\n"
           "dilation (kh - 1) - 1) / stride + 1.",
    .params_size = sizeof(conv2d_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"x", PK_ROWS, PK_REAL, "{N,H,W,I}"},
             {"w", 0, PK_REAL, "{O,kh,kw,I/groups}"},
             {"b", PK_OPTIONAL, PK_REAL, "{O}"}},
    .needs_in = 3,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .macs = macs,
    .cases =
        (const char *const[]){
            "x:1x1x1x1 w:1x1x1x1 b:1 | padding=3", "x:2x7x5x3 w:5x3x2x3 b:5 | stride=2 padding=0,1",
            "x:1x9x6x17 w:3x5x3x17 | padding=same dilation=2,1", "x:2x8x12x3 w:7x4x4x3 b:7 | stride=4",
            "x:1x6x10x19 w:5x2x2x19 | stride=2", "x:3x5x4x6 w:4x3x3x3 b:4 | groups=2 padding=same",
            "x:2x6x5x17 w:9x1x1x17 b:9", "x:1x20x33x4 w:3x3x3x4 b:3 | padding=1 stride=3,1",
            "x:1x7x7x4 w:8x3x3x1 | groups=4 padding=2 dilation=2", "x:2x90x80x8 w:9x3x3x8 b:9 | padding=same",
            "x:5x13x10x17 w:19x3x3x17 b:19 | padding=1", "x:3x14x15x16 w:33x3x3x16 | padding=0,2",
            "x:33x4x6x18 w:16x3x3x18 b:16", NULL},
};
