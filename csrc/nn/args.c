/* Op parameters by name. */
#include "nn/args.h"

#include <string.h>

#include "core/rng.h"

void pk_args_begin(pk_args *a, const pk_op *op) {
    a->op = op;
    if (op->params_size > sizeof a->params) { /* pk_apply refuses it with a message */
        a->op = NULL;
        return;
    }
    pk_schema_defaults(op->fields, op->nfields, a->params, op->params_size);
    for (int i = 0; i < op->nfields; i++)
        if (op->fields[i].type == PK_SEED) {
            uint64_t stream = pk_random_stream();
            memcpy(a->params + op->fields[i].offset, &stream, sizeof stream);
        }
}

void pk_args_set(pk_args *a, const char *name, double value) {
    if (a->op && !pk_schema_set(a->op->fields, a->op->nfields, a->params, name, value)) a->op = NULL;
}

static size_t field_size(const pk_field *f) {
    switch (f->type) {
    case PK_BOOL: return sizeof(bool);
    case PK_INT:
    case PK_INDEX:
    case PK_DIM: return sizeof(int64_t);
    case PK_FLOAT: return sizeof(double);
    case PK_ENUM: return sizeof(int);
    case PK_PAIR:
    case PK_PADDING: return 2 * sizeof(int64_t);
    case PK_INTS:
    case PK_DIMS:
    case PK_ENUMS: return sizeof(pk_ints);
    case PK_FLOATS: return sizeof(pk_floats);
    case PK_GRIDS: return sizeof(pk_grids);
    case PK_SEED: return sizeof(uint64_t);
    case PK_TEXT: return 64;
    }
    return 0;
}

void pk_args_copy(pk_args *a, const pk_module *m) {
    for (int i = 0; a->op && i < m->cls->nfields; i++) {
        const pk_field *from = &m->cls->fields[i];
        const pk_field *to = pk_schema_find(a->op->fields, a->op->nfields, from->name);
        if (to && to->type == from->type)
            memcpy(a->params + to->offset, (const char *)m->options + from->offset, field_size(to));
    }
}

pk_status pk_args_run(pk_args *a, pk_tensor *const *in, int nin, pk_tensor **out) {
    *out = NULL;
    PK_RETURN_IF(!a->op, PK_EINVAL, "a layer set a parameter that its op does not have");
    return pk_apply1(a->op, a->params, in, nin, out);
}

pk_status pk_run_layer(const pk_op *op, const pk_module *m, pk_tensor *const *in, int nin, pk_tensor **out) {
    pk_args args;
    pk_args_begin(&args, op);
    pk_args_copy(&args, m);
    return pk_args_run(&args, in, nin, out);
}

pk_status pk_run1(const pk_op *op, pk_tensor *x, pk_tensor **out) { return pk_apply1(op, NULL, &x, 1, out); }

pk_status pk_run2(const pk_op *op, pk_tensor *x, pk_tensor *y, pk_tensor **out) {
    pk_tensor *in[2] = {x, y};
    return pk_apply1(op, NULL, in, 2, out);
}

/* ---- options of layers ---- */

void pk_options_begin(pk_options *o, const pk_class *cls) {
    o->cls = cls;
    o->known = cls->options_size <= sizeof o->values;
    if (o->known) pk_schema_defaults(cls->fields, cls->nfields, o->values, cls->options_size);
}

void pk_options_set(pk_options *o, const char *name, double value) {
    if (o->known) o->known = pk_schema_set(o->cls->fields, o->cls->nfields, o->values, name, value);
}

void pk_options_set_pair(pk_options *o, const char *name, int64_t h, int64_t w) {
    const pk_field *f = pk_schema_find(o->cls->fields, o->cls->nfields, name);
    o->known = o->known && f && (f->type == PK_PAIR || f->type == PK_PADDING);
    if (!o->known) return;
    const int64_t pair[2] = {h, w};
    memcpy(o->values + f->offset, pair, sizeof pair);
}

pk_status pk_options_make(const pk_options *o, pk_module *m, const char *name, pk_module **child) {
    PK_RETURN_IF(!o->known, PK_EINVAL, "a layer set an option that %s does not have", o->cls->name);
    return pk_module_make(m, name, o->cls, o->values, child);
}
