/* IDX: two zero bytes, the type (8: unsigned bytes), the number of dimensions, each as 4 bytes big-endian, the data. */
#include "data/idx.h"

#include <string.h>

#include "core/checked.h"
#include "data/stream.h"

#define MAX_IDX_DIMS 5
#define MAX_BYTES ((int64_t)1 << 40) /* of one file's content: nothing real comes near */

static pk_status read_exactly(pk_stream *s, void *out, int64_t bytes) {
    int64_t got = 0;
    PK_TRY(pk_stream_read(s, out, bytes, &got));
    PK_RETURN_IF(got < bytes, PK_EFORMAT, "%s: cut short: %lld bytes, %lld more wanted", s->source.name, (long long)got,
                 (long long)(bytes - got));
    return PK_OK;
}

static pk_status read_shape(pk_stream *s, int *ndim, int64_t *shape, int64_t *bytes) {
    uint8_t magic[4], size[4];
    PK_TRY(read_exactly(s, magic, 4));
    PK_RETURN_IF(magic[0] != 0 || magic[1] != 0, PK_EFORMAT, "%s: not an IDX file (begins with %02x %02x %02x %02x)",
                 s->source.name, magic[0], magic[1], magic[2], magic[3]);
    PK_RETURN_IF(magic[2] != 8, PK_EFORMAT, "%s: IDX type 0x%02x, only unsigned bytes (0x08) are read", s->source.name,
                 magic[2]);
    PK_RETURN_IF(magic[3] < 1 || magic[3] > MAX_IDX_DIMS, PK_EFORMAT, "%s: %d dimensions, read are 1 to %d",
                 s->source.name, magic[3], MAX_IDX_DIMS);
    *ndim = magic[3];
    *bytes = 1;
    for (int i = 0; i < *ndim; i++) {
        PK_TRY(read_exactly(s, size, 4));
        shape[i] = (int64_t)size[0] << 24 | (int64_t)size[1] << 16 | (int64_t)size[2] << 8 | size[3];
        PK_RETURN_IF(shape[i] == 0, PK_EFORMAT, "%s: dimension %d is 0", s->source.name, i + 1);
        PK_RETURN_IF(!pk_mul_ok(*bytes, shape[i], bytes) || *bytes > MAX_BYTES, PK_EFORMAT,
                     "%s: dimensions too large for any file", s->source.name);
    }
    return PK_OK;
}

/* The header again, in front of the data. */
static pk_status skip_header(pk_stream *s, int ndim) {
    uint8_t header[4 + 4 * MAX_IDX_DIMS];
    PK_TRY(pk_stream_rewind(s));
    return read_exactly(s, header, 4 + 4 * ndim);
}

/* Does the content hold `bytes` more, and no more? */
static pk_status check_length(pk_stream *s, int64_t bytes) {
    int64_t there;
    PK_TRY(pk_stream_rest(s, bytes, &there));
    PK_RETURN_IF(there < bytes, PK_EFORMAT, "%s: cut short: its header says %lld bytes of data, it holds %lld",
                 s->source.name, (long long)bytes, (long long)there);
    return PK_OK;
}

static pk_status read_idx(pk_stream *s, pk_tensor **out) {
    int ndim = 0;
    int64_t shape[MAX_IDX_DIMS], bytes = 0;
    PK_TRY(read_shape(s, &ndim, shape, &bytes));
    PK_TRY(check_length(s, bytes));
    PK_TRY(skip_header(s, ndim));
    pk_tensor *t;
    PK_TRY(pk_tensor_new(PK_UINT8, ndim, shape, &t));
    pk_status status = read_exactly(s, pk_u8(t), bytes);
    if (status == PK_OK)
        *out = t;
    else
        pk_tensor_release(t);
    return status;
}

pk_status pk_idx_read(const char *path, pk_tensor **out) {
    *out = NULL;
    pk_stream s;
    PK_TRY(pk_stream_open(&s, path));
    pk_status status = read_idx(&s, out);
    pk_stream_close(&s);
    return status;
}

