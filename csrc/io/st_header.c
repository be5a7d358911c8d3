/* The header of a safetensors file: everything it claims is checked against the file's size before it is believed. */
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/json.h"

#define SLACK (24 << 20) /* what the most entries that a file may have take in memory, some 300 bytes each */

/* What the parts of the parsing share. */
typedef struct parse {
    const pk_json *j;
    pk_st_header *h;
    char *text; /* where the next decoded string goes in h->text */
} parse;

static pk_status decode(parse *p, int token, const char *what, char **out) {
    PK_RETURN_IF(pk_json_kind_of(p->j, token) != PK_JSON_STRING, PK_EFORMAT, "%s is not a string", what);
    PK_RETURN_IF(!pk_json_string(p->j, token, p->text), PK_EFORMAT, "%s holds a character that text cannot have", what);
    *out = p->text;
    p->text += strlen(p->text) + 1;
    return PK_OK;
}

static pk_status read_metadata(parse *p, int token) {
    pk_st_header *h = p->h;
    PK_RETURN_IF(pk_json_kind_of(p->j, token) != PK_JSON_OBJECT, PK_EFORMAT, "__metadata__ is not an object");
    int n = pk_json_size(p->j, token);
    PK_RETURN_IF(n > PK_ST_MAX_PAIRS, PK_EFORMAT, "%d entries of __metadata__, at most %d are read", n,
                 PK_ST_MAX_PAIRS);
    h->pair = pk_alloc(2 * (int64_t)n * (int64_t)sizeof *h->pair);
    if (!h->pair) return pk_no_memory(2 * (int64_t)n * (int64_t)sizeof *h->pair);
    token++;
    for (int i = 0; i < 2 * n; i++) {
        PK_TRY(decode(p, token, "an entry of __metadata__", &h->pair[i]));
        token = pk_json_after(p->j, token);
    }
    h->pairs = n;
    return PK_OK;
}

static pk_status read_type(parse *p, int token, pk_st_entry *e) {
    for (int i = 0; i < PK_NUMBERS; i++)
        if (pk_json_is(p->j, token, pk_number_name((pk_number)i))) {
            e->type = (pk_number)i;
            return PK_OK;
        }
    char text[16] = "?";
    if (pk_json_kind_of(p->j, token) == PK_JSON_STRING && pk_json_room(p->j, token) <= (int64_t)sizeof text)
        pk_json_string(p->j, token, text);
    return pk_fail(PK_EFORMAT, "%.100s: dtype %s, read are F32 F16 BF16 F64 I32 I64 I16 I8 U16 U8 BOOL", e->name, text);
}

static pk_status read_shape(parse *p, int token, pk_st_entry *e) {
    int n = pk_json_kind_of(p->j, token) == PK_JSON_ARRAY ? pk_json_size(p->j, token) : -1;
    PK_RETURN_IF(n < 0, PK_EFORMAT, "%.100s: shape is not an array", e->name);
    PK_RETURN_IF(n > PK_MAX_DIMS, PK_EFORMAT, "%.100s: %d dimensions, at most %d are read", e->name, n, PK_MAX_DIMS);
    for (int i = 0; i < n; i++)
        PK_RETURN_IF(!pk_json_integer(p->j, token + 1 + i, &e->shape[i]), PK_EFORMAT,
                     "%.100s: shape holds something else than whole numbers", e->name);
    e->ndim = n;
    return PK_OK;
}

static pk_status read_offsets(parse *p, int token, pk_st_entry *e) {
    bool good = pk_json_kind_of(p->j, token) == PK_JSON_ARRAY && pk_json_size(p->j, token) == 2 &&
                pk_json_integer(p->j, token + 1, &e->begin) && pk_json_integer(p->j, token + 2, &e->end);
    PK_RETURN_IF(!good, PK_EFORMAT, "%.100s: data_offsets is not two whole numbers", e->name);
    return PK_OK;
}

