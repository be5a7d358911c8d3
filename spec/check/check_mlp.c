/* The MLP in tiles: whole numbers come out exact at every level and for any number of threads, whatever the sizes; it is
 * what the ops it stands for give, one after another; --bench: both ways at the sizes of PeLK-T and ConvNeXt-T. */
#include "check.h"

#include <math.h>
#include <stdio.h>

#include "autograd/autograd.h"
#include "core/alloc.h"
#include "core/pool.h"
#include "gen/ops.h"
#include "kernels/kernels.h"

enum { ROUNDS = 60, X = 0, W1, B1, W2, B2, NORM_WEIGHT, NORM_BIAS, GAMMA, SHORTCUT, INPUTS };

typedef struct net {
    int64_t samples, pixels, in, hidden;
    bool norm, recompute;
    double drop;
    pk_tensor *input[INPUTS];
} net;

static pk_tensor *new_tensor(check_options *o, int ndim, const int64_t *shape, bool whole) {
    pk_tensor *t = NULL;
    if (!check_that(o, pk_tensor_new(PK_FLOAT32, ndim, shape, &t) == PK_OK, "mlp: %s", pk_message())) return NULL;
    if (whole) check_fill_whole(o, pk_f32(t), pk_numel(t), 1);
    else check_fill(o, pk_f32(t), pk_numel(t));
    t->requires_grad = true;
    return t;
}

static void make(check_options *o, net *n, bool whole) {
    const int64_t image[] = {n->samples, n->pixels, n->in}, w1[] = {n->hidden, n->in}, w2[] = {n->in, n->hidden};
    n->input[X] = new_tensor(o, 3, image, whole);
    n->input[SHORTCUT] = new_tensor(o, 3, image, whole);
    n->input[W1] = new_tensor(o, 2, w1, whole);
    n->input[W2] = new_tensor(o, 2, w2, whole);
    n->input[B1] = new_tensor(o, 1, &n->hidden, whole);
    for (int i = B2; i <= GAMMA; i++)
        if (n->norm || (i != NORM_WEIGHT && i != NORM_BIAS)) n->input[i] = new_tensor(o, 1, &n->in, whole);
}

static void drop_gradients(net *n) {
    for (int i = 0; i < INPUTS; i++) {
        if (!n->input[i]) continue;
        pk_tensor_release(n->input[i]->grad);
        n->input[i]->grad = NULL;
    }
}

static void free_net(net *n) {
    drop_gradients(n);
    for (int i = 0; i < INPUTS; i++) pk_tensor_release(n->input[i]);
}

static pk_status fused(net *n, pk_tensor **y) {
    char params[256];
    const pk_op *op = &pk_op_mlp;
    pk_schema_defaults(op->fields, op->nfields, params, op->params_size);
    pk_schema_set(op->fields, op->nfields, params, "norm", n->norm);
    pk_schema_set(op->fields, op->nfields, params, "p", n->drop);
    pk_schema_set(op->fields, op->nfields, params, "recompute", n->recompute ? 1 : 2);
    return pk_apply1(op, params, n->input, INPUTS, y);
}

/* The same by the ops of which it consists. */
static pk_status apart(net *n, pk_tensor **y) {
    char params[256];
    pk_tensor **in = n->input, *t[4] = {0};
    const pk_op *residual = &pk_op_scale_residual;
    pk_status status = PK_OK;
    pk_schema_defaults(residual->fields, residual->nfields, params, residual->params_size);
    pk_schema_set(residual->fields, residual->nfields, params, "p", n->drop);
    if (n->norm) PK_TRY_DONE(pk_apply1(&pk_op_layer_norm, NULL, (pk_tensor *[]){in[X], in[NORM_WEIGHT], in[NORM_BIAS]}, 3, &t[0]));
    PK_TRY_DONE(pk_apply1(&pk_op_linear, NULL, (pk_tensor *[]){n->norm ? t[0] : in[X], in[W1], in[B1]}, 3, &t[1]));
    PK_TRY_DONE(pk_apply1(&pk_op_gelu, NULL, &t[1], 1, &t[2]));
    PK_TRY_DONE(pk_apply1(&pk_op_linear, NULL, (pk_tensor *[]){t[2], in[W2], in[B2]}, 3, &t[3]));
    PK_TRY_DONE(pk_apply1(residual, params, (pk_tensor *[]){t[3], in[GAMMA], in[SHORTCUT]}, 3, y));
done:
    for (int i = 0; i < 4; i++) pk_tensor_release(t[i]);
    return status;
}

