/* Every op of the registry, every case of it: forward against the op's reference in double, backward against central
 * differences of that reference, at every instruction set; threads, strides, memory that runs out, wrong shapes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "op_case.h"

enum { PROBES = 24, SMALL = 4096 };

static bool any_smooth(const op_case *c) {
    for (int i = 0; i < c->nin; i++)
        if (c->smooth[i]) return c->op->backward || c->op->is_view;
    return false;
}

static const bool *wanted(const op_case *c) { return any_smooth(c) ? c->smooth : NULL; }

static double number_at(const pk_tensor *t, int64_t i) {
    int64_t index[PK_MAX_DIMS];
    for (int d = t->ndim - 1; d >= 0; d--) {
        index[d] = i % t->shape[d];
        i /= t->shape[d];
    }
    return pk_tensor_get(t, index);
}

/* ---- values ---- */

static double largest(const double *p, int64_t n) {
    double m = 0;
    for (int64_t i = 0; i < n; i++) m = fmax(m, fabs(p[i]));
    return m;
}

static void compare_forward(check_options *o, const op_case *c, const op_result *r, const char *how) {
    double tolerance = c->op->tolerance > 0 ? c->op->tolerance : 1e-5;
    check_that(o, r->nout == c->nout, "%s \"%s\" %s: %d outputs instead of %d", c->op->name, c->text, how, r->nout,
               c->nout);
    for (int k = 0; k < r->nout && k < c->nout; k++) {
        double worst = 0, scale = largest(c->out[k], c->size[k]);
        int64_t at = 0;
        const pk_meta *m = &c->call.meta[k];
        if (!check_that(o, !strcmp(pk_shape_text(r->out[k]), pk_dims_text(m->ndim, m->shape)),
                        "%s \"%s\" %s: output %d has shape %s, not %s", c->op->name, c->text, how, k,
                        pk_shape_text(r->out[k]), pk_dims_text(m->ndim, m->shape)) ||
            c->size[k] == 0)
            continue;
        for (int64_t i = 0; i < c->size[k]; i++) {
            double got = number_at(r->out[k], i), e = got == c->out[k][i] ? 0 : fabs(got - c->out[k][i]);
            if (e > worst || isnan(e)) worst = e, at = i;
            if (isnan(e)) break;
        }
        check_that(o, worst <= tolerance * fmax(scale, 1e-3),
                   "%s \"%s\" %s: output %d element %lld is %.9g, not %.9g (largest %g)", c->op->name, c->text, how, k,
                   (long long)at, number_at(r->out[k], at), c->out[k][at], scale);
    }
}

/* Central differences at some elements of each input, found once for all instruction sets. */
typedef struct probes {
    int n[PK_MAX_IN];
    int64_t at[PK_MAX_IN][PROBES];
    double slope[PK_MAX_IN][PROBES];
} probes;

/* Fewer for the large cases: the reference is slow. */
static int probes_for(const op_case *c) {
    pk_macs m = {.run = (double)c->size[0], .density = 1};
    bool counted = !c->op->macs || c->op->macs(&c->call, &m) == PK_OK;
    return counted && m.run <= 5e5 ? PROBES : 4;
}

/* Slope of the loss along one element. False where it has a corner (a maximum's two sides meet there): the slopes on
 * both sides differ by far more than curvature makes them. */
static bool slope_at(op_case *c, int i, int64_t at, double here, double *slope) {
    const double h = 1e-6, was = c->value[i][at];
    c->value[i][at] = was + h;
    const double above = op_case_loss(c);
    c->value[i][at] = was - h;
    const double below = op_case_loss(c);
    c->value[i][at] = was;
    *slope = (above - below) / (2 * h);
    return fabs(above + below - 2 * here) / h < 1e-2 * fmax(1, fabs(*slope));
}

