/* The data of a safetensors file, once its header is checked: read straight into tensors, types converted, checksum
 * compared. */
#include <string.h>
#include <zlib.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/safetensors.h"

uint32_t pk_st_data_crc(uint32_t crc, const void *data, int64_t bytes) {
    return bytes == 0 ? crc : (uint32_t)crc32_z(crc, data, (z_size_t)bytes);
}

uint32_t pk_st_text_crc(uint32_t crc, const char *text) { return pk_st_data_crc(crc, text, (int64_t)strlen(text) + 1); }

uint32_t pk_st_entry_crc(uint32_t crc, const char *name, const char *type, int ndim, const int64_t *shape) {
    crc = pk_st_text_crc(pk_st_text_crc(crc, name), type);
    return pk_st_data_crc(crc, shape, ndim * (int64_t)sizeof *shape);
}

/* The data of one tensor, read in order. */
typedef struct run {
    pk_source *s;
    int64_t at;
    uint32_t crc;
    bool checked; /* the file has a checksum: mapped data must be looked at */
} run;

static pk_status pull(void *context, void *out, int64_t bytes) {
    run *r = context;
    PK_TRY(pk_source_read(r->s, r->at, out, bytes));
    r->crc = pk_st_data_crc(r->crc, out, bytes);
    r->at += bytes;
    return PK_OK;
}

/* A view of the mapped file, when there can be one; else *t stays null. */
static pk_status lend(pk_source *s, run *r, const pk_st_entry *e, pk_tensor **t) {
    pk_tensor *flat;
    int64_t bytes = e->end - e->begin, stride[PK_MAX_DIMS], step = 1;
    if (!pk_source_lend(s, r->at, e->type, bytes / pk_number_size(e->type), &flat)) return PK_OK;
    if (r->checked) r->crc = pk_st_data_crc(r->crc, pk_bytes(flat), bytes);
    for (int i = e->ndim - 1; i >= 0; i--) {
        stride[i] = step;
        step *= e->shape[i];
    }
    pk_status status = pk_tensor_window(flat, e->ndim, e->shape, stride, 0, t);
    pk_tensor_release(flat);
    return status;
}

static pk_status read_tensor(pk_source *s, const pk_st_header *h, const pk_st_entry *e, pk_dict *d, bool checked,
                             uint32_t *crc) {
    pk_tensor *t = NULL;
    run r = {s, h->data + e->begin, pk_st_entry_crc(*crc, e->name, pk_number_name(e->type), e->ndim, e->shape),
             checked};
    pk_status status = lend(s, &r, e, &t);
    if (status == PK_OK && !t) {
        PK_TRY(pk_tensor_new(pk_number_dtype(e->type), e->ndim, e->shape, &t));
        status = pk_number_fill(e->type, pull, &r, e->name, t);
    }
    if (status == PK_OK) status = pk_dict_add(d, e->name, t);
    pk_tensor_release(t);
    *crc = r.crc;
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
    for (int64_t i = 0; i < h->count; i++) PK_TRY(read_tensor(s, h, &h->entry[i], d, checked, &crc));
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
    if (status == PK_OK) {
        status = pk_dict_sort(d);
        if (status != PK_OK) pk_dict_clear(d);
        return status;
    }
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
