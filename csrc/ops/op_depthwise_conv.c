/* Depthwise convolution: dense square kernels, stripes, dilated ones. A window whose bands are single taps. */
#include <stddef.h>

#include "ops/onnx.h"
#include "ops/plane.h"
#include "ops/window_run.h"

typedef struct depthwise_params {
    int64_t stride[2], padding[2], dilation[2];
} depthwise_params;

static const pk_field fields[] = {
    {"stride", PK_PAIR, offsetof(depthwise_params, stride), .def = 1, .min = 1, .max = 65536,
     .doc = "step of the window"},
    {"padding", PK_PADDING, offsetof(depthwise_params, padding), .def = PK_SAME, .min = -1, .max = 65536,
     .doc = "zeros around x; \"same\" keeps its size at stride 1"},
    {"dilation", PK_PAIR, offsetof(depthwise_params, dilation), .def = 1, .min = 1, .max = 65536,
     .doc = "distance of taps"},
};

static pk_status plane_of(const pk_call *c, pk_plane *plane) {
    const depthwise_params *p = c->params;
    return pk_plane_of(c, c->in[1]->shape[0], c->in[1]->shape[1], p->stride, p->padding, p->dilation, plane);
}

static pk_status infer(pk_call *c) {
    pk_plane plane;
    PK_TRY(pk_want_ndim(c, 0, 4));
    PK_TRY(pk_want_ndim(c, 1, 3));
    int64_t channels = c->in[0]->shape[3];
    PK_TRY(pk_want_shape(c, 1, 3, (int64_t[]){c->in[1]->shape[0], c->in[1]->shape[1], channels}, "{kh,kw,C}"));
    if (c->in[2]) PK_TRY(pk_want_shape(c, 2, 1, &channels, "one number for each channel"));
    PK_TRY(plane_of(c, &plane));
    pk_out(c, 0, PK_FLOAT32, 4, (int64_t[]){plane.n, plane.oh, plane.ow, channels});
    return PK_OK;
}

/* Beyond what a window can be: pk_window_new says so. */
static int32_t clip(int64_t n) { return (int32_t)pk_min(n, INT32_MAX / 2); }

static pk_axis axis_of(int64_t taps, int64_t padding, int64_t dilation, int64_t in, int64_t out, int64_t stride) {
    return (pk_axis){.count = clip(taps), .at = -clip(padding), .dilation = clip(dilation), .in = clip(in),
                     .out = clip(out), .stride = clip(stride), .stuff = 1};
}

static void axes_of(const pk_call *c, pk_axis *rows, pk_axis *cols) {
    pk_plane p = {0};
    plane_of(c, &p); /* infer has seen it succeed */
    *rows = axis_of(p.kh, p.py, p.dy, p.h, p.oh, p.sy);
    *cols = axis_of(p.kw, p.px, p.dx, p.w, p.ow, p.sx);
}

static pk_status forward(pk_call *c) {
    pk_axis rows, cols;
    axes_of(c, &rows, &cols);
    return pk_window_run(&rows, &cols, c->in[0], pk_f32(c->in[1]), c->in[2] ? pk_f32(c->in[2]) : NULL, NULL, c->out[0]);
}

static pk_status backward(pk_call *c) {
    pk_axis rows, cols;
    axes_of(c, &rows, &cols);
    const pk_tensor *dy = c->dout[0];
    for (int i = 0; i < c->nin; i++)
        if (c->needs[i]) PK_TRY(pk_grad_like(c, i));
    if (c->needs[0]) PK_TRY(pk_window_run_back(&rows, &cols, dy, pk_f32(c->in[1]), c->din[0]));
    if (c->needs[1]) PK_TRY(pk_window_run_weights(&rows, &cols, c->in[0], dy, pk_f32(c->din[1])));
    if (c->needs[2]) PK_TRY(pk_bias_grad(pk_f32(dy), pk_span(dy, 0, 3), dy->shape[3], pk_f32(c->din[2])));
    return PK_OK;
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    pk_plane p;
    if (plane_of(c, &p) != PK_OK) return;
    for (int64_t i = 0; i < p.n * p.oh * p.ow; i++) {
        int64_t n, oy, ox;
        pk_plane_place(&p, i, &n, &oy, &ox);
        for (int64_t ch = 0; ch < p.c; ch++) {
            double sum = in[2] ? in[2][ch] : 0;
            for (int64_t ky = 0; ky < p.kh; ky++)
                for (int64_t kx = 0; kx < p.kw; kx++) {
                    int64_t y = pk_plane_row(&p, oy, ky), x = pk_plane_col(&p, ox, kx);
                    if (y < 0 || y >= p.h || x < 0 || x >= p.w) continue;
                    sum += in[0][((n * p.h + y) * p.w + x) * p.c + ch] * in[1][(ky * p.kw + kx) * p.c + ch];
                }
            out[0][i * p.c + ch] = sum;
        }
    }
}

static void onnx(pk_onnx *g, const pk_call *c) {
    const depthwise_params *p = c->params;
    pk_plane plane;
    if (plane_of(c, &plane) != PK_OK) return; /* infer has seen it succeed */
    const int64_t before[] = {plane.py, plane.px};
    int w = pk_onnx_weight(g, 1, 4, (const int[]){2, -1, 0, 1}), b = pk_onnx_vector(g, 2);
    int y = pk_onnx_conv(g, c, w, b, c->in[1]->shape, p->stride, before, p->dilation, plane.c);
    pk_onnx_out(g, 0, y, PK_CHANNELS_FIRST);
}

static pk_status macs(const pk_call *c, pk_macs *m) {
    pk_axis rows, cols;
    pk_plane p;
    double products, planes;
    PK_TRY(plane_of(c, &p));
    axes_of(c, &rows, &cols);
    PK_TRY(pk_window_products(&rows, &cols, &products));
    planes = (double)(p.n * p.c);
    pk_macs_add(m, c->in[1], planes * (double)(p.oh * p.ow * p.kh * p.kw), planes * pk_plane_taps_inside(&p),
                planes * products);
    return PK_OK;
}

const pk_op pk_op_depthwise_conv = {
    .name = "depthwise_conv",
    .doc = "y[n][q][p][c] = b[c] + sum over (i,j) of w[i][j][c] * x[n][q*stride - padding + i*dilation][...][c]:\n"
           "one kernel a channel, square or not; {N,H,W,C} to {N,H',W',C}. Taps outside the image read zero, at no cost.",
    .params_size = sizeof(depthwise_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"x", PK_ROWS, PK_REAL, "{N,H,W,C}"}, {"w", 0, PK_REAL, "{kh,kw,C}"}, {"b", PK_OPTIONAL, PK_REAL, "{C}"}},
    .needs_in = 3,
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .macs = macs,
    .cases = (const char *const[]){"x:1x1x1x1 w:1x1x1", "x:2x7x5x17 w:13x11x17 b:17", "x:1x1x1x3 w:7x7x3 b:3",
                                   "x:2x9x6x5 w:3x3x5 b:5 | stride=2", "x:1x8x7x4 w:4x2x4 | stride=2,3 padding=1,0",
                                   "x:2x6x6x1 w:5x5x1 | dilation=2",
                                   "x:1x7x9x3 w:3x2x3 b:3 | dilation=3,2 padding=3,1 stride=2", "x:1x9x12x6 w:11x3x6",
                                   "x:1x9x12x6 w:3x11x6", "x:1x5x6x2 w:2x2x2 | padding=0",
                                   "x:1x4x4x2 w:2x2x2 | padding=3", "x:3x14x14x33 w:5x5x33 b:33", NULL},
};