static void take_probes(check_options *o, op_case *c, probes *p) {
    const int most = probes_for(c);
    const double here = op_case_loss(c);
    for (int i = 0; i < c->nin; i++) {
        int64_t n = c->in[i] && c->smooth[i] ? pk_numel(c->in[i]) : 0;
        const int wanted = (int)(n < most ? n : most);
        p->n[i] = 0;
        for (int k = 0; k < 2 * wanted && p->n[i] < wanted; k++) {
            const int64_t at = n <= most ? k % n : (int64_t)(check_random(o) % (uint64_t)n);
            double slope;
            if (!slope_at(c, i, at, here, &slope)) continue;
            p->at[i][p->n[i]] = at;
            p->slope[i][p->n[i]++] = slope;
        }
    }
    op_case_refresh(c);
}

static void compare_backward(check_options *o, const op_case *c, const op_result *r, const probes *p, const char *how) {
    for (int i = 0; i < c->nin; i++) {
        if (!p->n[i] ||
            !check_that(o, r->grad[i] != NULL, "%s \"%s\" %s: no gradient to input %d", c->op->name, c->text, how, i))
            continue;
        if (!check_that(o, pk_same_shape(r->grad[i], c->in[i]), "%s \"%s\" %s: gradient of input %d has shape %s",
                        c->op->name, c->text, how, i, pk_shape_text(r->grad[i])))
            continue;
        double scale = fmax(1e-3, largest(p->slope[i], p->n[i])), worst = 0;
        int at = 0;
        for (int k = 0; k < p->n[i]; k++) {
            double e = fabs((double)pk_f32(r->grad[i])[p->at[i][k]] - p->slope[i][k]);
            if (e > worst || isnan(e)) worst = e, at = k;
            if (isnan(e)) break;
        }
        check_that(o, worst <= 1e-4 * scale,
                   "%s \"%s\" %s: gradient of input %d element %lld is %.9g, not %.9g (largest %g)", c->op->name,
                   c->text, how, i, (long long)p->at[i][at], (double)pk_f32(r->grad[i])[p->at[i][at]], p->slope[i][at],
                   scale);
    }
}

static void check_values(check_options *o, op_case *c) {
    probes p = {0};
    if (any_smooth(c)) take_probes(o, c, &p);
    const char *was = pk_isa();
    for (int level = 0; level < PK_ISA_COUNT; level++) {
        op_result r;
        if (!pk_isa_supported((pk_isa_level)level) || pk_set_isa(pk_isa_name((pk_isa_level)level))) continue;
        pk_status status = op_run(c, c->in, wanted(c), &r);
        if (check_that(o, status == PK_OK, "%s \"%s\" %s: %s", c->op->name, c->text, pk_isa(), pk_message())) {
            compare_forward(o, c, &r, pk_isa());
            compare_backward(o, c, &r, &p, pk_isa());
        }
        op_result_free(&r);
    }
    pk_set_isa(was);
}

/* ---- the same to the bit ---- */

static bool same_bits(const pk_tensor *a, const pk_tensor *b) {
    if (!a || !b) return a == b;
    if (!pk_same_shape(a, b)) return false;
    for (int64_t i = 0; i < pk_numel(a); i++) {
        double x = number_at(a, i), y = number_at(b, i);
        if (memcmp(&x, &y, sizeof x)) return false;
    }
    return true;
}

static bool same_results(const op_result *a, const op_result *b) {
    bool same = a->nout == b->nout;
    for (int k = 0; same && k < a->nout; k++) same = same_bits(a->out[k], b->out[k]);
    for (int i = 0; same && i < PK_MAX_IN; i++) same = same_bits(a->grad[i], b->grad[i]);
    return same;
}

static void check_threads(check_options *o, const op_case *c) {
    op_result first, r;
    int was = pk_threads();
    pk_set_threads(1);
    pk_status status = op_run(c, c->in, wanted(c), &first);
    for (int n = 2; n <= 4 && status == PK_OK; n++) {
        pk_set_threads(n);
        status = op_run(c, c->in, wanted(c), &r);
        check_that(o, status == PK_OK && same_results(&first, &r), "%s \"%s\": %d threads give other bits than one",
                   c->op->name, c->text, n);
        op_result_free(&r);
    }
    pk_set_threads(was);
    op_result_free(&first);
}

