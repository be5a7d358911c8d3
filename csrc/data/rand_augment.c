/* rand_augment (Cubuk et al. 2019) as timm does it: num_layers changes drawn with replacement from fifteen, each done
 * with probability prob, its strength drawn around magnitude. */
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "data/augment.h"

typedef struct augment_options {
    double magnitude, magnitude_std, prob;
    int64_t num_layers;
    bool increasing;
    int interpolation;
    pk_floats fill;
} augment_options;

enum { RANDOM_FILTER = 2 };

static const pk_field fields[] = {
    {.name = "magnitude", .type = PK_FLOAT, .offset = offsetof(augment_options, magnitude), .def = 9, .min = 0,
     .max = 10, .doc = "strength (timm's m)"},
    {.name = "magnitude_std", .type = PK_FLOAT, .offset = offsetof(augment_options, magnitude_std), .def = 0.5,
     .min = 0, .max = 100, .doc = "deviation of the strength, which stays within 0..10 (mstd)"},
    {.name = "num_layers", .type = PK_INT, .offset = offsetof(augment_options, num_layers), .def = 2, .min = 1,
     .max = 16, .doc = "changes drawn a picture (n)"},
    {.name = "prob", .type = PK_FLOAT, .offset = offsetof(augment_options, prob), .def = 0.5, .min = 0, .max = 1,
     .doc = "probability that a drawn change is done (p)"},
    {.name = "increasing", .type = PK_BOOL, .offset = offsetof(augment_options, increasing), .def = 1,
     .doc = "posterize, solarize and the four enhancements grow with the strength (inc)"},
    {.name = "interpolation", .type = PK_ENUM, .offset = offsetof(augment_options, interpolation),
     .def = RANDOM_FILTER, .choices = PK_FILTERS "|random", .doc = "filter of rotations, shears, shifts"},
    {.name = "fill", .type = PK_FLOATS, .offset = offsetof(augment_options, fill), .def = NAN, .min = 0, .max = 255,
     .doc = "where they leave nothing: a number, or one a channel (none: ImageNet's mean 124, 116, 104)"},
};

static pk_status infer(const void *options, pk_extent *e) {
    const augment_options *o = options;
    PK_RETURN_IF(e->c != 1 && e->c != 3, PK_EINVAL, "rand_augment: wants 1 or 3 channels, got %lld", (long long)e->c);
    PK_RETURN_IF(o->fill.n > 1 && o->fill.n != e->c, PK_EINVAL,
                 "rand_augment: fill has %d numbers, the data %lld channels", o->fill.n, (long long)e->c);
    return PK_OK;
}

static int64_t scratch(const pk_extent *from, const pk_extent *to) {
    (void)to;
    return pk_extent_bytes(from);
}

static void set_fill(const pk_floats *given, int64_t c, uint8_t fill[3]) {
    static const uint8_t mean[3] = {124, 116, 104};
    for (int64_t k = 0; k < 3; k++)
        fill[k] = given->n == 0 ? mean[c == 1 ? 1 : k] : (uint8_t)lround(given->v[given->n == 1 ? 0 : k % given->n]);
}

/* What layer number `layer` does; false: nothing. */
static bool draw(const augment_options *o, uint64_t stream, uint64_t layer, pk_augment_step *a) {
    uint64_t draws = pk_random_bits(stream, layer);
    if ((double)pk_random_uniform(draws, 1) >= o->prob) return false;
    double level = o->magnitude + o->magnitude_std * (double)pk_random_normal(draws, 2);
    a->op = (pk_augment_op)pk_random_below(draws, 0, PK_AUGMENT_OPS);
    a->value = pk_augment_value(a->op, level < 0 ? 0 : level > 10 ? 10 : level, o->increasing,
                                pk_random_uniform(draws, 3) > 0.5f);
    a->filter = o->interpolation == RANDOM_FILTER ? (pk_filter)pk_random_below(draws, 4, 2)
                                                  : (pk_filter)o->interpolation;
    return true;
}

static void rand_augment(const pk_step *s) {
    const augment_options *o = s->options;
    size_t bytes = (size_t)pk_extent_bytes(&s->from);
    const uint8_t *now = s->in;
    uint8_t *next = s->out, *other = s->scratch;
    pk_augment_step a;
    set_fill(&o->fill, s->from.c, a.fill);
    for (int64_t layer = 0; layer < o->num_layers; layer++) {
        if (!draw(o, s->stream, (uint64_t)layer, &a)) continue;
        const pk_bytes_map p = {now, next, s->from.h, s->from.w, s->from.c};
        pk_augment_apply(&a, &p);
        now = next;
        next = other;
        other = (uint8_t *)(uintptr_t)now;
    }
    if (now != s->out) memcpy(s->out, now, bytes);
}

const pk_transform_kind pk_transform_rand_augment = {
    .name = "rand_augment", .doc = "a few changes of colour and geometry drawn at random (before to_float)",
    .options_size = sizeof(augment_options), .fields = fields, .nfields = sizeof fields / sizeof *fields,
    .spatial = true, .takes = PK_TAKES_BYTES, .infer = infer, .apply = rand_augment, .scratch = scratch};
