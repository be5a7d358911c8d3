/* The MLP of a block with all that stands round it, in one op: see mlp.h. */
#include <math.h>

#include "ops/mlp.h"
#include "ops/onnx.h"

enum { X, W1, B1, W2, B2, NORM_WEIGHT, NORM_BIAS, GAMMA, SHORTCUT };
enum { MEAN, RSTD, BEFORE, LAST }; /* saved */

typedef struct mlp_params {
    pk_drop_params drop; /* first: its fields are shared */
    int norm;            /* pk_mlp_norm */
    double eps;
    int recompute;       /* pk_recompute */
} mlp_params;

static const pk_field fields[] = {
    {"norm", PK_ENUM, offsetof(mlp_params, norm), .def = PK_MLP_NONE, .choices = "none|layer",
     .doc = "normalise x over its channels first"},
    {"eps", PK_FLOAT, offsetof(mlp_params, eps), .def = 1e-6, .min = 0, .max = 1, .doc = "added to the norm's variance"},
    {"recompute", PK_ENUM, offsetof(mlp_params, recompute), .def = PK_RECOMPUTE_AUTO, .choices = PK_RECOMPUTES,
     .doc = "does backward make the hidden values again, or are they kept? auto: kept where they are fewer than weights"},
    PK_DROP_FIELDS,
};

/* A weight is {out,in}, or of a 1x1 convolution {out,1,1,in}. */
static pk_status want_weight(const pk_call *c, int i, int64_t in, const char *why) {
    const pk_tensor *w = c->in[i];
    const bool conv = w->ndim == 4;
    PK_RETURN_IF((!conv && w->ndim != 2) || w->shape[0] < 1, PK_EINVAL, "mlp: %s has shape %s, %s is wanted",
                 c->op->args[i].name, pk_shape_text(w), c->op->args[i].doc);
    return conv ? pk_want_shape(c, i, 4, (int64_t[]){w->shape[0], 1, 1, in}, why)
                : pk_want_shape(c, i, 2, (int64_t[]){w->shape[0], in}, why);
}

static pk_status infer(pk_call *c) {
    const mlp_params *p = c->params;
    const pk_tensor *x = c->in[X];
    PK_RETURN_IF(x->ndim < 2 || x->shape[x->ndim - 1] < 1, PK_EINVAL, "mlp: x %s must be {N,...,C}", pk_shape_text(x));
    const int64_t in = x->shape[x->ndim - 1];
    PK_TRY(want_weight(c, W1, in, "one column for each of x's channels"));
    const int64_t hidden = c->in[W1]->shape[0];
    PK_TRY(want_weight(c, W2, hidden, "one column for each row of w1"));
    const int64_t out = c->in[W2]->shape[0];
    if (c->in[B1]) PK_TRY(pk_want_shape(c, B1, 1, &hidden, "one number for each row of w1"));
    if (c->in[B2]) PK_TRY(pk_want_shape(c, B2, 1, &out, "one number for each row of w2"));
    for (int i = NORM_WEIGHT; i <= NORM_BIAS; i++) {
        PK_RETURN_IF(c->in[i] && p->norm == PK_MLP_NONE, PK_EINVAL, "mlp: %s is given, but norm is 'none'",
                     c->op->args[i].name);
        if (c->in[i]) PK_TRY(pk_want_shape(c, i, 1, &in, "one number for each of x's channels"));
    }
    if (c->in[GAMMA]) PK_TRY(pk_want_shape(c, GAMMA, 1, &out, "one number for each row of w2"));
    pk_out_like(c, 0, X);
    c->meta[0].shape[x->ndim - 1] = out;
    return c->in[SHORTCUT] ? pk_want_shape(c, SHORTCUT, x->ndim, c->meta[0].shape, "that of the output") : PK_OK;
}

static const float *values(const pk_call *c, int i) { return c->in[i] ? pk_f32(c->in[i]) : NULL; }
static float *kept(const pk_call *c, int slot) { return c->saved[slot] ? pk_f32(c->saved[slot]) : NULL; }

static pk_mlp mlp_of(const pk_call *c) {
    const mlp_params *p = c->params;
    const pk_tensor *x = c->in[X];
    pk_mlp m = {.x = pk_pixels_of(x), .hidden = c->in[W1]->shape[0], .out = c->in[W2]->shape[0], .norm = p->norm,
                .eps = p->eps, .w1 = values(c, W1), .b1 = values(c, B1), .w2 = values(c, W2), .b2 = values(c, B2),
                .norm_weight = values(c, NORM_WEIGHT), .norm_bias = values(c, NORM_BIAS), .gamma = values(c, GAMMA),
                .mean = kept(c, MEAN), .rstd = kept(c, RSTD), .before = kept(c, BEFORE), .last = kept(c, LAST)};
    m.rows = m.x.count;
    m.in = m.x.channels;
    m.sample = x->shape[0] ? m.rows / x->shape[0] : 0;
    if (p->drop.training && p->drop.p > 0) m.drop = &p->drop;
    return m;
}

