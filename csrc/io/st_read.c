/* The data of a safetensors file, once its header is checked: read straight into tensors, types converted, checksum
 * compared. */
#include <math.h>
#include <string.h>
#include <zlib.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/safetensors.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors data is little-endian and is read as it is"
#endif

#define CHUNK 16384 /* bytes: a multiple of every element's size */

uint32_t pk_st_data_crc(uint32_t crc, const void *data, int64_t bytes) {
    return bytes == 0 ? crc : (uint32_t)crc32_z(crc, data, (z_size_t)bytes);
}

uint32_t pk_st_text_crc(uint32_t crc, const char *text) { return pk_st_data_crc(crc, text, (int64_t)strlen(text) + 1); }

uint32_t pk_st_entry_crc(uint32_t crc, const char *name, const char *type, int ndim, const int64_t *shape) {
    crc = pk_st_text_crc(pk_st_text_crc(crc, name), type);
    return pk_st_data_crc(crc, shape, ndim * (int64_t)sizeof *shape);
}

/* ---- types that are not ours ---- */

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

static pk_dtype our_type(pk_st_type type) {
    switch (type) {
    case PK_ST_BOOL:
    case PK_ST_U8: return PK_UINT8;
    case PK_ST_I8:
    case PK_ST_I16:
    case PK_ST_U16:
    case PK_ST_I32:
    case PK_ST_I64: return PK_INT32;
    default: return PK_FLOAT32;
    }
}

static bool is_ours(pk_st_type type) { return type == PK_ST_U8 || type == PK_ST_I32 || type == PK_ST_F32; }

/* n elements of `type` at `raw` to element `first` of t. False: a value that int32 cannot hold. */
static bool convert(pk_st_type type, const uint8_t *raw, int64_t n, pk_tensor *t, int64_t first) {
    float *f = t->dtype == PK_FLOAT32 ? pk_f32(t) + first : NULL;
    int32_t *i = t->dtype == PK_INT32 ? pk_i32(t) + first : NULL;
    uint8_t *u = t->dtype == PK_UINT8 ? pk_u8(t) + first : NULL;
    for (int64_t k = 0; k < n; k++) {
        int64_t wide;
        double real;
        uint16_t half;
        switch (type) {
        case PK_ST_BOOL: u[k] = raw[k] != 0; break;
        case PK_ST_I8: i[k] = (int8_t)raw[k]; break;
        case PK_ST_I16: memcpy(&half, raw + 2 * k, 2), i[k] = (int16_t)half; break;
        case PK_ST_U16: memcpy(&half, raw + 2 * k, 2), i[k] = half; break;
        case PK_ST_F16: memcpy(&half, raw + 2 * k, 2), f[k] = from_half(half); break;
        case PK_ST_BF16: memcpy(&half, raw + 2 * k, 2), f[k] = from_bfloat(half); break;
        case PK_ST_F64: memcpy(&real, raw + 8 * k, 8), f[k] = (float)real; break;
        case PK_ST_I64:
            memcpy(&wide, raw + 8 * k, 8);
            if (wide < INT32_MIN || wide > INT32_MAX) return false;
            i[k] = (int32_t)wide;
            break;
        default: return false; /* ours: never converted */
        }
    }
    return true;
}

static pk_status read_converted(pk_source *s, const pk_st_header *h, const pk_st_entry *e, pk_tensor *t,
                                uint32_t *crc) {
    _Alignas(64) uint8_t chunk[CHUNK];
    int64_t size = pk_st_type_size(e->type), done = 0;
    for (int64_t at = e->begin; at < e->end;) {
        int64_t bytes = pk_min(e->end - at, CHUNK);
        PK_TRY(pk_source_read(s, h->data + at, chunk, bytes));
        *crc = pk_st_data_crc(*crc, chunk, bytes);
        PK_RETURN_IF(!convert(e->type, chunk, bytes / size, t, done), PK_EFORMAT,
                     "%.100s: a value of %s that int32 cannot hold", e->name, pk_st_type_name(e->type));
        done += bytes / size;
        at += bytes;
    }
    return PK_OK;
}

static pk_status read_tensor(pk_source *s, const pk_st_header *h, const pk_st_entry *e, pk_dict *d, uint32_t *crc) {
    pk_tensor *t = NULL;
    *crc = pk_st_entry_crc(*crc, e->name, pk_st_type_name(e->type), e->ndim, e->shape);
    PK_TRY(pk_tensor_new(our_type(e->type), e->ndim, e->shape, &t));
    pk_status status = PK_OK;
    int64_t bytes = e->end - e->begin;
    if (is_ours(e->type)) {
        status = pk_source_read(s, h->data + e->begin, t->storage->data, bytes);
        if (status == PK_OK) *crc = pk_st_data_crc(*crc, t->storage->data, bytes);
    } else {
        status = read_converted(s, h, e, t, crc);
    }
    if (status == PK_OK) status = pk_dict_add(d, e->name, t);
    pk_tensor_release(t);
    return status;
}

static pk_status read_all(pk_source *s, const pk_st_header *h, pk_dict *d) {
    uint32_t crc = 0, wanted = 0;
    bool checked = false;
    for (int64_t i = 0; i < h->pairs; i++) {
        const char *key = h->pair[2 * i], *value = h->pair[2 * i + 1];
        if (strcmp(key, PK_ST_CRC) == 0) {
            checked = true;
            PK_RETURN_IF(strlen(value) != 8 || strspn(value, "0123456789abcdef") != 8, PK_EFORMAT,
                         "__metadata__ " PK_ST_CRC " is not 8 hexadecimal digits");
            for (int k = 0; k < 8; k++)
                wanted = wanted << 4 | (uint32_t)(value[k] <= '9' ? value[k] - '0' : value[k] - 'a' + 10);
        } else {
            crc = pk_st_text_crc(pk_st_text_crc(crc, key), value);
            PK_TRY(pk_dict_note(d, key, value));
        }
    }
    for (int64_t i = 0; i < h->count; i++) PK_TRY(read_tensor(s, h, &h->entry[i], d, &crc));
    PK_RETURN_IF(checked && crc != wanted, PK_EFORMAT,
                 "checksum %08x, but " PK_ST_CRC
                 " in its __metadata__ says %08x: damaged, or changed by a program that "
                 "kept the old checksum (then remove that entry)",
                 crc, wanted);
    return PK_OK;
}

pk_status pk_safetensors_read(pk_source *s, pk_dict *d) {
    pk_st_header h;
    pk_status status = pk_st_header_read(s, &h);
    if (status == PK_OK) status = read_all(s, &h, d);
    pk_st_header_free(&h);
    if (status == PK_OK) return pk_dict_sort(d);
    pk_dict_clear(d);
    return status == PK_EIO ? status : pk_fail_prefix(status, "%s: ", s->name);
}

pk_status pk_safetensors_load(const char *path, pk_dict *d) {
    pk_source s;
    PK_TRY(pk_source_open(&s, path));
    pk_status status = pk_safetensors_read(&s, d);
    pk_source_close(&s);
    return status;
}