/* Each gradient alone is what it is together with the others. */
static void check_single_needs(check_options *o, const op_case *c) {
    op_result all, one;
    if (!any_smooth(c) || op_run(c, c->in, c->smooth, &all)) return;
    for (int i = 0; i < c->nin; i++) {
        bool wants[PK_MAX_IN] = {false};
        if (!c->in[i] || !c->smooth[i]) continue;
        wants[i] = true;
        pk_status status = op_run(c, c->in, wants, &one);
        check_that(o, status == PK_OK && same_bits(all.grad[i], one.grad[i]),
                   "%s \"%s\": the gradient of input %d alone differs", c->op->name, c->text, i);
        op_result_free(&one);
    }
    op_result_free(&all);
}

/* ---- strides ---- */

/* The values of t in a window of a larger tensor that is NaN elsewhere: a slice of channels, or dimensions reversed. */
static pk_status strided_twin(const pk_tensor *t, bool reversed, pk_tensor **out) {
    int64_t shape[PK_MAX_DIMS], stride[PK_MAX_DIMS], step = 1;
    pk_tensor *parent;
    for (int d = 0; d < t->ndim; d++) shape[d] = t->shape[reversed ? t->ndim - 1 - d : d] + (d == t->ndim - 1 ? 5 : 0);
    PK_TRY(pk_tensor_new(t->dtype, t->ndim, shape, &parent));
    pk_tensor_fill(parent, t->dtype == PK_FLOAT32 ? NAN : -1);
    for (int d = t->ndim - 1; d >= 0; d--) {
        stride[reversed ? t->ndim - 1 - d : d] = step;
        step *= shape[d];
    }
    pk_status status = pk_tensor_window(parent, t->ndim, t->shape, stride, t->ndim ? 3 : 0, out);
    pk_tensor_release(parent);
    return status == PK_OK ? pk_tensor_copy(*out, t) : status;
}

static void check_strides(check_options *o, const op_case *c, bool reversed) {
    pk_tensor *in[PK_MAX_IN] = {0};
    op_result packed, r;
    const char *how = reversed ? "reversed dimensions" : "channel slices";
    pk_status status = op_run(c, c->in, wanted(c), &packed);
    for (int i = 0; i < c->nin && status == PK_OK; i++)
        if (c->in[i]) status = strided_twin(c->in[i], reversed, &in[i]);
    if (status == PK_OK) {
        status = op_run(c, in, wanted(c), &r);
        if (check_that(o, status == PK_OK, "%s \"%s\" %s: %s", c->op->name, c->text, how, pk_message()))
            compare_forward(o, c, &r, how);
        for (int i = 0; i < c->nin && status == PK_OK; i++) {
            if (!packed.grad[i]) continue;
            double worst = 0, scale = 1e-3;
            for (int64_t k = 0; k < pk_numel(packed.grad[i]); k++) {
                double a = (double)pk_f32(packed.grad[i])[k], e = fabs(a - number_at(r.grad[i], k));
                scale = fmax(scale, fabs(a));
                worst = e > worst || isnan(e) ? e : worst;
                if (isnan(e)) break;
            }
            check_that(o, worst <= 1e-5 * scale, "%s \"%s\" %s: gradient of input %d is off by %g of %g", c->op->name,
                       c->text, how, i, worst, scale);
        }
        op_result_free(&r);
    }
    for (int i = 0; i < c->nin; i++) pk_tensor_release(in[i]);
    op_result_free(&packed);
}

/* ---- memory that runs out ---- */

