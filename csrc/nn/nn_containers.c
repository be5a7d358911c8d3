/* Containers: Sequential, Residual, Concat, Parallel; and Lambda, a function of the host language as a module. */
#include <stdio.h>
#include <string.h>

#include "nn/args.h"
#include "nn/fields.h"
#include "nn/merge.h"

typedef struct no_options {
    char none;
} no_options;

typedef struct dim_options {
    int64_t dim;
} dim_options;

static const pk_field dim_fields[] = {F_DIM(dim_options, dim, -1, "dimension to join along (default the last, channels)")};

/* ---- Sequential ---- */

static pk_status sequential_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *now = pk_tensor_retain(x);
    for (int i = 0; i < m->nchildren; i++) {
        pk_tensor *next;
        pk_status status = pk_module_forward_child(m, i, now, &next);
        pk_tensor_release(now);
        if (status != PK_OK) return status;
        now = next;
    }
    *y = now;
    return PK_OK;
}

static pk_status sequential_merge(pk_module *m, pk_merge *r) {
    return pk_merge_asked(r)->batch_norms ? pk_merge_sequence(m, r) : PK_OK;
}

/* The last child is what an affine behind meets, the first one what it meets in front. */
static pk_status sequential_absorb(pk_module *m, const pk_affine *a, bool behind, bool *done) {
    int step = behind ? -1 : 1, i = behind ? m->nchildren - 1 : 0;
    while (i >= 0 && i < m->nchildren && m->child[i].module->cls == &pk_class_Identity) i += step;
    return i >= 0 && i < m->nchildren ? pk_absorb(m->child[i].module, a, behind, done) : PK_OK;
}

const pk_class pk_class_Sequential = {
    .name = "Sequential",
    .doc = "Children one after another.",
    .options_size = sizeof(no_options),
    .forward = sequential_forward,
    .container = true,
    .merge = sequential_merge,
    .absorb = sequential_absorb,
};

/* ---- Residual ---- */

static pk_status residual_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *branch;
    PK_TRY(sequential_forward(m, x, &branch));
    pk_status status = pk_run2(&pk_op_add, x, branch, y);
    pk_tensor_release(branch);
    return status;
}

const pk_class pk_class_Residual = {
    .name = "Residual",
    .doc = "x + f(x), f its children one after another.",
    .options_size = sizeof(no_options),
    .forward = residual_forward,
    .container = true,
    .merge = sequential_merge, /* inside the branch */
};

/* ---- Concat and Parallel ---- */

static pk_status join(pk_module *m, pk_tensor *const *part, int n, pk_tensor **y) {
    return pk_run_layer(&pk_op_concat, m, part, n, y);
}

static pk_status check_children(const pk_module *m) {
    PK_RETURN_IF(m->nchildren < 1 || m->nchildren > PK_MAX_IN, PK_EINVAL, "%s: has %d children, wants 1 to %d",
                 m->cls->name, m->nchildren, PK_MAX_IN);
    return PK_OK;
}

static pk_status concat_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *part[PK_MAX_IN] = {0};
    PK_TRY(check_children(m));
    const int n = m->nchildren; /* a Lambda may add children meanwhile */
    pk_status status = PK_OK;
    for (int i = 0; i < n && status == PK_OK; i++) status = pk_module_forward_child(m, i, x, &part[i]);
    if (status == PK_OK) status = join(m, part, n, y);
    for (int i = 0; i < n; i++) pk_tensor_release(part[i]);
    return status;
}

const pk_class pk_class_Concat = {
    .name = "Concat",
    .doc = "Every child sees x; their outputs are joined along dim.",
    .options_size = sizeof(dim_options),
    .fields = dim_fields,
    .nfields = F_COUNT(dim_fields),
    .forward = concat_forward,
    .container = true,
};

/* Equal slices of x along dim; the last child takes what is left over. */
static pk_status slice(pk_tensor *x, int dim, int64_t start, int64_t length, pk_tensor **out) {
    pk_args args;
    pk_args_begin(&args, &pk_op_narrow);
    pk_args_set(&args, "dim", dim);
    pk_args_set(&args, "start", (double)start);
    pk_args_set(&args, "length", (double)length);
    return pk_args_run(&args, &x, 1, out);
}

static pk_status parallel_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    pk_tensor *part[PK_MAX_IN] = {0};
    PK_TRY(check_children(m));
    int64_t wanted = ((const dim_options *)m->options)->dim;
    int dim = (int)(wanted < 0 ? x->ndim + wanted : wanted), n = m->nchildren;
    PK_RETURN_IF(dim >= x->ndim || dim < 0, PK_EINVAL, "Parallel: dim %d of an input %s", dim + 1, pk_shape_text(x));
    PK_RETURN_IF(x->shape[dim] < n, PK_EINVAL, "Parallel: %d children cannot share %lld slices of %s", n,
                 (long long)x->shape[dim], pk_shape_text(x));
    int64_t each = x->shape[dim] / n;
    pk_status status = PK_OK;
    for (int i = 0; i < n && status == PK_OK; i++) {
        pk_tensor *mine;
        status = slice(x, dim, i * each, i + 1 < n ? each : x->shape[dim] - i * each, &mine);
        if (status != PK_OK) break;
        status = pk_module_forward_child(m, i, mine, &part[i]);
        pk_tensor_release(mine);
    }
    if (status == PK_OK) status = join(m, part, n, y);
    for (int i = 0; i < n; i++) pk_tensor_release(part[i]);
    return status;
}

const pk_class pk_class_Parallel = {
    .name = "Parallel",
    .doc = "Child i sees slice i of x along dim (equal slices, the rest to the last); the outputs are joined along dim.",
    .options_size = sizeof(dim_options),
    .fields = dim_fields,
    .nfields = F_COUNT(dim_fields),
    .forward = parallel_forward,
    .container = true,
};

/* ---- Lambda ---- */

static pk_status lambda_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    PK_RETURN_IF(!m->call_hook, PK_EINVAL, "Lambda: has no function");
    return m->call_hook(m->hook, x, y);
}

const pk_class pk_class_Lambda = {
    .name = "Lambda",
    .doc = "A function of one tensor that returns one tensor.",
    .options_size = sizeof(no_options),
    .forward = lambda_forward,
};

/* ---- Flatten ---- */

static pk_status flatten_forward(pk_module *m, pk_tensor *x, pk_tensor **y) {
    (void)m;
    int64_t n = x->ndim ? x->shape[0] : 1;
    pk_args args;
    pk_args_begin(&args, &pk_op_reshape);
    pk_ints shape = {2, {(int32_t)n, (int32_t)(n ? pk_numel(x) / n : 0)}};
    const pk_field *f = pk_schema_find(pk_op_reshape.fields, pk_op_reshape.nfields, "shape");
    PK_RETURN_IF(!f || f->type != PK_INTS, PK_EINVAL, "Flatten: reshape has no shape");
    memcpy(args.params + f->offset, &shape, sizeof shape);
    return pk_args_run(&args, &x, 1, y);
}

const pk_class pk_class_Flatten = {
    .name = "Flatten",
    .doc = "All but the first dimension in one: {N,...} to {N,rest}.",
    .options_size = sizeof(no_options),
    .forward = flatten_forward,
};