/* Forward and back; gradients stand in the inputs. */
static pk_status run(net *n, pk_status (*way)(net *n, pk_tensor **y), pk_tensor *dy, pk_tensor **y) {
    drop_gradients(n);
    PK_TRY(way(n, y));
    pk_status status = pk_backward(*y, dy);
    if (status != PK_OK) pk_tensor_release(*y);
    return status;
}

static net draw(check_options *o) {
    static const int hidden[] = {1, 47, 48, 49, 100, 527, 528, 529, 600, 1100};
    net n = {.samples = check_between(o, 1, 4), .pixels = check_between(o, 1, 12), .in = check_between(o, 1, 60)};
    n.hidden = check_between(o, 0, 1) ? check_between(o, 1, 80) : hidden[check_between(o, 0, 9)];
    if (check_between(o, 0, 2) == 0) n.pixels = check_between(o, 190, 420) / n.samples;
    n.recompute = check_between(o, 0, 1);
    n.drop = check_between(o, 0, 2) ? 0 : 0.5;
    return n;
}

/* ---- whole numbers ---- */

static bool same_whole(const pk_tensor *a, const pk_tensor *b) {
    bool same = pk_same_shape(a, b);
    for (int64_t i = 0; same && i < pk_numel(a); i++) same = fabsf(pk_f32(a)[i] - pk_f32(b)[i]) < 1e-30f;
    return same;
}

/* b1 puts what goes into the GELU far from 0, where it is the identity or next to nothing. So all values and gradients are
 * whole numbers that the ops apart give too, in another order of additions. */
static void check_whole(check_options *o, const char *level) {
    net n = draw(o);
    pk_tensor *y[2], *want[INPUTS] = {0};
    make(o, &n, true);
    for (int64_t h = 0; h < n.hidden; h++) pk_f32(n.input[B1])[h] = check_between(o, 0, 1) ? 80 : -80;
    pk_tensor *dy = new_tensor(o, 3, n.input[X]->shape, true);
    bool ok = run(&n, apart, dy, &y[0]) == PK_OK;
    for (int i = 0; i < INPUTS; i++)
        if (n.input[i]) want[i] = pk_tensor_retain(n.input[i]->grad);
    for (int threads = 1; threads <= 3; threads++) {
        pk_set_threads(threads);
        ok = ok && run(&n, fused, dy, &y[1]) == PK_OK;
        bool same = ok && same_whole(y[0], y[1]);
        for (int i = 0; i < INPUTS && same; i++) same = !want[i] || same_whole(want[i], n.input[i]->grad);
        check_that(o, same, "mlp %s: %lld x %lld pixels, %lld channels, %lld hidden, %d threads: whole numbers differ", level,
                   (long long)n.samples, (long long)n.pixels, (long long)n.in, (long long)n.hidden, threads);
        if (ok) pk_tensor_release(y[1]);
    }
    if (ok) pk_tensor_release(y[0]);
    for (int i = 0; i < INPUTS; i++) pk_tensor_release(want[i]);
    pk_tensor_release(dy);
    free_net(&n);
}

/* ---- real numbers ---- */

/* floor: what sums that happen to cancel are held against. */
static double apart_by(const pk_tensor *a, const pk_tensor *b, double floor) {
    double worst = 0, scale = floor;
    for (int64_t i = 0; i < pk_numel(a); i++) {
        const double e = fabs((double)pk_f32(a)[i] - (double)pk_f32(b)[i]);
        worst = e > worst || isnan(e) ? e : worst;
        scale = fmax(scale, fabs((double)pk_f32(b)[i]));
    }
    return worst / scale;
}

