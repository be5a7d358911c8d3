/* Writing safetensors files: header, checksum, data, all through the crash-safe writer. */
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/json.h"
#include "io/safetensors.h"

/* Text that grows. Appending after a failure does nothing; the failure is seen at the end. */
typedef struct text {
    char *at;
    int64_t size, room;
    bool failed;
} text;

static void put(text *t, const char *s, int64_t n) {
    if (t->failed) return;
    if (n > t->room - t->size) {
        int64_t room = pk_max(2 * t->room, t->size + n + 256);
        char *bigger = pk_alloc(room);
        if (!bigger) {
            t->failed = true;
            return;
        }
        if (t->size > 0) memcpy(bigger, t->at, (size_t)t->size);
        pk_free(t->at);
        t->at = bigger;
        t->room = room;
    }
    memcpy(t->at + t->size, s, (size_t)n);
    t->size += n;
}

static void put_text(text *t, const char *s) { put(t, s, (int64_t)strlen(s)); }

static void put_number(text *t, int64_t n) {
    char buffer[24];
    put(t, buffer, snprintf(buffer, sizeof buffer, "%lld", (long long)n));
}

/* A JSON string. The text is valid UTF-8 (checked before). */
static void put_string(text *t, const char *s) {
    put(t, "\"", 1);
    for (; *s; s++) {
        char buffer[8];
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            put(t, buffer, snprintf(buffer, sizeof buffer, "\\%c", c));
        else if (c < 0x20)
            put(t, buffer, snprintf(buffer, sizeof buffer, "\\u%04x", c));
        else
            put(t, s, 1);
    }
    put(t, "\"", 1);
}

static void put_pair(text *t, const char *key, const char *value) {
    put_string(t, key);
    put_text(t, ":");
    put_string(t, value);
}

static const char *file_type(pk_dtype dtype) {
    return pk_number_name(dtype == PK_FLOAT32 ? PK_NUM_F32 : dtype == PK_INT32 ? PK_NUM_I32 : PK_NUM_U8);
}

/* Visit the tensors in the file's order: 4-byte elements, then bytes. */
typedef pk_status visit(void *context, const pk_named *item);
static pk_status each(const pk_dict *d, visit *f, void *context) {
    for (int bytes = 0; bytes < 2; bytes++)
        for (int64_t i = 0; i < d->count; i++)
            if ((d->item[i].tensor->dtype == PK_UINT8) == (bytes == 1)) PK_TRY(f(context, &d->item[i]));
    return PK_OK;
}

typedef struct writing {
    text header;
    int64_t offset;
    uint32_t crc;
    pk_writer out;
} writing;

static pk_status describe(void *context, const pk_named *item) {
    writing *w = context;
    const pk_tensor *t = item->tensor;
    text *h = &w->header;
    int64_t bytes, end;
    PK_RETURN_IF(!pk_mul_ok(pk_numel(t), pk_dtype_size(t->dtype), &bytes) || !pk_add_ok(w->offset, bytes, &end),
                 PK_EINVAL, "%.100s: too large for a file", item->name);
    put_text(h, ",");
    put_string(h, item->name);
    put_text(h, ":{\"dtype\":\"");
    put_text(h, file_type(t->dtype));
    put_text(h, "\",\"shape\":[");
    for (int i = 0; i < t->ndim; i++) {
        if (i > 0) put_text(h, ",");
        put_number(h, t->shape[i]);
    }
    put_text(h, "],\"data_offsets\":[");
    put_number(h, w->offset);
    put_text(h, ",");
    put_number(h, end);
    put_text(h, "]}");
    w->offset = end;
    return PK_OK;
}

static pk_status sum(void *context, const pk_named *item) {
    writing *w = context;
    pk_tensor *t = NULL;
    PK_TRY(pk_tensor_contiguous(item->tensor, &t));
    w->crc = pk_st_entry_crc(w->crc, item->name, file_type(t->dtype), t->ndim, t->shape);
    w->crc = pk_st_data_crc(w->crc, pk_bytes(t), pk_numel(t) * pk_dtype_size(t->dtype));
    pk_tensor_release(t);
    return PK_OK;
}

