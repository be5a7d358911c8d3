/* NumPy archives: a ZIP of arrays. Written stored, with fixed dates, so that equal content gives equal bytes. */
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/zip.h"

#define SLACK (1 << 20)

/* ---- reading ---- */

static pk_status read_member(const pk_zip *z, const pk_zip_entry *e, pk_dict *d) {
    char name[256];
    pk_zip_stream r;
    pk_tensor *t = NULL;
    size_t n = strlen(e->name);
    PK_RETURN_IF(n < 5 || strcmp(e->name + n - 4, ".npy") != 0, PK_EFORMAT,
                 "%.100s: not an array (its name does not end in .npy)", e->name);
    PK_RETURN_IF(n > sizeof name, PK_EFORMAT, "%.100s: a name of %zu bytes", e->name, n);
    snprintf(name, sizeof name, "%.*s", (int)n - 4, e->name);
    pk_status status = pk_zip_begin(&r, z, e);
    if (status == PK_OK) status = pk_npy_read(pk_zip_pull, &r, e->size, name, &t);
    if (status == PK_OK) status = pk_zip_check(&r);
    if (status == PK_OK) status = pk_dict_add(d, name, t);
    pk_tensor_release(t);
    pk_zip_end(&r);
    return status;
}

/* Archives that unpack to much more than they are, are unpacked to nowhere first: they may declare what is not
 * there. */
static pk_status verify(const pk_zip *z) {
    int64_t most = 2 * z->source->size + SLACK, sum = 0;
    for (int64_t i = 0; i < z->count; i++)
        PK_RETURN_IF(!pk_add_ok(sum, z->entry[i].size, &sum), PK_EFORMAT, "declares more bytes than there can be");
    for (int64_t i = 0; sum > most && i < z->count; i++) PK_TRY(pk_zip_verify(z, &z->entry[i]));
    return PK_OK;
}

pk_status pk_npz_read(pk_source *s, pk_dict *d) {
    pk_zip z;
    pk_status status = pk_zip_open(&z, s);
    if (status == PK_OK) status = verify(&z);
    for (int64_t i = 0; status == PK_OK && i < z.count; i++) status = read_member(&z, &z.entry[i], d);
    if (status == PK_OK) status = pk_dict_sort(d);
    pk_zip_close(&z);
    if (status == PK_OK) return PK_OK;
    pk_dict_clear(d);
    return status == PK_EIO ? status : pk_fail_prefix(status, "%s: ", s->name);
}

/* ---- writing ---- */

enum { LOCAL = 30, CENTRAL = 46, END = 22, DATE = 0x21 /* 1 January 1980 */, VERSION = 20, UTF8 = 0x800 };

typedef struct member {
    uint32_t crc, size, at;
} member;

static uint8_t *put16(uint8_t *p, uint32_t value) {
    *p++ = (uint8_t)value;
    *p++ = (uint8_t)(value >> 8);
    return p;
}

static uint8_t *put32(uint8_t *p, uint32_t value) { return put16(put16(p, value), value >> 16); }

/* The fields that local and central headers share, from "version needed" on. */
static uint8_t *put_common(uint8_t *p, const member *m, size_t name) {
    p = put16(put16(put16(p, VERSION), UTF8), 0);
    p = put16(put16(p, 0), DATE);
    p = put32(put32(put32(p, m->crc), m->size), m->size);
    return put16(put16(p, (uint32_t)name), 0);
}

static pk_status write_member(pk_writer *f, const pk_named *item, member *m, int64_t *at) {
    uint8_t local[LOCAL], header[PK_NPY_HEADER];
    pk_tensor *t = NULL;
    PK_TRY(pk_tensor_contiguous(item->tensor, &t));
    int64_t front = pk_npy_header(t, header), bytes = pk_numel(t) * pk_dtype_size(t->dtype);
    size_t name = strlen(item->name) + 4;
    int64_t end = *at + LOCAL + (int64_t)name + front + bytes;
    pk_status status = PK_OK;
    if (end > UINT32_MAX - (1 << 24)) {
        status = pk_fail(PK_EINVAL, "%.100s: archives past 4 GiB are not written: save as .safetensors", item->name);
    } else {
        m->at = (uint32_t)*at;
        m->size = (uint32_t)(front + bytes);
        m->crc = (uint32_t)crc32_z(crc32_z(0, header, (z_size_t)front), pk_bytes(t), (z_size_t)bytes);
        memcpy(local, "PK\3\4", 4);
        put_common(local + 4, m, name);
        status = pk_writer_write(f, local, LOCAL);
        if (status == PK_OK) status = pk_writer_write(f, item->name, (int64_t)name - 4);
        if (status == PK_OK) status = pk_writer_write(f, ".npy", 4);
        if (status == PK_OK) status = pk_writer_write(f, header, front);
        if (status == PK_OK) status = pk_writer_write(f, pk_bytes(t), bytes);
        *at = end;
    }
    pk_tensor_release(t);
    return status;
}

static pk_status write_directory(pk_writer *f, const pk_dict *d, const member *m, int64_t at) {
    int64_t begin = at;
    for (int64_t i = 0; i < d->count; i++) {
        uint8_t central[CENTRAL] = "PK\1\2";
        size_t name = strlen(d->item[i].name) + 4;
        uint8_t *p = put_common(put16(central + 4, VERSION), &m[i], name);
        p = put16(put16(put16(p, 0), 0), 0);
        put32(put32(p, 0), m[i].at);
        PK_TRY(pk_writer_write(f, central, CENTRAL));
        PK_TRY(pk_writer_write(f, d->item[i].name, (int64_t)name - 4));
        PK_TRY(pk_writer_write(f, ".npy", 4));
        at += CENTRAL + (int64_t)name;
    }
    uint8_t end[END] = "PK\5\6";
    uint8_t *p = put16(put16(end + 8, (uint32_t)d->count), (uint32_t)d->count);
    put16(put32(put32(p, (uint32_t)(at - begin)), (uint32_t)begin), 0);
    return pk_writer_write(f, end, END);
}

static pk_status check_names(pk_dict *d) {
    PK_TRY(pk_dict_sort(d));
    PK_RETURN_IF(d->pairs > 0, PK_EINVAL, "an .npz archive holds no metadata: save as .safetensors");
    PK_RETURN_IF(d->count > 65534, PK_EINVAL, "%lld arrays, an archive takes 65534", (long long)d->count);
    for (int64_t i = 0; i < d->count; i++) {
        int64_t n = (int64_t)strlen(d->item[i].name);
        PK_RETURN_IF(n == 0 || n > 250 || !pk_utf8_valid(d->item[i].name, n), PK_EINVAL,
                     "'%.100s' cannot name an array: wants 1 to 250 bytes of valid UTF-8", d->item[i].name);
    }
    return PK_OK;
}

pk_status pk_npz_save(pk_dict *d, const char *path) {
    pk_writer f;
    PK_TRY(check_names(d));
    int64_t bytes = d->count * (int64_t)sizeof(member), at = 0;
    member *m = pk_alloc(bytes);
    if (!m) return pk_no_memory(bytes);
    pk_status status = pk_writer_open(&f, path);
    for (int64_t i = 0; status == PK_OK && i < d->count; i++) status = write_member(&f, &d->item[i], &m[i], &at);
    if (status == PK_OK) status = write_directory(&f, d, m, at);
    if (status == PK_OK) status = pk_writer_commit(&f);
    pk_writer_discard(&f);
    pk_free(m);
    return status;
}
