/* One NumPy array: the header, a Python dictionary in one strict form, and the data. */
#include "io/npy.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"

static const struct {
    const char *name;
    pk_number type;
} types[] = {
    {"<f2", PK_NUM_F16}, {"<f4", PK_NUM_F32}, {"<f8", PK_NUM_F64}, {"|i1", PK_NUM_I8},  {"<i2", PK_NUM_I16},
    {"<i4", PK_NUM_I32}, {"<i8", PK_NUM_I64}, {"|u1", PK_NUM_U8},  {"<u2", PK_NUM_U16}, {"|b1", PK_NUM_BOOL},
};

/* ---- the header's text ---- */

typedef struct text {
    const char *at, *end, *name;
} text;

static void skip_blanks(text *t) {
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n')) t->at++;
}

/* Pass over `word` if it comes next. */
static bool take(text *t, const char *word) {
    size_t n = strlen(word);
    skip_blanks(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0) return false;
    t->at += n;
    return true;
}

/* A string in quotes, without escapes. */
static bool take_string(text *t, char *out, size_t size) {
    skip_blanks(t);
    char quote = t->at < t->end ? *t->at : '\0';
    if (quote != '\'' && quote != '"') return false;
    const char *from = t->at + 1, *to = memchr(from, quote, (size_t)(t->end - from));
    if (!to || (size_t)(to - from) >= size || memchr(from, '\\', (size_t)(to - from))) return false;
    memcpy(out, from, (size_t)(to - from));
    out[to - from] = '\0';
    t->at = to + 1;
    return true;
}

static bool take_number(text *t, int64_t *out) {
    skip_blanks(t);
    const char *from = t->at;
    for (*out = 0; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (!pk_mul_ok(*out, 10, out) || !pk_add_ok(*out, *t->at - '0', out)) return false;
    take(t, "L"); /* Python 2 */
    return t->at > from;
}

typedef struct array {
    pk_number type;
    bool fortran;
    int ndim;
    int64_t shape[PK_MAX_DIMS];
} array;

static pk_status read_descr(text *t, array *a) {
    char word[32] = "";
    bool plain = take_string(t, word, sizeof word);
    PK_RETURN_IF(!plain, PK_EFORMAT, "%s: a dtype of several fields is not read", t->name);
    PK_RETURN_IF(strchr(word, 'O'), PK_EFORMAT, "%s: dtype %s: Python objects are never read", t->name, word);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        bool order = word[0] == types[i].name[0] || (types[i].name[2] == '1' && strchr("<>=", word[0]));
        if (!order || strcmp(word + 1, types[i].name + 1) != 0) continue;
        a->type = types[i].type;
        return PK_OK;
    }
    return pk_fail(PK_EFORMAT, "%s: dtype %s, read are <f2 <f4 <f8 |i1 <i2 <i4 <i8 |u1 <u2 |b1", t->name, word);
}

static pk_status read_order(text *t, array *a) {
    a->fortran = take(t, "True");
    PK_RETURN_IF(!a->fortran && !take(t, "False"), PK_EFORMAT, "%s: fortran_order is neither True nor False", t->name);
    return PK_OK;
}

static pk_status read_shape(text *t, array *a) {
    bool good = take(t, "(");
    a->ndim = 0;
    while (good && !take(t, ")")) {
        PK_RETURN_IF(a->ndim == PK_MAX_DIMS, PK_EFORMAT, "%s: more than %d dimensions", t->name, PK_MAX_DIMS);
        good = take_number(t, &a->shape[a->ndim++]);
        if (good && !take(t, ",")) {
            good = a->ndim > 1 && take(t, ")"); /* (3) is a number, (3,) a shape */
            break;
        }
    }
    PK_RETURN_IF(!good, PK_EFORMAT, "%s: shape is not a tuple of whole numbers", t->name);
    return PK_OK;
}

static pk_status parse(text *t, array *a) {
    static const char *const fields[] = {"descr", "fortran_order", "shape"};
    static pk_status (*const readers[])(text *, array *) = {read_descr, read_order, read_shape};
    unsigned seen = 0;
    char key[32];
    bool good = take(t, "{");
    while (good && !take(t, "}")) {
        int f = 0;
        good = take_string(t, key, sizeof key) && take(t, ":");
        while (good && f < 3 && strcmp(key, fields[f]) != 0) f++;
        good = good && f < 3 && !(seen & 1u << f);
        if (!good) break;
        seen |= 1u << f;
        PK_TRY(readers[f](t, a));
        if (take(t, ",")) continue;
        good = take(t, "}");
        break;
    }
    skip_blanks(t);
    PK_RETURN_IF(!good || seen != 7 || t->at != t->end, PK_EFORMAT,
                 "%s: the header is not a dictionary of descr, fortran_order and shape", t->name);
    return PK_OK;
}

/* ---- reading ---- */