static pk_status put_data(void *context, const pk_named *item) {
    writing *w = context;
    pk_tensor *t = NULL;
    PK_TRY(pk_tensor_contiguous(item->tensor, &t));
    pk_status status = pk_writer_write(&w->out, pk_bytes(t), pk_numel(t) * pk_dtype_size(t->dtype));
    pk_tensor_release(t);
    return status;
}

static pk_status check_text(const char *what, const char *s) {
    PK_RETURN_IF(!pk_utf8_valid(s, (int64_t)strlen(s)), PK_EINVAL, "%s is not valid UTF-8: %.100s", what, s);
    return PK_OK;
}

static pk_status check_dict(pk_dict *d) {
    PK_TRY(pk_dict_sort(d));
    PK_RETURN_IF(d->count > PK_ST_MAX_TENSORS - 1, PK_EINVAL, "%lld tensors, a file takes %d", (long long)d->count,
                 PK_ST_MAX_TENSORS - 1);
    PK_RETURN_IF(d->pairs > PK_ST_MAX_PAIRS - 1, PK_EINVAL, "%lld entries of metadata, a file takes %d",
                 (long long)d->pairs, PK_ST_MAX_PAIRS - 1);
    for (int64_t i = 0; i < d->count; i++) {
        PK_TRY(check_text("a tensor's name", d->item[i].name));
        PK_RETURN_IF(strcmp(d->item[i].name, "__metadata__") == 0, PK_EINVAL, "a tensor cannot be named __metadata__");
    }
    for (int64_t i = 0; i < d->pairs; i++) {
        PK_TRY(check_text("a metadata key", d->pair[i].key));
        PK_TRY(check_text("a metadata value", d->pair[i].value));
    }
    return PK_OK;
}

/* The checksum first: it goes in front of the tensors. */
static pk_status make_header(const pk_dict *d, writing *w) {
    for (int64_t i = 0; i < d->pairs; i++) {
        if (strcmp(d->pair[i].key, PK_ST_CRC) == 0) continue;
        w->crc = pk_st_text_crc(pk_st_text_crc(w->crc, d->pair[i].key), d->pair[i].value);
    }
    PK_TRY(each(d, sum, w));
    char digits[16];
    snprintf(digits, sizeof digits, "%08x", w->crc);
    put_text(&w->header, "{\"__metadata__\":{");
    put_pair(&w->header, PK_ST_CRC, digits);
    for (int64_t i = 0; i < d->pairs; i++) {
        if (strcmp(d->pair[i].key, PK_ST_CRC) == 0) continue;
        put_text(&w->header, ",");
        put_pair(&w->header, d->pair[i].key, d->pair[i].value);
    }
    put_text(&w->header, "}");
    PK_TRY(each(d, describe, w));
    put_text(&w->header, "}");
    while (w->header.size % 8 != 0 && !w->header.failed) put_text(&w->header, " ");
    if (w->header.failed) return pk_no_memory(w->header.size);
    PK_RETURN_IF(w->header.size > PK_ST_MAX_HEADER, PK_EINVAL, "names and metadata take %lld bytes, a file takes %d",
                 (long long)w->header.size, PK_ST_MAX_HEADER);
    return PK_OK;
}

static pk_status write_file(const pk_dict *d, writing *w, const char *path) {
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)w->header.size >> 8 * i);
    PK_TRY(pk_writer_open(&w->out, path));
    PK_TRY(pk_writer_write(&w->out, length, 8));
    PK_TRY(pk_writer_write(&w->out, w->header.at, w->header.size));
    PK_TRY(each(d, put_data, w));
    return pk_writer_commit(&w->out);
}

pk_status pk_safetensors_save(pk_dict *d, const char *path) {
    writing w;
    memset(&w, 0, sizeof w);
    w.out.fd = -1;
    pk_status status = check_dict(d);
    if (status == PK_OK) status = make_header(d, &w);
    if (status == PK_OK) status = write_file(d, &w, path);
    pk_writer_discard(&w.out);
    pk_free(w.header.at);
    return status;
}