static bool keeps_hidden(const pk_call *c, int64_t rows) {
    const mlp_params *p = c->params;
    const int64_t weights = pk_numel(c->in[W1]) + pk_numel(c->in[W2]);
    return p->recompute == PK_RECOMPUTE_NEVER ||
           (p->recompute == PK_RECOMPUTE_AUTO && rows * c->in[W1]->shape[0] <= weights);
}

static pk_status save(pk_call *c) {
    const int64_t rows = pk_span(c->in[X], 0, c->in[X]->ndim - 1);
    if (((const mlp_params *)c->params)->norm != PK_MLP_NONE) {
        PK_TRY(pk_save_floats(c, MEAN, rows));
        PK_TRY(pk_save_floats(c, RSTD, rows));
    }
    if (keeps_hidden(c, rows)) PK_TRY(pk_save_floats(c, BEFORE, rows * c->in[W1]->shape[0]));
    if (!c->needs[GAMMA] || !pk_mlp_keeps_last(rows, c->in[W1]->shape[0])) return PK_OK;
    return pk_save_floats(c, LAST, rows * c->in[W2]->shape[0]);
}

static pk_status forward(pk_call *c) {
    if (c->keep) PK_TRY(save(c));
    pk_mlp m = mlp_of(c);
    if (c->in[SHORTCUT]) m.shortcut = pk_pixels_of(c->in[SHORTCUT]);
    return pk_mlp_forward(&m, pk_f32(c->out[0]));
}

static pk_status backward(pk_call *c) {
    float *to[SHORTCUT] = {0};
    for (int i = 0; i < SHORTCUT && i < c->nin; i++) {
        if (!c->needs[i]) continue;
        PK_TRY(pk_grad_like(c, i));
        to[i] = pk_f32(c->din[i]);
    }
    if (c->needs[SHORTCUT]) c->din[SHORTCUT] = pk_tensor_retain(c->dout[0]);
    bool any = false;
    for (int i = 0; i < SHORTCUT; i++) any |= to[i] != NULL;
    if (!any) return PK_OK;
    const pk_mlp m = mlp_of(c);
    const pk_mlp_grads grads = {.x = to[X], .w1 = to[W1], .b1 = to[B1], .w2 = to[W2], .b2 = to[B2],
                                .norm_weight = to[NORM_WEIGHT], .norm_bias = to[NORM_BIAS], .gamma = to[GAMMA]};
    return pk_mlp_backward(&m, pk_f32(c->dout[0]), &grads);
}

/* ---- the definition ---- */

static double gelu(double x) { return 0.5 * x * erfc(-x / sqrt(2.0)); }

/* y = (x - mean) * scale of a pixel of n channels. */
static void statistics(const mlp_params *p, const double *x, int64_t n, double *mean, double *scale) {
    double var = 0;
    *mean = 0, *scale = 1;
    if (p->norm == PK_MLP_NONE) return;
    for (int64_t i = 0; i < n; i++) *mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) var += (x[i] - *mean) * (x[i] - *mean) / (double)n;
    *scale = 1 / sqrt(var + p->eps);
}

static void reference(const pk_call *c, const double *const *in, double *const *out) {
    const mlp_params *p = c->params;
    const pk_tensor *x = c->in[X];
    const int64_t n = x->shape[x->ndim - 1], hidden = c->in[W1]->shape[0], n_out = c->in[W2]->shape[0];
    const int64_t rows = pk_span(x, 0, x->ndim - 1), sample = x->shape[0] ? rows / x->shape[0] : 0;
    for (int64_t r = 0; r < rows; r++) {
        const double *pixel = in[X] + r * n;
        double *y = out[0] + r * n_out, mean, scale;
        statistics(p, pixel, n, &mean, &scale);
        for (int64_t o = 0; o < n_out; o++) y[o] = in[B2] ? in[B2][o] : 0;
        for (int64_t h = 0; h < hidden; h++) {
            double sum = in[B1] ? in[B1][h] : 0;
            for (int64_t i = 0; i < n; i++) {
                const double normed = (pixel[i] - mean) * scale * (in[NORM_WEIGHT] ? in[NORM_WEIGHT][i] : 1);
                sum += (normed + (in[NORM_BIAS] ? in[NORM_BIAS][i] : 0)) * in[W1][h * n + i];
            }
            for (int64_t o = 0; o < n_out; o++) y[o] += gelu(sum) * in[W2][o * hidden + h];
        }
        const double keep = pk_drop_factor(&p->drop, sample ? r / sample : 0);
        for (int64_t o = 0; o < n_out; o++)
            y[o] = (in[SHORTCUT] ? in[SHORTCUT][r * n_out + o] : 0) + keep * (in[GAMMA] ? in[GAMMA][o] : 1) * y[o];
    }
}

/* ---- ONNX, counts ---- */