pk_status pk_idx_images(const char *path, pk_tensor **out) {
    *out = NULL;
    pk_tensor *t;
    PK_TRY(pk_idx_read(path, &t));
    pk_status status = PK_OK;
    if (t->ndim != 3) {
        status = pk_fail(PK_EFORMAT, "%s: %d dimensions %s, images have 3 (count, height, width)", path, t->ndim,
                         pk_shape_text(t));
    } else {
        int64_t shape[4] = {t->shape[0], t->shape[1], t->shape[2], 1};
        int64_t stride[4] = {t->stride[0], t->stride[1], t->stride[2], 1};
        status = pk_tensor_window(t, 4, shape, stride, 0, out);
    }
    pk_tensor_release(t);
    return status;
}

/* Bytes 0 .. classes-1 to 1 .. classes. */
static pk_status number_labels(const char *path, const uint8_t *bytes, int64_t n, int64_t step, int classes,
                               pk_tensor **out) {
    PK_TRY(pk_tensor_new(PK_INT32, 1, &n, out));
    int32_t *label = pk_i32(*out);
    for (int64_t i = 0; i < n; i++) {
        int b = bytes[i * step];
        if (b >= classes) {
            pk_tensor_release(*out);
            *out = NULL;
            return pk_fail(PK_EFORMAT, "%s: label %d of item %lld, there are classes 0 to %d", path, b,
                           (long long)i + 1, classes - 1);
        }
        label[i] = b + 1;
    }
    return PK_OK;
}

pk_status pk_idx_labels(const char *path, int classes, pk_tensor **out) {
    *out = NULL;
    pk_tensor *t;
    PK_TRY(pk_idx_read(path, &t));
    pk_status status = PK_OK;
    if (t->ndim != 1)
        status = pk_fail(PK_EFORMAT, "%s: %d dimensions %s, labels have 1", path, t->ndim, pk_shape_text(t));
    else
        status = number_labels(path, pk_u8(t), t->shape[0], 1, classes, out);
    pk_tensor_release(t);
    return status;
}

/* ---- CIFAR ---- */

enum { SIDE = 32, PLANE = SIDE * SIDE };

static void planes_to_pixels(const uint8_t *planes, uint8_t *image) {
    for (int c = 0; c < 3; c++)
        for (int p = 0; p < PLANE; p++) image[p * 3 + c] = planes[c * PLANE + p];
}

static pk_status split_records(const char *path, const pk_cifar *kind, const pk_tensor *raw, pk_tensor **images,
                               pk_tensor **labels) {
    int64_t n = raw->shape[0], record = raw->shape[1];
    PK_TRY(number_labels(path, pk_u8(raw) + kind->label, n, record, kind->classes, labels));
    int64_t shape[4] = {n, SIDE, SIDE, 3};
    pk_status status = pk_tensor_new(PK_UINT8, 4, shape, images);
    if (status != PK_OK) {
        pk_tensor_release(*labels);
        *labels = NULL;
        return status;
    }
    for (int64_t i = 0; i < n; i++)
        planes_to_pixels(pk_u8(raw) + i * record + kind->labels, pk_u8(*images) + i * 3 * PLANE);
    return PK_OK;
}

static pk_status read_records(pk_stream *s, int64_t record, pk_tensor **raw) {
    int64_t bytes;
    PK_TRY(pk_stream_rest(s, MAX_BYTES, &bytes));
    PK_RETURN_IF(bytes == 0 || bytes % record != 0, PK_EFORMAT,
                 "%s: %lld bytes are not a whole number of records of %lld: cut short, or not a CIFAR binary file",
                 s->source.name, (long long)bytes, (long long)record);
    PK_TRY(pk_stream_rewind(s));
    int64_t shape[2] = {bytes / record, record};
    PK_TRY(pk_tensor_new(PK_UINT8, 2, shape, raw));
    return read_exactly(s, pk_u8(*raw), bytes);
}

pk_status pk_cifar_read(const char *path, const pk_cifar *kind, pk_tensor **images, pk_tensor **labels) {
    *images = *labels = NULL;
    pk_stream s;
    pk_tensor *raw = NULL;
    PK_TRY(pk_stream_open(&s, path));
    pk_status status = read_records(&s, kind->labels + 3 * PLANE, &raw);
    pk_stream_close(&s);
    if (status == PK_OK) status = split_records(path, kind, raw, images, labels);
    pk_tensor_release(raw);
    return status;
}
