/* color_jitter: brightness, contrast and saturation changed at random, in that order. Bytes are changed as Pillow does;
 * floats are not clipped, so that it does not matter whether they are 0..1 or 0..255. */
#include "core/rng.h"
#include "data/enhance.h"

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

static void jitter_floats(const pk_step *s, float brighter, float more, float deeper) {
    int64_t c = s->from.c, pixels = s->from.h * s->from.w;
    const float *in = s->in;
    float middle = brighter * mean_grey(in, pixels, c);
    for (int64_t p = 0; p < pixels; p++) {
        float *out = (float *)s->out + p * c;
        for (int64_t k = 0; k < c; k++) out[k] = more * (brighter * in[p * c + k]) + (1 - more) * middle;
        float own = grey(out, c);
        for (int64_t k = 0; k < c; k++) out[k] = deeper * out[k] + (1 - deeper) * own;
    }
}

static void jitter_bytes(const pk_step *s, double brighter, double more, double deeper) {
    pk_bytes_map p = {s->in, s->out, s->from.h, s->from.w, s->from.c};
    pk_bytes_brightness(&p, brighter);
    p.in = s->out;
    p.out = s->scratch;
    pk_bytes_contrast(&p, more);
    p.in = s->scratch;
    p.out = s->out;
    pk_bytes_saturation(&p, deeper);
}

static void color_jitter(const pk_step *s) {
    const jitter_options *o = s->options;
    if (pk_extent_values(&s->from) == 0) return;
    float brighter = factor(s, 0, o->brightness), more = factor(s, 1, o->contrast),
          deeper = factor(s, 2, o->saturation);
    if (s->from.bytes)
        jitter_bytes(s, (double)brighter, (double)more, (double)deeper);
    else
        jitter_floats(s, brighter, more, deeper);
}

static pk_status jitter_infer(const void *options, pk_extent *e) {
    (void)options;
    PK_RETURN_IF(e->bytes && e->c != 1 && e->c != 3, PK_EINVAL,
                 "color_jitter: wants 1 or 3 channels of bytes, got %lld", (long long)e->c);
    return PK_OK;
}

static int64_t jitter_scratch(const pk_extent *from, const pk_extent *to) {
    (void)to;
    return from->bytes ? pk_extent_bytes(from) : 0;
}

const pk_transform_kind pk_transform_color_jitter = {.name = "color_jitter",
                                                     .doc = "brightness, contrast and saturation changed at random",
                                                     .options_size = sizeof(jitter_options),
                                                     .fields = jitter_fields,
                                                     .nfields = sizeof jitter_fields / sizeof *jitter_fields,
                                                     .spatial = true,
                                                     .infer = jitter_infer,
                                                     .apply = color_jitter,
                                                     .scratch = jitter_scratch};