static void check_no_memory(check_options *o, const op_case *c, bool persist) {
    for (int i = 0; i < c->nin; i++)
        if (c->in[i] && pk_numel(c->in[i]) > SMALL) return;
    int64_t live = pk_memory_stats().live;
    for (int64_t n = 1; n < 1000; n++) {
        op_result r;
        pk_alloc_fail_at(n, persist);
        pk_status status = op_run(c, c->in, wanted(c), &r);
        bool reached = pk_alloc_count() >= n;
        pk_alloc_fail_at(0, false);
        op_result_free(&r);
        check_that(o, status == PK_OK || (reached && status == PK_ENOMEM),
                   "%s \"%s\": allocation %lld fails%s: status %d (%s)", c->op->name, c->text, (long long)n,
                   persist ? " for good" : "", status, pk_message());
        if (!check_that(o, pk_memory_stats().live == live, "%s \"%s\": allocation %lld fails%s: %lld bytes leak",
                        c->op->name, c->text, (long long)n, persist ? " for good" : "",
                        (long long)(pk_memory_stats().live - live)))
            live = pk_memory_stats().live;
        if (!reached) return;
    }
}

/* ---- wrong shapes ---- */

static void check_shape(check_options *o, const op_case *c, int i, int ndim, const int64_t *shape) {
    pk_tensor *in[PK_MAX_IN];
    op_result r;
    memcpy(in, c->in, sizeof in);
    if (ndim < 0 || ndim > PK_MAX_DIMS || pk_tensor_zeros(c->in[i]->dtype, ndim, shape, &in[i])) return;
    pk_status status = op_run(c, in, NULL, &r);
    bool named = status == PK_EINVAL && strncmp(pk_message(), c->op->name, strlen(c->op->name)) == 0;
    check_that(o, status == PK_OK || named, "%s \"%s\": input %d of shape %s: status %d, message \"%s\"", c->op->name,
               c->text, i, pk_dims_text(ndim, shape), status, pk_message());
    pk_tensor_release(in[i]);
    op_result_free(&r);
}

/* Input i with a dimension more, less, other sizes: refused by name or fine, never worse. */
static void check_shapes(check_options *o, const op_case *c) {
    for (int i = 0; i < c->nin; i++) {
        if (!c->in[i] || pk_numel(c->in[i]) > SMALL) continue;
        int64_t shape[PK_MAX_DIMS + 1] = {0};
        int ndim = c->in[i]->ndim;
        memcpy(shape, c->in[i]->shape, sizeof c->in[i]->shape);
        shape[ndim] = 2;
        check_shape(o, c, i, ndim + 1, shape);
        check_shape(o, c, i, ndim - 1, shape);
        check_shape(o, c, i, 0, shape);
        for (int d = 0; d < ndim; d++) {
            int64_t was = shape[d];
            for (int64_t size = 0; size < 4; size++) {
                shape[d] = size == 3 ? was + 1 : size;
                check_shape(o, c, i, ndim, shape);
            }
            shape[d] = was;
        }
    }
}

static void check_missing(check_options *o, const pk_op *op) {
    pk_tensor *out[PK_MAX_OUT];
    int nout;
    pk_status status = pk_apply(op, NULL, NULL, 0, out, &nout);
    check_that(o, status == PK_EINVAL && strncmp(pk_message(), op->name, strlen(op->name)) == 0,
               "%s without inputs: status %d, message \"%s\"", op->name, status, pk_message());
}

static void check_case(check_options *o, const pk_op *op, const char *text) {
    op_case c;
    if (op_case_open(o, op, text, &c)) {
        check_values(o, &c);
        check_threads(o, &c);
        check_single_needs(o, &c);
        check_strides(o, &c, false);
        check_strides(o, &c, true);
        check_no_memory(o, &c, false);
        check_no_memory(o, &c, true);
        check_shapes(o, &c);
    }
    op_case_close(&c);
}

int check_ops(check_options *o) {
    if (o->bench) return 0;
    for (int i = 0; pk_op_at(i); i++) {
        const pk_op *op = pk_op_at(i);
        if (!check_wanted(o, op->name) && !check_wanted(o, "ops")) continue;
        check_missing(o, op);
        check_that(o, op->doc && op->reference && op->cases && op->cases[0], "%s: doc, reference or cases are missing",
                   op->name);
        for (int k = 0; op->cases && op->reference && op->cases[k]; k++) check_case(o, op, op->cases[k]);
    }
    return 0;
}
