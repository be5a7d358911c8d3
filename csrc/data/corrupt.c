/* corrupt: a picture made worse in one of five ways at five severities, by the numbers of ImageNet-C and CIFAR-C
 * (Hendrycks and Dietterich, ICLR 2019). Values are bytes 0..255 before and after. */
#include <math.h>
#include <string.h>

#include "core/checked.h"
#include "core/rng.h"
#include "data/jpeg_loss.h"
#include "data/transform.h"

enum { NOISE, BLUR, JPEG, CONTRAST, PIXELATE, KINDS };
enum { SEVERITIES = 5 };

typedef struct corrupt_options {
    int kind;
    int64_t severity;
} corrupt_options;

static const pk_field fields[] = {
    {.name = "kind", .type = PK_ENUM, .offset = offsetof(corrupt_options, kind), .required = true,
     .choices = "gaussian_noise|gaussian_blur|jpeg|contrast|pixelate", .doc = "what is done"},
    {.name = "severity", .type = PK_INT, .offset = offsetof(corrupt_options, severity), .def = 3, .min = 1,
     .max = SEVERITIES, .doc = "1 (slight) to 5"},
};

enum { SMALL = 32, LARGE = 224 };

/* Deviation of the noise (of 0..1); of the blur in pixels; JPEG quality; contrast left; share of the pixels left each
 * way. First as CIFAR-C has it for pictures of 32 pixels, then as ImageNet-C has it for 224. */
static const double strength[KINDS][SEVERITIES][2] = {
    [NOISE] = {{0.04, 0.08}, {0.06, 0.12}, {0.08, 0.18}, {0.09, 0.26}, {0.10, 0.38}},
    [BLUR] = {{0.4, 1}, {0.6, 2}, {0.7, 3}, {0.8, 4}, {1, 6}},
    [JPEG] = {{80, 25}, {65, 18}, {58, 15}, {50, 10}, {40, 7}},
    [CONTRAST] = {{0.75, 0.4}, {0.5, 0.3}, {0.4, 0.2}, {0.3, 0.1}, {0.15, 0.05}},
    [PIXELATE] = {{0.95, 0.6}, {0.9, 0.5}, {0.85, 0.4}, {0.75, 0.3}, {0.65, 0.25}},
};

/* For a picture's shorter side: the small number up to 32, the large one from 224 on, a straight line between. A blur of
 * larger pictures grows with them. */
static double strength_at(const corrupt_options *o, const pk_extent *e) {
    const double *ends = strength[o->kind][o->severity - 1];
    double side = (double)pk_min(e->h, e->w), at = fmin(fmax((side - SMALL) / (LARGE - SMALL), 0), 1);
    double by = ends[0] * (1 - at) + ends[1] * at;
    return o->kind == BLUR && side > LARGE ? by * side / LARGE : by;
}

static float clamp(float v) { return fminf(fmaxf(v, 0.0f), 255.0f); }

static void add_noise(const float *in, float *out, int64_t n, double deviation, uint64_t stream) {
    for (int64_t i = 0; i < n; i++)
        out[i] = clamp(in[i] + 255 * (float)deviation * pk_random_normal(stream, (uint64_t)i));
}

/* Towards the mean of each channel. */
static void lower_contrast(const float *in, float *out, const pk_extent *e, double left) {
    int64_t pixels = e->h * e->w, c = e->c;
    for (int64_t k = 0; k < c; k++) {
        double sum = 0;
        for (int64_t p = 0; p < pixels; p++) sum += (double)in[p * c + k];
        double mean = sum / (double)pk_max(1, pixels);
        for (int64_t p = 0; p < pixels; p++)
            out[p * c + k] = clamp((float)(((double)in[p * c + k] - mean) * left + mean));
    }
}

/* One pass along an axis of n places, `step` floats apart, for `lanes` neighbours; edges repeated. weight[0] is the
 * middle's. */
static void blur_line(const float *in, float *out, int64_t n, int64_t step, int64_t lanes, const float *weight,
                      int64_t reach) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t l = 0; l < lanes; l++) {
            float sum = weight[0] * in[i * step + l];
            for (int64_t d = 1; d <= reach; d++)
                sum += weight[d] * (in[pk_max(0, i - d) * step + l] + in[pk_min(n - 1, i + d) * step + l]);
            out[i * step + l] = sum;
        }
}