/* x w' + b: of images whose channels come first a 1x1 convolution, else a product over the last dimension. */
static int linear(pk_onnx *g, const pk_call *c, int w, int x, pk_order order) {
    static const int64_t one[] = {1, 1};
    const bool conv = c->in[w]->ndim == 4;
    const int bias = pk_onnx_vector(g, w + 1);
    if (order == PK_CHANNELS_FIRST) {
        const int dims[] = {0, conv ? 3 : 1, -1, -1};
        const int y = pk_onnx_node3(g, "Conv", x, pk_onnx_weight(g, w, 4, dims), bias);
        pk_onnx_set_ints(g, "kernel_shape", 2, one);
        return y;
    }
    const int y = pk_onnx_node2(g, "MatMul", x, pk_onnx_weight(g, w, 2, (const int[]){conv ? 3 : 1, 0}));
    return bias >= 0 ? pk_onnx_node2(g, "Add", y, bias) : y;
}

static void onnx(pk_onnx *g, const pk_call *c) {
    const mlp_params *p = c->params;
    const bool norm = p->norm != PK_MLP_NONE;
    const pk_order order = norm ? PK_OWN_ORDER : pk_onnx_common_order(g);
    if (p->drop.training && p->drop.p > 0) pk_onnx_refuse(g, "drops at random in training");
    int y = pk_onnx_in(g, X, order);
    if (norm) y = pk_onnx_layer_norm(g, c, y, NORM_WEIGHT, NORM_BIAS, p->eps);
    y = linear(g, c, W2, pk_onnx_gelu(g, linear(g, c, W1, y, order)), order);
    if (c->in[GAMMA]) y = pk_onnx_node2(g, "Mul", y, pk_onnx_in(g, GAMMA, order));
    if (c->in[SHORTCUT]) y = pk_onnx_node2(g, "Add", pk_onnx_in(g, SHORTCUT, order), y);
    pk_onnx_out(g, 0, y, order);
}

static pk_status macs(const pk_call *c, pk_macs *m) {
    const double rows = (double)pk_span(c->in[X], 0, c->in[X]->ndim - 1);
    for (int i = W1; i <= W2; i += W2 - W1) {
        const double n = rows * (double)pk_numel(c->in[i]);
        pk_macs_add(m, c->in[i], n, n, n);
    }
    return PK_OK;
}

const pk_op pk_op_mlp = {
    .name = "mlp",
    .doc = "y = shortcut + keep * gamma * (gelu(norm(x) * w1^T + b1) * w2^T + b2): what a ConvNeXt block does behind its\n"
           "depthwise convolution, in tiles of pixels whose hidden values never go to memory. norm is a layer norm or none;\n"
           "keep is that of scale_residual. x {N,...,C}, w1 {hidden,C}, w2 {out,hidden} -> {N,...,out}.",
    .params_size = sizeof(mlp_params),
    .fields = fields,
    .nfields = sizeof fields / sizeof *fields,
    .args = {{"x", PK_ROWS, PK_REAL, "{N,...,C}"},
             {"w1", 0, PK_REAL, "{hidden,C} or {hidden,1,1,C}"},
             {"b1", PK_OPTIONAL, PK_REAL, "{hidden}"},
             {"w2", 0, PK_REAL, "{out,hidden} or {out,1,1,hidden}"},
             {"b2", PK_OPTIONAL, PK_REAL, "{out}"},
             {"norm_weight", PK_OPTIONAL, PK_REAL, "{C}"},
             {"norm_bias", PK_OPTIONAL, PK_REAL, "{C}"},
             {"gamma", PK_OPTIONAL, PK_REAL, "{out}"},
             {"shortcut", PK_OPTIONAL | PK_ROWS, PK_REAL, "{N,...,out}"}},
    .needs_in = 0xff, /* all but the shortcut */
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .reference = reference,
    .onnx = onnx,
    .macs = macs,
    .cases = (const char *const[]){
        "x:1x1 w1:1x1 w2:1x1", "x:3x2x5x7 w1:13x7 b1:13 w2:4x13 b2:4",
        "x:3x2x2x17 w1:50x17 b1:50 w2:17x50 b2:17 norm_weight:17 norm_bias:17 gamma:17 shortcut:3x2x2x17 | norm=layer recompute=always",
        "x:4x3x9 w1:21x9 w2:9x21 gamma:9 shortcut:4x3x9 | norm=layer eps=0.01 recompute=never",
        "x:5x3x6 w1:11x1x1x6 b1:11 w2:6x1x1x11 b2:6 gamma:6 shortcut:5x3x6 | p=0.5 seed=3",
        "x:6x2x8 w1:9x8 b1:9 w2:5x9 b2:5 norm_bias:8 | norm=layer p=0.4 seed=11 recompute=never",
        "x:2x3x5 w1:7x5 b1:7 w2:5x7 b2:5 gamma:5 shortcut:2x3x5 | p=1 seed=1",
        "x:2x30x20x6 w1:25x6 b1:25 w2:6x25 b2:6 norm_weight:6 norm_bias:6 gamma:6 shortcut:2x30x20x6 | norm=layer p=0.3 seed=5",
        "x:1x260x3 w1:1100x3 b1:1100 w2:5x1100 b2:5 gamma:5 | norm=layer",
        "x:2x11x4 w1:1100x4 b1:1100 w2:4x1100 b2:4 gamma:4 shortcut:2x11x4 | recompute=never", NULL},
};
