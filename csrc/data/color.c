/* color_jitter: brightness, contrast and saturation changed at random, in that order. Values are not clipped, so that it
 * does not matter whether bytes became 0..1 before. */
#include "core/rng.h"
#include "data/transform.h"

typedef struct jitter_options {
    double brightness, contrast, saturation;
} jitter_options;

static const pk_field jitter_fields[] = {
    {.name = "brightness", .type = PK_FLOAT, .offset = offsetof(jitter_options, brightness), .def = 0.4, .min = 0,
     .max = 1, .doc = "b: all values times 1-b .. 1+b"},
    {.name = "contrast", .type = PK_FLOAT, .offset = offsetof(jitter_options, contrast), .def = 0.4, .min = 0, .max = 1,
     .doc = "c: distances from the picture's mean grey times 1-c .. 1+c"},
    {.name = "saturation", .type = PK_FLOAT, .offset = offsetof(jitter_options, saturation), .def = 0.4, .min = 0,
     .max = 1, .doc = "s: distances from the pixel's grey times 1-s .. 1+s"},
};

/* ITU-R BT.601 for three channels, the mean otherwise. */
static float grey(const float *pixel, int64_t channels) {
    if (channels == 3) return 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
    float sum = 0;
    for (int64_t k = 0; k < channels; k++) sum += pixel[k];
    return sum / (float)channels;
}

static float mean_grey(const float *picture, int64_t pixels, int64_t channels) {
    double sum = 0;
    for (int64_t p = 0; p < pixels; p++) sum += (double)grey(picture + p * channels, channels);
    return (float)(sum / (double)pixels);
}

/* The factor that option number i draws: 1 - amount .. 1 + amount. */
static float factor(const pk_step *s, uint64_t i, double amount) {
    return (float)(1 + amount * (2 * (double)pk_random_uniform(s->stream, i) - 1));
}

static void color_jitter(const pk_step *s) {
    const jitter_options *o = s->options;
    int64_t c = s->from.c, pixels = s->from.h * s->from.w;
    float brighter = factor(s, 0, o->brightness), more = factor(s, 1, o->contrast), deeper = factor(s, 2, o->saturation);
    if (pixels == 0 || c == 0) return;
    float middle = brighter * mean_grey(s->in, pixels, c);
    for (int64_t p = 0; p < pixels; p++) {
        float *out = s->out + p * c;
        for (int64_t k = 0; k < c; k++) out[k] = more * (brighter * s->in[p * c + k]) + (1 - more) * middle;
        float own = grey(out, c);
        for (int64_t k = 0; k < c; k++) out[k] = deeper * out[k] + (1 - deeper) * own;
    }
}

const pk_transform_kind pk_transform_color_jitter = {
    .name = "color_jitter", .doc = "brightness, contrast and saturation changed at random",
    .options_size = sizeof(jitter_options), .fields = jitter_fields,
    .nfields = sizeof jitter_fields / sizeof *jitter_fields, .spatial = true, .apply = color_jitter};
