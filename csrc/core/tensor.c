/* Lifetime and shape of tensors: storage, views, names of dtypes, texts for messages. Copies are in tensor_copy.c. */
#include "core/tensor.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"

/* ---- dtypes and texts ---- */

static const char *const dtype_names[] = {"float32", "int32", "uint8"};

int64_t pk_dtype_size(pk_dtype dtype) { return dtype == PK_UINT8 ? 1 : 4; }
const char *pk_dtype_name(pk_dtype dtype) { return (unsigned)dtype < 3 ? dtype_names[dtype] : "unknown"; }

bool pk_dtype_parse(const char *name, pk_dtype *out) {
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, dtype_names[i]) != 0) continue;
        *out = (pk_dtype)i;
        return true;
    }
    return false;
}

const char *pk_dims_text(int ndim, const int64_t *shape) {
    enum { BUFFERS = 8, SIZE = 24 * PK_MAX_DIMS + 8 }; /* 20 digits, a sign and a comma a dimension */
    static _Thread_local char buffer[BUFFERS][SIZE];
    static _Thread_local unsigned turn;
    char *text = buffer[turn++ % BUFFERS], *end = text;
    *end++ = '{';
    for (int d = 0; d < ndim && d < PK_MAX_DIMS; d++) end += sprintf(end, "%s%lld", d ? "," : "", (long long)shape[d]);
    memcpy(end, "}", 2);
    return text;
}

const char *pk_shape_text(const pk_tensor *t) { return pk_dims_text(t->ndim, t->shape); }

/* ---- storage ---- */

static void storage_release(pk_storage *s) {
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return;
    if (s->drop)
        s->drop(s->lender);
    else
        pk_free(s->data);
    pk_free(s);
}

static pk_storage *storage_retain(pk_storage *s) {
    if (s) atomic_fetch_add(&s->refs, 1);
    return s;
}

static pk_storage *storage_new(void *data, int64_t bytes) {
    pk_storage *s = pk_alloc_zeroed(sizeof *s);
    if (!s) return NULL;
    atomic_init(&s->refs, 1);
    s->bytes = bytes;
    s->data = data;
    return s;
}

/* ---- tensors ---- */

static pk_status check_dims(int ndim, const int64_t *shape, pk_dtype dtype, int64_t *bytes) {
    PK_RETURN_IF(ndim < 0 || ndim > PK_MAX_DIMS, PK_EINVAL, "a tensor has 0 to %d dimensions, not %d", PK_MAX_DIMS, ndim);
    int64_t n = pk_dtype_size(dtype);
    bool empty = false; /* strides and products of some of the sizes have to fit all the same */
    for (int d = 0; d < ndim; d++) {
        PK_RETURN_IF(shape[d] < 0, PK_EINVAL, "a dimension cannot be negative: %s", pk_dims_text(ndim, shape));
        PK_RETURN_IF(!pk_mul_ok(n, pk_max(1, shape[d]), &n), PK_EINVAL, "too large a tensor: %s",
                     pk_dims_text(ndim, shape));
        empty |= shape[d] == 0;
    }
    *bytes = empty ? 0 : n;
    return PK_OK;
}

/* A tensor of the shape, contiguous strides, no storage. */
static pk_tensor *tensor_shell(pk_dtype dtype, int ndim, const int64_t *shape) {
    pk_tensor *t = pk_alloc_zeroed(sizeof *t);
    if (!t) return NULL;
    atomic_init(&t->refs, 1);
    t->dtype = dtype;
    t->ndim = ndim;
    int64_t stride = 1;
    for (int d = ndim - 1; d >= 0; d--) {
        t->shape[d] = shape[d];
        t->stride[d] = stride;
        stride *= shape[d] > 0 ? shape[d] : 1;
    }
    return t;
}

pk_status pk_tensor_new(pk_dtype dtype, int ndim, const int64_t *shape, pk_tensor **out) {
    int64_t bytes;
    *out = NULL;
    PK_TRY(check_dims(ndim, shape, dtype, &bytes));
    pk_tensor *t = tensor_shell(dtype, ndim, shape);
    void *data = t ? pk_alloc(bytes) : NULL;
    pk_storage *s = data ? storage_new(data, bytes) : NULL;
    if (!s) {
        pk_free(data);
        pk_free(t);
        return pk_no_memory(bytes);
    }
    t->storage = s;
    *out = t;
    return PK_OK;
}

pk_status pk_tensor_borrow(pk_dtype dtype, int ndim, const int64_t *shape, void *data, void (*drop)(void *lender),
                           void *lender, pk_tensor **out) {
    int64_t bytes;
    *out = NULL;
    PK_TRY(check_dims(ndim, shape, dtype, &bytes));
    pk_tensor *t = tensor_shell(dtype, ndim, shape);
    pk_storage *s = t ? storage_new(data, bytes) : NULL;
    if (!s) {
        pk_free(t);
        return pk_no_memory(sizeof *s);
    }
    s->drop = drop;
    s->lender = lender;
    t->storage = s;
    *out = t;
    return PK_OK;
}

pk_tensor *pk_tensor_retain(pk_tensor *t) {
    if (t) atomic_fetch_add(&t->refs, 1);
    return t;
}

void pk_tensor_release(pk_tensor *t) {
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
    pk_tensor_release(t->grad);
    pk_tensor_release(t->mask);
    if (t->node) t->release_node(t->node);
    storage_release(t->storage);
    pk_free(t);
}

