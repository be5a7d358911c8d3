/* The pickle machine: its memory, its stack and memo, and reading the values it leaves. */
#include "io/pickle.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"

/* ---- memory ---- */

void pk_pickle_begin(pk_pickle *p, const uint8_t *text, int64_t size, int64_t budget) {
    memset(p, 0, sizeof *p);
    p->text = text;
    p->size = size;
    p->budget = budget;
    p->root = -1;
}

void pk_pickle_end(pk_pickle *p) {
    pk_free(p->value);
    pk_free(p->cell);
    pk_free(p->stack);
    pk_free(p->memo);
    memset(p, 0, sizeof *p);
}

/* Room for element number `wanted`, doubling; what all arrays take, old and new, stays within the budget. */
static pk_status grow(pk_pickle *p, void **block, int64_t used, int64_t wanted, int64_t *room, int64_t size) {
    if (wanted < *room) return PK_OK;
    int64_t more = pk_max(*room ? *room * 2 : 64, wanted + 1);
    PK_RETURN_IF(more > INT32_MAX, PK_EFORMAT, "a pickle of too many values");
    int64_t all = p->value_room * (int64_t)sizeof *p->value + p->cell_room * (int64_t)sizeof *p->cell +
                  (p->stack_room + p->memo_room) * (int64_t)sizeof *p->stack;
    PK_RETURN_IF(all + more * size > p->budget, PK_EFORMAT, "a pickle of too many values for a file of this size");
    void *bigger = pk_alloc(more * size);
    if (!bigger) return pk_no_memory(more * size);
    if (used > 0) memcpy(bigger, *block, (size_t)(used * size));
    pk_free(*block);
    *block = bigger;
    *room = more;
    return PK_OK;
}

pk_status pk_pickle_new(pk_pickle *p, pk_value value, int32_t *out) {
    void *block = p->value;
    PK_TRY(grow(p, &block, p->values, p->values, &p->value_room, sizeof *p->value));
    p->value = block;
    p->value[p->values] = value;
    *out = p->values++;
    return PK_OK;
}

pk_status pk_pickle_push(pk_pickle *p, int32_t v) {
    void *block = p->stack;
    PK_TRY(grow(p, &block, p->depth, p->depth, &p->stack_room, sizeof *p->stack));
    p->stack = block;
    p->stack[p->depth++] = v;
    return PK_OK;
}

pk_status pk_pickle_pop(pk_pickle *p, int32_t *out) {
    PK_RETURN_IF(p->depth == 0 || p->stack[p->depth - 1] < 0, PK_EFORMAT, "a pickle that takes a value where none is");
    *out = p->stack[--p->depth];
    return PK_OK;
}

pk_status pk_pickle_append(pk_pickle *p, int32_t container, int32_t key, int32_t v) {
    void *block = p->cell;
    PK_TRY(grow(p, &block, p->cells, p->cells, &p->cell_room, sizeof *p->cell));
    p->cell = block;
    p->cell[p->cells] = (pk_cell){key, v, -1};
    pk_value *c = &p->value[container];
    if (c->i++ == 0)
        c->a = p->cells;
    else
        p->cell[c->b].next = p->cells;
    c->b = p->cells++;
    return PK_OK;
}

pk_status pk_pickle_remember(pk_pickle *p, int64_t place, int32_t v) {
    void *block = p->memo;
    PK_TRY(grow(p, &block, p->memos, place, &p->memo_room, sizeof *p->memo));
    p->memo = block;
    while (p->memos <= place) p->memo[p->memos++] = -1;
    p->memo[place] = v;
    return PK_OK;
}

/* ---- running ---- */

pk_status pk_pickle_run(pk_pickle *p) {
    bool stop = false;
    p->depth = p->memos = 0;
    while (!stop) {
        PK_RETURN_IF(p->at >= p->size, PK_EFORMAT, "a pickle cut short");
        uint8_t opcode = p->text[p->at++];
        PK_TRY(pk_pickle_step(p, opcode, &stop));
    }
    PK_TRY(pk_pickle_pop(p, &p->root));
    PK_RETURN_IF(p->depth != 0, PK_EFORMAT, "a pickle that leaves more than one value");
    return PK_OK;
}

/* ---- looking at values ---- */

const char *pk_value_kind_name(pk_value_kind kind) {
    static const char *const names[] = {"None", "bool", "int", "float", "text", "tuple", "list",
                                        "dict", "set", "global", "storage", "tensor", "object"};
    return names[kind];
}

bool pk_value_is(const pk_pickle *p, int32_t v, const char *text) {
    const pk_value *t = &p->value[v];
    return t->kind == PK_VALUE_TEXT && (size_t)t->c == strlen(text) && memcmp(p->text + t->i, text, (size_t)t->c) == 0;
}