/* The header; *size becomes the bytes that are left for the data. */
static pk_status read_header(pk_pull *pull, void *context, int64_t *size, const char *name, array *a) {
    uint8_t front[12];
    PK_RETURN_IF(*size < 12, PK_EFORMAT, "%s: %lld bytes: too short for an array", name, (long long)*size);
    PK_TRY(pull(context, front, 10));
    PK_RETURN_IF(memcmp(front, "\x93NUMPY", 6) != 0, PK_EFORMAT, "%s: not a NumPy array", name);
    PK_RETURN_IF(front[6] < 1 || front[6] > 3 || front[7] != 0, PK_EFORMAT,
                 "%s: version %d.%d of the format, read are 1 to 3", name, front[6], front[7]);
    int64_t length = pk_le16(front + 8);
    *size -= 10;
    if (front[6] > 1) {
        PK_TRY(pull(context, front + 10, 2));
        length |= (int64_t)pk_le16(front + 10) << 16;
        *size -= 2;
    }
    PK_RETURN_IF(length > *size, PK_EFORMAT, "%s: cut short in its header", name);
    PK_RETURN_IF(length > PK_NPY_MAX_HEADER, PK_EFORMAT, "%s: a header of %lld bytes, at most %d are read", name,
                 (long long)length, PK_NPY_MAX_HEADER);
    char *bytes = pk_alloc(length);
    if (!bytes) return pk_no_memory(length);
    pk_status status = pull(context, bytes, length);
    text t = {bytes, bytes + length, name};
    if (status == PK_OK) status = parse(&t, a);
    pk_free(bytes);
    *size -= length;
    return status;
}

/* Data in Fortran order is a tensor of the reversed shape, seen with its dimensions turned round. */
static pk_status read_data(pk_pull *pull, void *context, const char *name, const array *a, pk_tensor **out) {
    int64_t shape[PK_MAX_DIMS], stride[PK_MAX_DIMS];
    for (int i = 0; i < a->ndim; i++) shape[i] = a->shape[a->fortran ? a->ndim - 1 - i : i];
    pk_tensor *t, *view = NULL;
    PK_TRY(pk_tensor_new(pk_number_dtype(a->type), a->ndim, shape, &t));
    pk_status status = pk_number_fill(a->type, pull, context, name, t);
    if (status == PK_OK && a->fortran && a->ndim > 1) {
        for (int i = 0; i < a->ndim; i++) stride[i] = t->stride[a->ndim - 1 - i];
        status = pk_tensor_window(t, a->ndim, a->shape, stride, 0, &view);
        pk_tensor_release(t);
        t = view;
        view = NULL;
        if (status == PK_OK) status = pk_tensor_contiguous(t, &view);
        pk_tensor_release(t);
        t = view;
    }
    if (status == PK_OK)
        *out = t;
    else
        pk_tensor_release(t);
    return status;
}

pk_status pk_npy_read(pk_pull *pull, void *context, int64_t size, const char *name, pk_tensor **out) {
    array a = {0};
    int64_t bytes;
    *out = NULL;
    PK_TRY(read_header(pull, context, &size, name, &a));
    PK_RETURN_IF(!pk_number_bytes(a.type, a.ndim, a.shape, &bytes), PK_EFORMAT, "%s: shape %s is larger than any file",
                 name, pk_dims_text(a.ndim, a.shape));
    PK_RETURN_IF(bytes != size, PK_EFORMAT, "%s: shape %s of %s needs %lld bytes, the file holds %lld", name,
                 pk_dims_text(a.ndim, a.shape), pk_number_name(a.type), (long long)bytes, (long long)size);
    return read_data(pull, context, name, &a, out);
}

pk_status pk_npy_load(pk_source *s, pk_tensor **out) {
    pk_place p = {s, 0};
    return pk_npy_read(pk_pull_place, &p, s->size, s->name, out);
}

/* ---- writing ---- */

int64_t pk_npy_header(const pk_tensor *t, uint8_t out[PK_NPY_HEADER]) {
    static const char *const descr[] = {[PK_FLOAT32] = "<f4", [PK_INT32] = "<i4", [PK_UINT8] = "|u1"};
    char *p = (char *)out + 10;
    p += sprintf(p, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr[t->dtype]);
    for (int i = 0; i < t->ndim; i++) p += sprintf(p, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    p += sprintf(p, "%s), }", t->ndim == 1 ? "," : "");
    int64_t used = p - (char *)out + 1, size = pk_round_up(used, 64); /* so that the data is aligned */
    memset(p, ' ', (size_t)(size - used));
    out[size - 1] = '\n';
    memcpy(out, "\x93NUMPY\1\0", 8);
    out[8] = (uint8_t)(size - 10);
    out[9] = (uint8_t)((size - 10) >> 8);
    return size;
}

pk_status pk_npy_save(const pk_tensor *t, const char *path) {
    uint8_t header[PK_NPY_HEADER];
    pk_tensor *packed = NULL;
    pk_writer f;
    pk_status status = pk_writer_open(&f, path);
    if (status == PK_OK) status = pk_tensor_contiguous((pk_tensor *)t, &packed);
    if (status == PK_OK) status = pk_writer_write(&f, header, pk_npy_header(t, header));
    int64_t bytes = pk_numel(t) * pk_dtype_size(t->dtype);
    if (status == PK_OK) status = pk_writer_write(&f, pk_bytes(packed), bytes);
    if (status == PK_OK) status = pk_writer_commit(&f);
    pk_tensor_release(packed);
    pk_writer_discard(&f);
    return status;
}