pk_status pk_tensor_zeros(pk_dtype dtype, int ndim, const int64_t *shape, pk_tensor **out) {
    PK_TRY(pk_tensor_new(dtype, ndim, shape, out));
    memset((*out)->storage->data, 0, (size_t)(*out)->storage->bytes);
    return PK_OK;
}

pk_status pk_tensor_like(const pk_tensor *t, pk_tensor **out) { return pk_tensor_new(t->dtype, t->ndim, t->shape, out); }

pk_status pk_tensor_scalar(float value, pk_tensor **out) {
    PK_TRY(pk_tensor_new(PK_FLOAT32, 0, NULL, out));
    *pk_f32(*out) = value;
    return PK_OK;
}

pk_status pk_tensor_shape_only(const pk_tensor *t, pk_tensor **out) {
    *out = tensor_shell(t->dtype, t->ndim, t->shape);
    return *out ? PK_OK : pk_no_memory(sizeof **out);
}

pk_status pk_tensor_window(const pk_tensor *t, int ndim, const int64_t *shape, const int64_t *stride, int64_t offset,
                           pk_tensor **out) {
    int64_t bytes;
    *out = NULL;
    PK_TRY(check_dims(ndim, shape, t->dtype, &bytes));
    pk_tensor *v = tensor_shell(t->dtype, ndim, shape);
    if (!v) return pk_no_memory(sizeof *v);
    for (int d = 0; d < ndim; d++) v->stride[d] = stride[d];
    v->offset = t->offset + offset;
    v->storage = storage_retain(t->storage);
    *out = v;
    return PK_OK;
}

pk_status pk_tensor_alias(const pk_tensor *t, pk_tensor **out) {
    return pk_tensor_window(t, t->ndim, t->shape, t->stride, 0, out);
}

void pk_tensor_rebase(pk_tensor *t, pk_storage *storage, int64_t offset) {
    pk_storage *old = t->storage;
    t->storage = storage_retain(storage);
    t->offset = offset;
    int64_t stride = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
        t->stride[d] = stride;
        stride *= pk_max(t->shape[d], 1);
    }
    storage_release(old);
}

/* ---- questions ---- */

int pk_tensor_ndim(const pk_tensor *t) { return t->ndim; }
const int64_t *pk_tensor_shape(const pk_tensor *t) { return t->shape; }

float *pk_tensor_floats(const pk_tensor *t) {
    return t->dtype == PK_FLOAT32 && t->storage && pk_is_contiguous(t) ? pk_f32(t) : NULL;
}

int64_t pk_numel(const pk_tensor *t) {
    int64_t n = 1;
    for (int d = 0; d < t->ndim; d++) n *= t->shape[d];
    return n;
}

float *pk_f32(const pk_tensor *t) { return t->storage ? (float *)t->storage->data + t->offset : NULL; }
int32_t *pk_i32(const pk_tensor *t) { return t->storage ? (int32_t *)t->storage->data + t->offset : NULL; }
uint8_t *pk_u8(const pk_tensor *t) { return t->storage ? (uint8_t *)t->storage->data + t->offset : NULL; }

void *pk_bytes(const pk_tensor *t) {
    return t->storage ? (char *)t->storage->data + t->offset * pk_dtype_size(t->dtype) : NULL;
}

bool pk_same_shape(const pk_tensor *a, const pk_tensor *b) {
    if (a->ndim != b->ndim) return false;
    for (int d = 0; d < a->ndim; d++)
        if (a->shape[d] != b->shape[d]) return false;
    return true;
}

bool pk_is_contiguous(const pk_tensor *t) {
    int64_t stride = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
        if (t->shape[d] == 0) return true;
        if (t->shape[d] != 1 && t->stride[d] != stride) return false;
        stride *= t->shape[d];
    }
    return true;
}

bool pk_is_rows(const pk_tensor *t, int64_t *pixel_stride) {
    if (t->ndim == 0) {
        *pixel_stride = 1;
        return true;
    }
    int last = t->ndim - 1;
    if (t->shape[last] != 1 && t->stride[last] != 1) return false;
    int64_t run = -1; /* stride that the next dimension outward must have; -1: any */
    *pixel_stride = t->shape[last];
    for (int d = last - 1; d >= 0; d--) {
        if (t->shape[d] == 1) continue;
        if (run < 0)
            *pixel_stride = t->stride[d];
        else if (t->stride[d] != run)
            return false;
        run = t->stride[d] * t->shape[d];
    }
    return *pixel_stride >= t->shape[last];
}

bool pk_broadcast(int na, const int64_t *a, int nb, const int64_t *b, int *ndim, int64_t *shape) {
    int n = na > nb ? na : nb;
    for (int d = 0; d < n; d++) {
        int64_t x = d < n - na ? 1 : a[d - (n - na)], y = d < n - nb ? 1 : b[d - (n - nb)];
        if (x != y && x != 1 && y != 1) return false;
        shape[d] = x == 1 ? y : x;
    }
    *ndim = n;
    return true;
}

pk_tensor *pk_tensor_grad(pk_tensor *leaf) {
    if (leaf->grad && leaf->grad->stale) pk_tensor_fill(leaf->grad, 0);
    return leaf->grad;
}

void pk_tensor_written(pk_tensor *t) {
    if (t->storage) atomic_fetch_add(&t->storage->version, 1);
}