/* Gaussian cut off at four deviations. weight: room for the longer side, at least. */
static void blur(const float *in, float *out, const pk_extent *e, double deviation, float *scratch) {
    double sum = 0;
    int64_t row = e->w * e->c, reach = (int64_t)(4 * deviation + 0.5);
    float *weight = scratch + e->h * row;
    reach = pk_min(reach, pk_max(e->h, e->w));
    for (int64_t d = 0; d <= reach; d++) {
        weight[d] = (float)exp(-0.5 * (double)(d * d) / (deviation * deviation));
        sum += (d ? 2 : 1) * (double)weight[d];
    }
    for (int64_t d = 0; d <= reach; d++) weight[d] = (float)((double)weight[d] / sum);
    for (int64_t y = 0; y < e->h; y++)
        blur_line(in + y * row, scratch + y * row, e->w, e->c, e->c, weight, reach);
    blur_line(scratch, out, e->h, row, row, weight, reach);
    for (int64_t i = 0; i < e->h * row; i++) out[i] = clamp(out[i]);
}

/* Where cell i of `cells` along n pixels begins and ends, as Pillow's box filter has it, rounding included: a pixel whose
 * centre is on the edge belongs to the cell before. */
static void cell_span(int64_t i, int64_t cells, int64_t n, int64_t *begin, int64_t *end) {
    double scale = (double)n / (double)cells, centre = ((double)i + 0.5) * scale;
    *begin = pk_max(0, (int64_t)(centre - 0.5 * scale + 0.5));
    *end = pk_min(n, (int64_t)(centre + 0.5 * scale + 0.5));
    if (((double)(*end - 1) - centre + 0.5) * (1 / scale) > 0.5) --*end;
}

/* Means of cells, along rows first, as bytes; then every pixel the mean of the cell that its centre lies in. scratch: the
 * cells. */
static void pixelate(const float *in, float *out, const pk_extent *e, double left, float *scratch) {
    int64_t rows = pk_max(1, (int64_t)((double)e->h * left)), columns = pk_max(1, (int64_t)((double)e->w * left));
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = 0; x < columns; x++)
            for (int64_t k = 0; k < e->c; k++) {
                int64_t y0, y1, x0, x1;
                float sum = 0;
                cell_span(y, rows, e->h, &y0, &y1);
                cell_span(x, columns, e->w, &x0, &x1);
                for (int64_t i = y0; i < y1; i++) {
                    float row = 0;
                    for (int64_t j = x0; j < x1; j++) row += in[(i * e->w + j) * e->c + k];
                    sum += floorf(row / (float)pk_max(1, x1 - x0) + 0.5f);
                }
                scratch[(y * columns + x) * e->c + k] = sum / (float)pk_max(1, y1 - y0);
            }
    for (int64_t y = 0; y < e->h; y++)
        for (int64_t x = 0; x < e->w; x++) {
            int64_t cy = (int64_t)(((double)y + 0.5) * (double)rows / (double)e->h);
            int64_t cx = (int64_t)(((double)x + 0.5) * (double)columns / (double)e->w);
            memcpy(out + (y * e->w + x) * e->c, scratch + (cy * columns + cx) * e->c, (size_t)e->c * sizeof *out);
        }
}

static pk_status infer(const void *options, pk_extent *e) {
    const corrupt_options *o = options;
    PK_RETURN_IF(o->kind == JPEG && e->c != 1 && e->c != 3, PK_EINVAL,
                 "corrupt: jpeg wants pictures of 1 or 3 channels, got %lld", (long long)e->c);
    return PK_OK;
}

static int64_t scratch(const pk_extent *from, const pk_extent *to) {
    (void)to;
    int64_t plane = from->h * from->w * from->c + from->h + from->w + 1;
    return pk_max(plane, pk_jpeg_loss_scratch(from->h, from->w, from->c)) * (int64_t)sizeof(float);
}

static void apply(const pk_step *s) {
    const corrupt_options *o = s->options;
    const pk_extent *e = &s->from;
    const float *in = s->in;
    float *out = s->out, *work = s->scratch;
    int64_t n = e->h * e->w * e->c;
    if (n == 0) return;
    double by = strength_at(o, e);
    switch (o->kind) {
        case NOISE: add_noise(in, out, n, by, s->stream); break;
        case BLUR: blur(in, out, e, by, work); break;
        case JPEG: pk_jpeg_loss(in, out, e->h, e->w, e->c, (int)(by + 0.5), work); break;
        case CONTRAST: lower_contrast(in, out, e, by); break;
        default: pixelate(in, out, e, by, work); break;
    }
    for (int64_t i = 0; i < n; i++) out[i] = floorf(out[i] + 0.5f);
}

const pk_transform_kind pk_transform_corrupt = {
    .name = "corrupt", .doc = "noise, blur, JPEG, low contrast or coarse pixels, before to_float",
    .options_size = sizeof(corrupt_options), .fields = fields, .nfields = sizeof fields / sizeof *fields,
    .spatial = true, .takes = PK_TAKES_FLOATS, .infer = infer, .apply = apply, .scratch = scratch};