/* Does the shape take exactly the bytes between the offsets? */
static pk_status check_size(const pk_st_entry *e) {
    int64_t bytes;
    PK_RETURN_IF(!pk_number_bytes(e->type, e->ndim, e->shape, &bytes), PK_EFORMAT,
                 "%.100s: shape %s is larger than any file", e->name, pk_dims_text(e->ndim, e->shape));
    PK_RETURN_IF(e->begin > e->end || e->end - e->begin != bytes, PK_EFORMAT,
                 "%.100s: shape %s of %s needs %lld bytes, the offsets say %lld to %lld", e->name,
                 pk_dims_text(e->ndim, e->shape), pk_number_name(e->type), (long long)bytes, (long long)e->begin,
                 (long long)e->end);
    return PK_OK;
}

static pk_status read_entry(parse *p, int token, pk_st_entry *e) {
    PK_RETURN_IF(pk_json_kind_of(p->j, token) != PK_JSON_OBJECT, PK_EFORMAT, "%.100s: not an object", e->name);
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    pk_status (*const readers[])(parse *, int, pk_st_entry *) = {read_type, read_shape, read_offsets};
    unsigned seen = 0;
    int n = pk_json_size(p->j, token), at = token + 1;
    for (int i = 0; i < n; i++) {
        int f = 0;
        while (f < 3 && !pk_json_is(p->j, at, fields[f])) f++;
        PK_RETURN_IF(f == 3, PK_EFORMAT, "%.100s: a field that is none of dtype, shape, data_offsets", e->name);
        PK_RETURN_IF(seen & 1u << f, PK_EFORMAT, "%.100s: %s occurs twice", e->name, fields[f]);
        seen |= 1u << f;
        PK_TRY(readers[f](p, at + 1, e));
        at = pk_json_after(p->j, at + 1);
    }
    for (int f = 0; f < 3; f++)
        PK_RETURN_IF(!(seen & 1u << f), PK_EFORMAT, "%.100s: no %s", e->name, fields[f]);
    return check_size(e);
}

static pk_status read_members(parse *p) {
    pk_st_header *h = p->h;
    bool metadata = false;
    int n = pk_json_size(p->j, 0), at = 1;
    for (int i = 0; i < n; i++) {
        if (pk_json_is(p->j, at, "__metadata__")) {
            PK_RETURN_IF(metadata, PK_EFORMAT, "__metadata__ occurs twice");
            metadata = true;
            PK_TRY(read_metadata(p, at + 1));
        } else {
            pk_st_entry *e = &h->entry[h->count];
            memset(e, 0, sizeof *e);
            char *name = NULL;
            PK_TRY(decode(p, at, "a tensor's name", &name));
            e->name = name;
            PK_TRY(read_entry(p, at + 1, e));
            h->count++;
        }
        at = pk_json_after(p->j, at + 1);
    }
    return PK_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const pk_st_entry *)a)->name, ((const pk_st_entry *)b)->name);
}

static int by_place(const void *a, const void *b) {
    const pk_st_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return x->name < y->name ? -1 : 1; /* empty tensors: as the header lists them (names are decoded in that order) */
}