bool pk_value_text(const pk_pickle *p, int32_t v, char *out, size_t size) {
    const pk_value *t = &p->value[v];
    int n = -1;
    if (t->kind == PK_VALUE_INT) n = snprintf(out, size, "%lld", (long long)t->i);
    if (t->kind == PK_VALUE_BOOL) n = snprintf(out, size, "%s", t->i ? "True" : "False");
    if (t->kind == PK_VALUE_FLOAT) n = snprintf(out, size, "%.17g", t->f);
    if (t->kind != PK_VALUE_TEXT) return n >= 0 && (size_t)n < size;
    if ((size_t)t->c >= size || memchr(p->text + t->i, '\0', (size_t)t->c)) return false;
    memcpy(out, p->text + t->i, (size_t)t->c);
    out[t->c] = '\0';
    return true;
}

void pk_value_global(const pk_pickle *p, int32_t v, char *out, size_t size) {
    *out = '\0';
    for (int i = 0; i < PK_PICKLE_DEEPEST && v >= 0 && p->value[v].kind == PK_VALUE_OPAQUE; i++) v = p->value[v].a;
    if (v < 0 || p->value[v].kind != PK_VALUE_GLOBAL) return;
    const pk_value *module = &p->value[p->value[v].a], *name = &p->value[p->value[v].b];
    snprintf(out, size, "%.*s.%.*s", (int)pk_min(module->c, 100), (const char *)p->text + module->i,
             (int)pk_min(name->c, 100), (const char *)p->text + name->i);
    for (char *c = out; *c; c++) /* it goes into messages */
        if (*c < 0x20 || *c > 0x7e) *c = '?';
}

int32_t pk_value_item(const pk_pickle *p, int32_t v, int64_t i) {
    const pk_value *t = &p->value[v];
    if ((t->kind != PK_VALUE_TUPLE && t->kind != PK_VALUE_LIST) || i < 0 || i >= t->i) return -1;
    int32_t c = t->a;
    while (i-- > 0) c = p->cell[c].next;
    return p->cell[c].value;
}

int32_t pk_value_field(const pk_pickle *p, int32_t v, const char *key) {
    int32_t found = -1;
    if (p->value[v].kind != PK_VALUE_DICT) return -1;
    int32_t c = p->value[v].a;
    for (int64_t n = p->value[v].i; n > 0; n--, c = p->cell[c].next)
        if (pk_value_is(p, p->cell[c].key, key)) found = p->cell[c].value;
    return found;
}

/* A tuple of at most PK_MAX_DIMS whole numbers from 0; its length, or -1. */
static int read_sizes(const pk_pickle *p, int32_t v, int64_t *out) {
    if (v < 0 || p->value[v].kind != PK_VALUE_TUPLE || p->value[v].i > PK_MAX_DIMS) return -1;
    int n = (int)p->value[v].i;
    int32_t c = p->value[v].a;
    for (int i = 0; i < n; i++, c = p->cell[c].next) {
        const pk_value *size = &p->value[p->cell[c].value];
        if (size->kind != PK_VALUE_INT || size->i < 0) return -1;
        out[i] = size->i;
    }
    return n;
}

pk_status pk_value_window(const pk_pickle *p, int32_t v, const char *name, pk_window *w) {
    int32_t args = p->value[v].b, offset = pk_value_item(p, args, 1);
    w->storage = p->value[v].a;
    w->offset = offset >= 0 && p->value[offset].kind == PK_VALUE_INT ? p->value[offset].i : -1;
    w->ndim = read_sizes(p, pk_value_item(p, args, 2), w->shape);
    int strides = read_sizes(p, pk_value_item(p, args, 3), w->stride);
    PK_RETURN_IF(w->offset < 0 || w->ndim < 0 || strides != w->ndim, PK_EFORMAT,
                 "%.100s: a tensor whose offset, size and stride are not whole numbers, in up to %d dimensions", name,
                 PK_MAX_DIMS);
    const pk_value *storage = &p->value[w->storage];
    int64_t last = w->offset, bytes;
    bool fits = pk_number_bytes((pk_number)storage->b, w->ndim, w->shape, &bytes);
    for (int i = 0; fits && bytes > 0 && i < w->ndim; i++) {
        int64_t step;
        fits = pk_mul_ok(w->shape[i] - 1, w->stride[i], &step) && pk_add_ok(last, step, &last);
    }
    PK_RETURN_IF(!fits || (bytes > 0 ? last >= storage->i : last > storage->i), PK_EFORMAT,
                 "%.100s: size %s, stride %s at %lld reach out of a storage of %lld", name,
                 pk_dims_text(w->ndim, w->shape), pk_dims_text(w->ndim, w->stride), (long long)w->offset,
                 (long long)storage->i);
    PK_RETURN_IF(bytes / pk_number_size((pk_number)storage->b) > storage->i, PK_EFORMAT,
                 "%.100s: size %s from a storage of %lld: elements seen several times are not read", name,
                 pk_dims_text(w->ndim, w->shape), (long long)storage->i);
    return PK_OK;
}
