/* Taking a channel-wise affine into weights: the bodies that the classes of layers share. New tensors take the place of
 * old ones only when all is made, so that a failure leaves the layer as it was. */
#include <string.h>

#include "core/rng.h"
#include "nn/merge.h"

pk_status pk_merge_make(const pk_class *cls, const void *options, pk_module **out) {
    uint64_t state[2];
    pk_random_get_state(state);
    pk_status status = pk_module_new(cls, options, out);
    pk_random_set_state(state);
    if (status == PK_OK) pk_module_train(*out, false);
    return status;
}

void pk_slot_set(pk_slot *s, pk_tensor *t) {
    t->requires_grad = !s->buffer && s->tensor->requires_grad;
    pk_tensor_release(s->tensor);
    s->tensor = t;
}

double pk_module_option(const pk_module *m, const char *name) {
    const pk_field *f = pk_schema_find(m->cls->fields, m->cls->nfields, name);
    if (!f) return 0;
    const char *at = (const char *)m->options + f->offset;
    int64_t i;
    double x;
    int e;
    switch (f->type) {
    case PK_BOOL: return *(const bool *)at;
    case PK_INT: return memcpy(&i, at, sizeof i), (double)i;
    case PK_FLOAT: return memcpy(&x, at, sizeof x), x;
    case PK_ENUM: return memcpy(&e, at, sizeof e), e;
    default: return 0;
    }
}

bool pk_module_pair(const pk_module *m, const char *name, int64_t pair[2]) {
    const pk_field *f = pk_schema_find(m->cls->fields, m->cls->nfields, name);
    if (!f || (f->type != PK_PAIR && f->type != PK_PADDING)) return false;
    memcpy(pair, (const char *)m->options + f->offset, 2 * sizeof *pair);
    return true;
}

pk_status pk_need_bias(pk_module *m, int64_t channels, pk_tensor **bias) {
    if (!pk_module_tensor(m, "bias")) {
        PK_TRY(pk_module_parameter(m, "bias", 1, &channels, PK_INIT_ZEROS, 0));
        pk_module_slot(m, "bias")->tensor->requires_grad = pk_module_tensor(m, "weight")->requires_grad;
        pk_schema_set(m->cls->fields, m->cls->nfields, m->options, "bias", 1);
    }
    *bias = pk_module_tensor(m, "bias");
    return PK_OK;
}

/* A weight and a bias to come, beside those that are. */
typedef struct pair {
    pk_slot *weight, *bias;
    const float *w, *b;
    pk_tensor *new_weight, *new_bias;
} pair;

static pk_status begin(pk_module *m, int64_t outputs, pair *p) {
    pk_tensor *bias;
    memset(p, 0, sizeof *p);
    PK_TRY(pk_need_bias(m, outputs, &bias)); /* may move the slots */
    p->weight = pk_module_slot(m, "weight");
    p->bias = pk_module_slot(m, "bias");
    p->w = pk_f32(p->weight->tensor);
    p->b = pk_f32(bias);
    PK_TRY(pk_tensor_like(p->weight->tensor, &p->new_weight));
    pk_status status = pk_tensor_like(bias, &p->new_bias);
    if (status != PK_OK) pk_tensor_release(p->new_weight);
    return status;
}

static void commit(pair *p, bool *done) {
    pk_slot_set(p->weight, p->new_weight);
    pk_slot_set(p->bias, p->new_bias);
    *done = true;
}

pk_status pk_absorb_rows(pk_module *m, const pk_affine *a, bool *done) {
    const pk_tensor *weight = pk_module_tensor(m, "weight");
    pair p;
    if (weight->shape[0] != a->channels) return PK_OK;
    PK_TRY(begin(m, a->channels, &p));
    int64_t each = pk_numel(weight) / a->channels;
    float *w = pk_f32(p.new_weight), *b = pk_f32(p.new_bias);
    for (int64_t o = 0; o < a->channels; o++) {
        for (int64_t i = 0; i < each; i++) w[o * each + i] = (float)(p.w[o * each + i] * a->scale[o]);
        b[o] = (float)(p.b[o] * a->scale[o] + a->shift[o]);
    }
    commit(&p, done);
    return PK_OK;
}

pk_status pk_absorb_lanes(pk_module *m, const pk_affine *a, bool *done) {
    const pk_tensor *weight = pk_module_tensor(m, "weight");
    int64_t n = pk_numel(weight), channels = weight->shape[weight->ndim - 1];
    pair p;
    if (channels != a->channels) return PK_OK;
    PK_TRY(begin(m, channels, &p));
    float *w = pk_f32(p.new_weight), *b = pk_f32(p.new_bias);
    for (int64_t i = 0; i < n; i++) w[i] = (float)(p.w[i] * a->scale[i % channels]);
    for (int64_t c = 0; c < channels; c++) b[c] = (float)(p.b[c] * a->scale[c] + a->shift[c]);
    commit(&p, done);
    return PK_OK;
}

pk_status pk_absorb_inputs(pk_module *m, const pk_affine *a, int64_t groups, bool *done) {
    const pk_tensor *weight = pk_module_tensor(m, "weight");
    int64_t outputs = weight->shape[0], inputs = weight->shape[weight->ndim - 1];
    pair p;
    if (inputs * groups != a->channels) return PK_OK;
    PK_TRY(begin(m, outputs, &p));
    int64_t each = pk_numel(weight) / outputs, of_group = outputs / groups;
    float *w = pk_f32(p.new_weight), *b = pk_f32(p.new_bias);
    for (int64_t o = 0; o < outputs; o++) {
        const double *scale = a->scale + o / of_group * inputs, *shift = a->shift + o / of_group * inputs;
        double sum = p.b[o];
        for (int64_t i = 0; i < each; i++) {
            double tap = p.w[o * each + i];
            sum += tap * shift[i % inputs];
            w[o * each + i] = (float)(tap * scale[i % inputs]);
        }
        b[o] = (float)sum;
    }
    commit(&p, done);
    return PK_OK;
}

pk_status pk_absorb_input_lanes(pk_module *m, const pk_affine *a, bool *done) {
    const pk_tensor *weight = pk_module_tensor(m, "weight");
    int64_t n = pk_numel(weight), channels = weight->shape[weight->ndim - 1];
    pair p;
    if (channels != a->channels) return PK_OK;
    PK_TRY(begin(m, channels, &p));
    float *w = pk_f32(p.new_weight), *b = pk_f32(p.new_bias);
    for (int64_t c = 0; c < channels; c++) {
        double sum = p.b[c];
        for (int64_t i = c; i < n; i += channels) {
            sum += p.w[i] * a->shift[c];
            w[i] = (float)(p.w[i] * a->scale[c]);
        }
        b[c] = (float)sum;
    }
    commit(&p, done);
    return PK_OK;
}