static int by_key(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Every name once; the data without holes or overlaps, from the header to the end of the file. */
static pk_status check_entries(pk_st_header *h, int64_t data_bytes) {
    pk_st_entry *e = h->entry;
    if (h->count > 1) qsort(e, (size_t)h->count, sizeof *e, by_name);
    for (int64_t i = 1; i < h->count; i++)
        PK_RETURN_IF(strcmp(e[i - 1].name, e[i].name) == 0, PK_EFORMAT, "tensor %.100s occurs twice", e[i].name);
    if (h->count > 1) qsort(e, (size_t)h->count, sizeof *e, by_place);
    int64_t expected = 0;
    for (int64_t i = 0; i < h->count; i++) {
        PK_RETURN_IF(e[i].begin != expected, PK_EFORMAT, "%.100s: data begins at %lld, expected %lld (%s)", e[i].name,
                     (long long)e[i].begin, (long long)expected, e[i].begin < expected ? "an overlap" : "a hole");
        expected = e[i].end;
    }
    PK_RETURN_IF(expected != data_bytes, PK_EFORMAT, "the header describes %lld bytes of data, the file holds %lld",
                 (long long)expected, (long long)data_bytes);
    if (h->pairs > 1) qsort(h->pair, (size_t)h->pairs, 2 * sizeof *h->pair, by_key);
    for (int64_t i = 1; i < h->pairs; i++)
        PK_RETURN_IF(strcmp(h->pair[2 * i - 2], h->pair[2 * i]) == 0, PK_EFORMAT, "__metadata__ %.100s occurs twice",
                     h->pair[2 * i]);
    return PK_OK;
}

/* From the header's text to checked entries. budget: bytes that may be allocated. */
static pk_status parse_header(pk_source *s, pk_st_header *h, const char *text, int64_t size, int64_t budget) {
    PK_RETURN_IF(text[0] != '{', PK_EFORMAT, "the header does not begin with {");
    pk_json j;
    PK_TRY(pk_json_parse(&j, text, size, budget - size));
    parse p = {&j, h, NULL};
    pk_status status = PK_OK;
    int64_t members = pk_json_kind_of(&j, 0) == PK_JSON_OBJECT ? pk_json_size(&j, 0) : 0, bytes = 0;
    if (members > PK_ST_MAX_TENSORS) {
        status = pk_fail(PK_EFORMAT, "%lld tensors, at most %d are read", (long long)members, PK_ST_MAX_TENSORS);
        goto done;
    }
    bytes = members * (int64_t)sizeof *h->entry;
    if (bytes > budget - size - pk_json_bytes(&j)) {
        status = pk_fail(PK_EFORMAT, "%lld tensors: too many for a file of this size", (long long)members);
        goto done;
    }
    h->entry = pk_alloc(bytes);
    h->text = p.text = pk_alloc(size + members + 1);
    if (!h->entry || !h->text) {
        status = pk_no_memory(bytes);
        goto done;
    }
    PK_TRY_DONE(read_members(&p));
    status = check_entries(h, s->size - h->data);
done:
    pk_json_free(&j);
    return status;
}

static pk_status read_header(pk_source *s, pk_st_header *h) {
    uint8_t raw[8];
    PK_RETURN_IF(s->size < 10, PK_EFORMAT, "%lld bytes: too short for a safetensors file", (long long)s->size);
    PK_TRY(pk_source_read(s, 0, raw, 8));
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | raw[i];
    PK_RETURN_IF(n > (uint64_t)s->size - 8, PK_EFORMAT,
                 "a header of %llu bytes in a file of %lld: cut short, or not a safetensors file",
                 (unsigned long long)n, (long long)s->size);
    PK_RETURN_IF(n < 2 || n > PK_ST_MAX_HEADER, PK_EFORMAT, "a header of %llu bytes, allowed are 2 to %d",
                 (unsigned long long)n, PK_ST_MAX_HEADER);
    int64_t size = (int64_t)n, budget;
    PK_RETURN_IF(!pk_mul_ok(s->size, 2, &budget) || !pk_add_ok(budget, SLACK, &budget), PK_EFORMAT, "file too large");
    h->data = 8 + size;
    char *text = pk_alloc(size);
    if (!text) return pk_no_memory(size);
    pk_status status = pk_source_read(s, 8, text, size);
    if (status == PK_OK) status = parse_header(s, h, text, size, budget - size);
    pk_free(text);
    return status;
}

pk_status pk_st_header_read(pk_source *s, pk_st_header *h) {
    memset(h, 0, sizeof *h);
    return read_header(s, h);
}

void pk_st_header_free(pk_st_header *h) {
    pk_free(h->entry);
    pk_free(h->text);
    pk_free(h->pair);
    memset(h, 0, sizeof *h);
}
