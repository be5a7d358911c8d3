/* Numbers from files: sizes, names, conversion. */
#include "io/number.h"

#include <string.h>

#include "core/checked.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian and are read as they are"
#endif

#define CHUNK 16384 /* bytes: a multiple of every element's size */

static const struct {
    const char *name;
    int size;
    pk_dtype dtype;
} types[PK_NUMBERS] = {
    [PK_NUM_BOOL] = {"BOOL", 1, PK_UINT8}, [PK_NUM_U8] = {"U8", 1, PK_UINT8},
    [PK_NUM_I8] = {"I8", 1, PK_INT32},     [PK_NUM_I16] = {"I16", 2, PK_INT32},
    [PK_NUM_U16] = {"U16", 2, PK_INT32},   [PK_NUM_F16] = {"F16", 2, PK_FLOAT32},
    [PK_NUM_BF16] = {"BF16", 2, PK_FLOAT32}, [PK_NUM_I32] = {"I32", 4, PK_INT32},
    [PK_NUM_F32] = {"F32", 4, PK_FLOAT32}, [PK_NUM_I64] = {"I64", 8, PK_INT32},
    [PK_NUM_F64] = {"F64", 8, PK_FLOAT32},
};

const char *pk_number_name(pk_number type) { return types[type].name; }
int64_t pk_number_size(pk_number type) { return types[type].size; }
pk_dtype pk_number_dtype(pk_number type) { return types[type].dtype; }
bool pk_number_is_ours(pk_number type) { return type == PK_NUM_U8 || type == PK_NUM_I32 || type == PK_NUM_F32; }

bool pk_number_bytes(pk_number type, int ndim, const int64_t *shape, int64_t *bytes) {
    int64_t widest = 8, n = 1;
    bool empty = false;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0 || !pk_mul_ok(widest, pk_max(shape[i], 1), &widest)) return false;
        n *= pk_max(shape[i], 1);
        empty |= shape[i] == 0;
    }
    *bytes = empty ? 0 : n * pk_number_size(type);
    return true;
}

static float from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023, bits;
    float f;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    bits = exponent == 31 ? sign | 0x7f800000u | fraction << 13 : sign | (exponent + 112) << 23 | fraction << 13;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static float from_bfloat(uint16_t b) {
    uint32_t bits = (uint32_t)b << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* n elements at `raw` to element `first` of t. False: a value that int32 cannot hold. */
static bool convert(pk_number type, const uint8_t *raw, int64_t n, pk_tensor *t, int64_t first) {
    float *f = t->dtype == PK_FLOAT32 ? pk_f32(t) + first : NULL;
    int32_t *i = t->dtype == PK_INT32 ? pk_i32(t) + first : NULL;
    uint8_t *u = t->dtype == PK_UINT8 ? pk_u8(t) + first : NULL;
    for (int64_t k = 0; k < n; k++) {
        int64_t wide;
        double real;
        uint16_t half;
        switch (type) {
        case PK_NUM_BOOL: u[k] = raw[k] != 0; break;
        case PK_NUM_I8: i[k] = (int8_t)raw[k]; break;
        case PK_NUM_I16: memcpy(&half, raw + 2 * k, 2), i[k] = (int16_t)half; break;
        case PK_NUM_U16: memcpy(&half, raw + 2 * k, 2), i[k] = half; break;
        case PK_NUM_F16: memcpy(&half, raw + 2 * k, 2), f[k] = from_half(half); break;
        case PK_NUM_BF16: memcpy(&half, raw + 2 * k, 2), f[k] = from_bfloat(half); break;
        case PK_NUM_F64: memcpy(&real, raw + 8 * k, 8), f[k] = (float)real; break;
        case PK_NUM_I64:
            memcpy(&wide, raw + 8 * k, 8);
            if (wide < INT32_MIN || wide > INT32_MAX) return false;
            i[k] = (int32_t)wide;
            break;
        default: return false; /* ours: never converted */
        }
    }
    return true;
}

pk_status pk_pull_place(void *place, void *out, int64_t bytes) {
    pk_place *p = place;
    PK_TRY(pk_source_read(p->s, p->at, out, bytes));
    p->at += bytes;
    return PK_OK;
}

pk_status pk_number_fill(pk_number type, pk_pull *pull, void *context, const char *name, pk_tensor *t) {
    _Alignas(64) uint8_t chunk[CHUNK];
    int64_t size = pk_number_size(type), n = pk_numel(t);
    if (pk_number_is_ours(type)) return pull(context, pk_bytes(t), n * size);
    for (int64_t done = 0; done < n;) {
        int64_t now = pk_min(n - done, CHUNK / size);
        PK_TRY(pull(context, chunk, now * size));
        PK_RETURN_IF(!convert(type, chunk, now, t, done), PK_EFORMAT, "%.100s: a value of %s that int32 cannot hold",
                     name, pk_number_name(type));
        done += now;
    }
    return PK_OK;
}

bool pk_source_lend(pk_source *s, int64_t at, pk_number type, int64_t n, pk_tensor **out) {
    int64_t bytes, end;
    *out = NULL;
    bool same = type == PK_NUM_F32 || type == PK_NUM_I32 || type == PK_NUM_U8; /* here as in the file */
    if (!s->mapping || !same || at % pk_number_size(type) != 0 || n < 1) return false;
    if (!pk_mul_ok(n, pk_number_size(type), &bytes) || !pk_add_ok(at, bytes, &end) || end > s->size) return false;
    struct pk_mapping *m = pk_mapping_hold(s->mapping);
    if (pk_tensor_borrow(pk_number_dtype(type), 1, &n, (void *)(uintptr_t)(s->data + at), pk_mapping_drop, m, out) == PK_OK)
        return true;
    pk_mapping_drop(m);
    return false;
}
