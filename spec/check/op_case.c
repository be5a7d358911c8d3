/* Reading cases, drawing inputs of each domain, and running an op forward and back. */
#include "op_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/autograd.h"

/* ---- reading ---- */

static const pk_arg *arg_of(const pk_op *op, const char *name, size_t length, int at, int *place) {
    for (int i = 0; i < PK_MAX_IN && op->args[i].name; i++) {
        if (strlen(op->args[i].name) != length || strncmp(op->args[i].name, name, length)) continue;
        *place = op->args[i].flags & PK_VARIADIC && at > i ? at : i;
        return &op->args[i];
    }
    return NULL;
}

static float draw(check_options *o, pk_domain domain) {
    float u = check_uniform(o);
    if (domain == PK_POSITIVE) return 1 + 0.5f * u;
    if (domain == PK_UNIT || domain == PK_PROBABILITY || domain == PK_CLASS) return 0.5f + 0.5f * u;
    return u;
}

static void normalise_rows(float *p, int64_t n, int64_t width) {
    for (int64_t r = 0; r + width <= n; r += width) {
        float sum = 0;
        for (int64_t i = 0; i < width; i++) sum += p[r + i];
        for (int64_t i = 0; i < width; i++) p[r + i] /= sum;
    }
}

static void fill(check_options *o, op_case *c, const pk_arg *arg, pk_tensor *t) {
    int64_t n = pk_numel(t), classes = c->in[0]->ndim ? c->in[0]->shape[c->in[0]->ndim - 1] : 1;
    if (t->dtype == PK_INT32) {
        for (int64_t i = 0; i < n; i++) pk_i32(t)[i] = check_between(o, 1, (int)classes);
        return;
    }
    for (int64_t i = 0; i < n; i++) pk_f32(t)[i] = draw(o, arg->domain);
    if (arg->domain == PK_PROBABILITY || arg->domain == PK_CLASS) normalise_rows(pk_f32(t), n, classes);
}

static bool read_input(check_options *o, op_case *c, const char *word, int length) {
    const char *colon = memchr(word, ':', (size_t)length);
    int64_t shape[PK_MAX_DIMS];
    int ndim = 0, place;
    if (!colon) return false;
    const pk_arg *arg = arg_of(c->op, word, (size_t)(colon - word), c->nin, &place);
    for (const char *p = colon + 1; p < word + length && ndim < PK_MAX_DIMS; p++) {
        char *end;
        shape[ndim++] = strtoll(p, &end, 10);
        p = end;
    }
    if (!arg) return false;
    bool labels = (arg->flags & PK_LABELS) || ((arg->flags & PK_MAY_BE_LABELS) && ndim == 1);
    if (pk_tensor_new(labels ? PK_INT32 : PK_FLOAT32, ndim, shape, &c->in[place])) return false;
    c->smooth[place] = !labels && !(arg->flags & PK_NO_GRAD);
    fill(o, c, arg, c->in[place]);
    int64_t n = pk_numel(c->in[place]);
    c->value[place] = malloc((size_t)n * sizeof(double) + 8);
    for (int64_t i = 0; i < n; i++)
        c->value[place][i] = labels ? (double)pk_i32(c->in[place])[i] : (double)pk_f32(c->in[place])[i];
    if (c->nin <= place) c->nin = place + 1;
    return true;
}

static bool read_param(op_case *c, const char *word, int length) {
    char name[64], text[256];
    const char *equals = memchr(word, '=', (size_t)length);
    if (!equals || equals - word > 63 || length - (equals - word) > 255) return false;
    snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    snprintf(text, sizeof text, "%.*s", (int)(word + length - equals - 1), equals + 1);
    return pk_schema_parse(c->op->name, c->op->fields, c->op->nfields, c->params, name, text) == PK_OK;
}

static bool read_case(check_options *o, op_case *c) {
    bool inputs = true;
    for (const char *p = c->text; *p;) {
        int length = (int)strcspn(p, " ");
        if (length == 1 && *p == '|') inputs = false;
        else if (length && !(inputs ? read_input(o, c, p, length) : read_param(c, p, length))) return false;
        p += length;
        p += strspn(p, " ");
    }
    return c->nin > 0;
}

static int64_t meta_size(const pk_meta *m) {
    int64_t n = 1;
    for (int d = 0; d < m->ndim; d++) n *= m->shape[d];
    return n;
}

