/* Which modules op mlp can stand for, and the call. */
#include "nn/mlp_run.h"

#include "nn/args.h"
#include "nn/merge.h"

/* Weight {out,in} or {out,1,1,in}, no stride, no padding, no groups. */
static bool is_pointwise(const pk_module *m) {
    const pk_tensor *w = pk_module_tensor(m, "weight");
    int64_t stride[2], padding[2];
    if (m->cls == &pk_class_Linear) return true;
    if (m->cls != &pk_class_Conv2d || w->shape[1] != 1 || w->shape[2] != 1) return false;
    return pk_module_pair(m, "stride", stride) && stride[0] == 1 && stride[1] == 1 &&
           pk_module_pair(m, "padding", padding) && padding[0] <= 0 && padding[1] <= 0 &&
           pk_module_option(m, "groups") == 1;
}

/* The linear layer that m is, or that is all a Sequential does; null: it is something else. */
static const pk_module *pointwise(const pk_module *m) {
    const pk_module *found = NULL;
    if (m->cls != &pk_class_Sequential) return is_pointwise(m) ? m : NULL;
    for (int i = 0; i < m->nchildren; i++) {
        const pk_module *child = m->child[i].module;
        if (child->cls == &pk_class_Identity) continue;
        if (found || !is_pointwise(child)) return NULL;
        found = child;
    }
    return found;
}

bool pk_mlp_at_once(const pk_mlp_parts *p) { return !pk_module_watched() && pointwise(p->fc1) && pointwise(p->fc2); }

bool pk_mlp_takes_norm(const pk_mlp_parts *p) {
    const bool known = !p->norm || p->norm->cls == &pk_class_LayerNorm || p->norm->cls == &pk_class_Identity;
    return known && pk_mlp_at_once(p);
}

pk_status pk_mlp_run(const pk_mlp_parts *p, pk_tensor *x, pk_tensor **y) {
    const pk_module *fc1 = pointwise(p->fc1), *fc2 = pointwise(p->fc2);
    const bool norm = p->norm && p->norm->cls == &pk_class_LayerNorm;
    pk_tensor *in[] = {x,
                       pk_module_tensor(fc1, "weight"),
                       pk_module_tensor(fc1, "bias"),
                       pk_module_tensor(fc2, "weight"),
                       pk_module_tensor(fc2, "bias"),
                       norm ? pk_module_tensor(p->norm, "weight") : NULL,
                       norm ? pk_module_tensor(p->norm, "bias") : NULL,
                       p->gamma,
                       p->shortcut};
    pk_args args;
    pk_args_begin(&args, &pk_op_mlp);
    if (norm) {
        pk_args_copy(&args, p->norm); /* eps */
        pk_args_set(&args, "norm", PK_MLP_LAYER);
    }
    pk_args_set(&args, "recompute", p->recompute);
    pk_args_set(&args, "p", p->drop_path);
    return pk_args_run(&args, in, 9, y);
}
