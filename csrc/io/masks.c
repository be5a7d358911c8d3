/* Masks to bits and back. */
#include "io/masks.h"

#include <string.h>

#include "core/checked.h"
#include "io/layout.h"

static pk_status add_mask(void *context, const char *path, pk_module *m, pk_slot *slot) {
    (void)m;
    pk_tensor *view;
    if (!slot->tensor->mask) return PK_OK;
    PK_TRY(pk_layout_to_file(pk_layout_of(slot), slot->tensor->mask, &view));
    pk_status status = pk_dict_add(context, path, view);
    pk_tensor_release(view);
    return status;
}

pk_status pk_module_masks(pk_module *m, pk_dict *d) { return pk_module_each_slot(m, add_mask, d); }

static bool is_on(const pk_tensor *t, const pk_tensor *mask, int64_t i) {
    return mask ? pk_u8(mask)[i] != 0 : pk_f32(t)[i] != 0;
}

static pk_status pack(const pk_tensor *t, const pk_tensor *mask, pk_tensor **bits, pk_tensor **values) {
    const int64_t n = pk_numel(t), bytes = pk_ceil_div(n, 8);
    int64_t on = 0, at = 0;
    for (int64_t i = 0; i < n; i++) on += is_on(t, mask, i);
    PK_TRY(pk_tensor_zeros(PK_UINT8, 1, &bytes, bits));
    PK_TRY(pk_tensor_new(PK_FLOAT32, 1, &on, values));
    for (int64_t i = 0; i < n; i++) {
        if (!is_on(t, mask, i)) continue;
        pk_u8(*bits)[i / 8] |= (uint8_t)(1u << (i % 8));
        pk_f32(*values)[at++] = pk_f32(t)[i];
    }
    return PK_OK;
}

pk_status pk_pack_sparse(pk_tensor *t, pk_tensor *mask, pk_tensor **bits, pk_tensor **values) {
    pk_tensor *plain = NULL, *plain_mask = NULL;
    pk_status status;
    *bits = *values = NULL;
    PK_RETURN_IF(t->dtype != PK_FLOAT32 || (mask && (mask->dtype != PK_UINT8 || !pk_same_shape(mask, t))), PK_EINVAL,
                 "pack: wants float32 and a uint8 mask of its shape, got %s %s", pk_dtype_name(t->dtype), pk_shape_text(t));
    PK_TRY_DONE(pk_tensor_contiguous(t, &plain));
    if (mask) PK_TRY_DONE(pk_tensor_contiguous(mask, &plain_mask));
    status = pack(plain, plain_mask, bits, values);
done:
    pk_tensor_release(plain);
    pk_tensor_release(plain_mask);
    if (status != PK_OK) {
        pk_tensor_release(*bits);
        pk_tensor_release(*values);
        *bits = *values = NULL;
    }
    return status;
}

static bool bit(const pk_tensor *bits, int64_t i) { return pk_u8(bits)[i / 8] >> (i % 8) & 1; }

/* Before anything of that shape is made. */
static pk_status check_parts(const pk_tensor *bits, const pk_tensor *values, int ndim, const int64_t *shape) {
    int64_t n = 1;
    bool fits = true;
    for (int d = 0; d < ndim; d++) fits = fits && pk_mul_ok(n, shape[d], &n);
    PK_RETURN_IF(!fits || bits->dtype != PK_UINT8 || values->dtype != PK_FLOAT32 ||
                     pk_numel(bits) != pk_ceil_div(n, 8) || !pk_is_contiguous(bits) || !pk_is_contiguous(values),
                 PK_EFORMAT, "%lld bytes of bits do not mask %s", (long long)pk_numel(bits), pk_dims_text(ndim, shape));
    int64_t on = 0;
    for (int64_t i = 0; i < pk_numel(bits) * 8; i++) on += i < n ? bit(bits, i) : 0;
    PK_RETURN_IF(on != pk_numel(values), PK_EFORMAT, "%lld values for %lld bits", (long long)pk_numel(values), (long long)on);
    return PK_OK;
}

pk_status pk_unpack_sparse(const pk_tensor *bits, const pk_tensor *values, int ndim, const int64_t *shape, pk_tensor **t,
                           pk_tensor **mask) {
    *t = *mask = NULL;
    pk_status status;
    PK_TRY_DONE(check_parts(bits, values, ndim, shape));
    PK_TRY_DONE(pk_tensor_zeros(PK_FLOAT32, ndim, shape, t));
    PK_TRY_DONE(pk_tensor_zeros(PK_UINT8, ndim, shape, mask));
    for (int64_t i = 0, at = 0; i < pk_numel(*t); i++) {
        if (!bit(bits, i)) continue;
        pk_u8(*mask)[i] = 1;
        pk_f32(*t)[i] = pk_f32(values)[at++];
    }
done:
    if (status != PK_OK) {
        pk_tensor_release(*t);
        pk_tensor_release(*mask);
        *t = *mask = NULL;
    }
    return status;
}