bool op_case_open(check_options *o, const pk_op *op, const char *text, op_case *c) {
    *c = (op_case){.op = op, .text = text, .params = calloc(1, op->params_size + 8)};
    pk_schema_defaults(op->fields, op->nfields, c->params, op->params_size);
    if (!check_that(o, read_case(o, c), "%s: cannot read case \"%s\"", op->name, text)) return false;
    c->call = (pk_call){.op = op, .params = c->params, .nin = c->nin};
    memcpy(c->call.in, c->in, sizeof c->in);
    pk_status status = op->infer(&c->call);
    if (!check_that(o, status == PK_OK, "%s \"%s\": %s", op->name, text, pk_message())) return false;
    c->nout = c->call.nout;
    for (int k = 0; k < c->nout; k++) {
        c->size[k] = meta_size(&c->call.meta[k]);
        c->out[k] = malloc((size_t)c->size[k] * sizeof(double) + 8);
        if ((op->outputs_no_grad >> k & 1) || c->call.meta[k].dtype != PK_FLOAT32) continue;
        c->cotangent[k] = malloc((size_t)c->size[k] * sizeof(float) + 8);
        check_fill(o, c->cotangent[k], c->size[k]);
    }
    op_case_refresh(c);
    return true;
}

void op_case_close(op_case *c) {
    for (int i = 0; i < PK_MAX_IN; i++) {
        pk_tensor_release(c->in[i]);
        free(c->value[i]);
    }
    for (int k = 0; k < PK_MAX_OUT; k++) {
        free(c->out[k]);
        free(c->cotangent[k]);
    }
    free(c->params);
}

void op_case_refresh(op_case *c) { c->op->reference(&c->call, (const double *const *)c->value, c->out); }

double op_case_loss(op_case *c) {
    double loss = 0;
    op_case_refresh(c);
    for (int k = 0; k < c->nout; k++)
        for (int64_t i = 0; c->cotangent[k] && i < c->size[k]; i++) loss += c->out[k][i] * (double)c->cotangent[k][i];
    return loss;
}

/* ---- running ---- */

static pk_status cotangent_of(const op_case *c, int k, pk_tensor **g) {
    PK_TRY(pk_tensor_new(PK_FLOAT32, c->call.meta[k].ndim, c->call.meta[k].shape, g));
    memcpy(pk_f32(*g), c->cotangent[k], (size_t)c->size[k] * sizeof(float));
    return PK_OK;
}

/* *total += the sum of out * g, through the graph. */
static pk_status add_loss(pk_tensor *out, pk_tensor *g, pk_tensor **total) {
    pk_tensor *product = NULL, *sum = NULL, *next = NULL;
    pk_status status = pk_apply1(pk_op_find("mul"), NULL, (pk_tensor *[]){out, g}, 2, &product);
    if (status == PK_OK) status = pk_apply1(pk_op_find("sum"), NULL, &product, 1, &sum);
    if (status == PK_OK && *total) status = pk_apply1(pk_op_find("add"), NULL, (pk_tensor *[]){*total, sum}, 2, &next);
    pk_tensor_release(product);
    if (status != PK_OK || !*total) {
        if (!*total) *total = sum;
        else pk_tensor_release(sum);
        return status;
    }
    pk_tensor_release(*total);
    pk_tensor_release(sum);
    *total = next;
    return status;
}

static pk_status backward_all(const op_case *c, op_result *r) {
    int smooth = 0, last = 0;
    pk_tensor *total = NULL, *g = NULL;
    pk_status status = PK_OK;
    for (int k = 0; k < r->nout; k++)
        if (c->cotangent[k]) smooth++, last = k;
    if (smooth == 1) {
        status = cotangent_of(c, last, &g);
        if (status == PK_OK) status = pk_backward(r->out[last], g);
        pk_tensor_release(g);
        return status;
    }
    for (int k = 0; k < r->nout && status == PK_OK; k++, g = NULL) {
        if (!c->cotangent[k]) continue;
        status = cotangent_of(c, k, &g);
        if (status == PK_OK) status = add_loss(r->out[k], g, &total);
        pk_tensor_release(g);
    }
    if (status == PK_OK && total) status = pk_backward(total, NULL);
    pk_tensor_release(total);
    return status;
}

pk_status op_run(const op_case *c, pk_tensor *const *in, const bool *wants, op_result *r) {
    pk_tensor *leaf[PK_MAX_IN] = {0};
    bool any = false;
    pk_status status = PK_OK;
    *r = (op_result){0};
    for (int i = 0; i < c->nin && status == PK_OK; i++) {
        if (!in[i]) continue;
        status = pk_tensor_alias(in[i], &leaf[i]);
        if (status == PK_OK && wants && wants[i]) any = leaf[i]->requires_grad = true;
    }
    if (status == PK_OK) status = pk_apply(c->op, c->params, leaf, c->nin, r->out, &r->nout);
    if (status == PK_OK && any) status = backward_all(c, r);
    for (int i = 0; i < c->nin; i++) {
        if (leaf[i]) {
            r->grad[i] = leaf[i]->grad;
            leaf[i]->grad = NULL;
        }
        pk_tensor_release(leaf[i]);
    }
    return status;
}

void op_result_free(op_result *r) {
    for (int i = 0; i < PK_MAX_OUT; i++) pk_tensor_release(r->out[i]);
    for (int i = 0; i < PK_MAX_IN; i++) pk_tensor_release(r->grad[i]);
    *r = (op_result){0};
}