static void check_real(check_options *o, const char *level) {
    static const char *const name[] = {"x", "w1", "b1", "w2", "b2", "norm_weight", "norm_bias", "gamma", "shortcut"};
    net n = draw(o);
    pk_tensor *y[2], *want[INPUTS] = {0};
    n.norm = check_between(o, 0, 1);
    const double floor = 0.02 * (double)(n.samples * n.pixels);
    make(o, &n, false);
    pk_tensor *dy = new_tensor(o, 3, n.input[X]->shape, false);
    if (!check_that(o, run(&n, apart, dy, &y[0]) == PK_OK, "mlp apart: %s", pk_message())) return;
    for (int i = 0; i < INPUTS; i++)
        if (n.input[i]) want[i] = pk_tensor_retain(n.input[i]->grad);
    if (!check_that(o, run(&n, fused, dy, &y[1]) == PK_OK, "mlp: %s", pk_message())) return;
    check_that(o, apart_by(y[1], y[0], 0.1) < 1e-5, "mlp %s: y is off by %g", level, apart_by(y[1], y[0], 0.1));
    for (int i = 0; i < INPUTS; i++)
        if (want[i])
            check_that(o, apart_by(n.input[i]->grad, want[i], floor) < 2e-5,
                       "mlp %s: %lld x %lld pixels, %lld channels, %lld hidden: the gradient of %s is off by %g", level,
                       (long long)n.samples, (long long)n.pixels, (long long)n.in, (long long)n.hidden, name[i],
                       apart_by(n.input[i]->grad, want[i], floor));
    for (int i = 0; i < 2; i++) pk_tensor_release(y[i]);
    for (int i = 0; i < INPUTS; i++) pk_tensor_release(want[i]);
    pk_tensor_release(dy);
    free_net(&n);
}

/* ---- bench ---- */

typedef struct bench_job {
    net *n;
    pk_status (*way)(net *n, pk_tensor **y);
    pk_tensor *dy;
} bench_job;

static void bench_run(void *context) {
    const bench_job *j = context;
    pk_tensor *y;
    if ((j->dy ? run(j->n, j->way, j->dy, &y) : j->way(j->n, &y)) == PK_OK) pk_tensor_release(y);
}

static void bench_one(const char *name, net *n, const char *way_name, pk_status (*way)(net *n, pk_tensor **y),
                      pk_tensor *dy) {
    bench_job j = {n, way, dy};
    double seconds, flops = (dy ? 12.0 : 4.0) * (double)(n->samples * n->pixels) * (double)(n->in * n->hidden);
    bool grads = pk_set_grad_enabled(dy != NULL);
    double share = check_share(bench_run, &j, flops, &seconds);
    pk_set_grad_enabled(grads);
    printf("%-12s %-9s %-10s %8.3f ms  %3.0f %% of the peak of %d threads\n", name, dy ? "training" : "inference",
           way_name, seconds * 1e3, 100 * share / pk_threads(), pk_threads());
}

static void bench(check_options *o) {
    static const struct {
        const char *name;
        int64_t pixels, channels;
    } sizes[] = {{"PeLK-T 1", 3136, 124}, {"PeLK-T 2", 784, 249}, {"PeLK-T 3", 196, 499}, {"PeLK-T 4", 49, 998},
                 {"ConvNeXt-T 1", 3136, 96}, {"ConvNeXt-T 3", 196, 384}, {"ConvNeXt-T 4", 49, 768}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int training = 0; training < 2; training++) {
            net n = {.samples = 1 + training, .pixels = sizes[i].pixels, .in = sizes[i].channels,
                     .hidden = 4 * sizes[i].channels, .norm = true, .recompute = true};
            make(o, &n, false);
            pk_tensor *dy = training ? new_tensor(o, 3, n.input[X]->shape, false) : NULL;
            bench_one(sizes[i].name, &n, "apart", apart, dy);
            bench_one(sizes[i].name, &n, "recompute", fused, dy);
            n.recompute = false;
            if (training) bench_one(sizes[i].name, &n, "keep", fused, dy);
            pk_tensor_release(dy);
            free_net(&n);
        }
}

int check_mlp(check_options *o) {
    if (!check_wanted(o, "mlp")) return 0;
    if (o->bench) {
        bench(o);
        return 0;
    }
    const char *was = pk_isa();
    const int threads = pk_threads();
    for (int level = 0; level < PK_ISA_COUNT; level++) {
        if (!pk_isa_supported((pk_isa_level)level) || pk_set_isa(pk_isa_name((pk_isa_level)level))) continue;
        for (int i = 0; i < ROUNDS; i++) {
            check_whole(o, pk_isa());
            pk_set_threads(threads);
            check_real(o, pk_isa());
        }
    }
    pk_set_isa(was);
    return 0;
}
