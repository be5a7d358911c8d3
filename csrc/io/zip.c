/* The directory of a ZIP archive. Everything it claims is checked against the file's size before it is believed. */
#include "io/zip.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/json.h"
#include "io/number.h"

enum {
    END = 22, END64 = 56, LOCATOR64 = 20, CENTRAL = 46, LOCAL = 30, /* bytes of the fixed parts */
    COMMENT = 65535, STORED = 0, DEFLATED = 8, ENCRYPTED = 1, DESCRIPTOR = 8, DEFLATE_MOST = 1032
};
#define IS(p, a, b) (memcmp(p, "PK" a b, 4) == 0)
#define NONE16 0xffffu
#define NONE32 0xffffffffu

typedef struct place {
    int64_t at, size, count; /* of the central directory */
} place;

/* ---- the end records ---- */

/* Where the end record begins: its comment must reach exactly to the end of the file. */
static pk_status find_end(pk_source *s, uint8_t *end, int64_t *at) {
    PK_RETURN_IF(s->size < END, PK_EFORMAT, "%lld bytes: too short for a ZIP archive", (long long)s->size);
    int64_t bytes = pk_min(s->size, END + COMMENT), found = -1;
    uint8_t *tail = pk_alloc(bytes);
    if (!tail) return pk_no_memory(bytes);
    pk_status status = pk_source_read(s, s->size - bytes, tail, bytes);
    for (int64_t i = bytes - END; status == PK_OK && i >= 0 && found < 0; i--)
        if (IS(tail + i, "\5", "\6") && pk_le16(tail + i + 20) == bytes - END - i) found = i;
    if (found >= 0) memcpy(end, tail + found, END);
    pk_free(tail);
    PK_TRY(status);
    PK_RETURN_IF(found < 0, PK_EFORMAT, "no end of a ZIP archive: cut short, or not one");
    *at = s->size - bytes + found;
    return PK_OK;
}

/* A value of 64 bits that must be a place or a size here. */
static bool fits(uint64_t value, int64_t *out) {
    *out = (int64_t)value;
    return value <= INT64_MAX;
}

/* ZIP64: a locator before the end record says where the larger end record is. */
static pk_status read_end64(pk_source *s, int64_t *end, place *p) {
    uint8_t locator[LOCATOR64] = {0}, record[END64];
    int64_t at, size;
    bool good = *end >= LOCATOR64 + END64;
    if (good) PK_TRY(pk_source_read(s, *end - LOCATOR64, locator, LOCATOR64));
    good = good && IS(locator, "\6", "\7") && pk_le32(locator + 4) == 0 && pk_le32(locator + 16) <= 1 &&
           fits(pk_le64(locator + 8), &at) && at <= *end - LOCATOR64 - END64;
    PK_RETURN_IF(!good, PK_EFORMAT, "a ZIP64 archive without a good locator");
    PK_TRY(pk_source_read(s, at, record, END64));
    good = IS(record, "\6", "\6") && fits(pk_le64(record + 4), &size) && size == *end - LOCATOR64 - at - 12 &&
           pk_le32(record + 16) == 0 && pk_le32(record + 20) == 0 && pk_le64(record + 24) == pk_le64(record + 32) &&
           fits(pk_le64(record + 32), &p->count) && fits(pk_le64(record + 40), &p->size) &&
           fits(pk_le64(record + 48), &p->at);
    PK_RETURN_IF(!good, PK_EFORMAT, "a ZIP64 archive without a good end record");
    *end = at;
    return PK_OK;
}

static pk_status find_directory(pk_source *s, place *p) {
    uint8_t end[END] = {0};
    int64_t at, last;
    PK_TRY(find_end(s, end, &at));
    PK_RETURN_IF(pk_le16(end + 4) != 0 || pk_le16(end + 6) != 0 || pk_le16(end + 8) != pk_le16(end + 10), PK_EFORMAT,
                 "a ZIP archive in several parts");
    *p = (place){pk_le32(end + 16), pk_le32(end + 12), pk_le16(end + 10)};
    if (p->count == NONE16 || p->size == NONE32 || p->at == NONE32) {
        PK_TRY(read_end64(s, &at, p));
    } else if (at >= LOCATOR64 + END64) { /* ZIP64 records may be there although nothing needs them */
        uint8_t locator[4];
        PK_TRY(pk_source_read(s, at - LOCATOR64, locator, 4));
        if (IS(locator, "\6", "\7")) PK_TRY(read_end64(s, &at, p));
    }
    PK_RETURN_IF(!pk_add_ok(p->at, p->size, &last) || last != at, PK_EFORMAT,
                 "the ZIP directory, %lld bytes at %lld, does not end where the archive's end record begins (%lld)",
                 (long long)p->size, (long long)p->at, (long long)at);
    PK_RETURN_IF(p->size > PK_ZIP_MAX_DIRECTORY, PK_EFORMAT, "a ZIP directory of %lld bytes, at most %d are read",
                 (long long)p->size, PK_ZIP_MAX_DIRECTORY);
    PK_RETURN_IF(p->count > PK_ZIP_MAX_MEMBERS || p->count > p->size / CENTRAL, PK_EFORMAT,
                 "a ZIP directory of %lld members in %lld bytes: at most %d are read, of %d bytes each",
                 (long long)p->count, (long long)p->size, PK_ZIP_MAX_MEMBERS, CENTRAL);
    return PK_OK;
}

/* ---- the directory ---- */

/* The values that did not fit 32 bits stand in an extra field, in this order. */
static pk_status read_extra64(pk_zip_entry *e, const uint8_t *extra, int64_t bytes) {
    int64_t *const value[] = {&e->size, &e->packed, &e->header};
    for (int64_t at = 0; at + 4 <= bytes;) {
        int64_t n = pk_le16(extra + at + 2), next = at + 4 + n;
        if (next > bytes) break;
        for (int64_t i = 0, from = at + 4; pk_le16(extra + at) == 1 && i < 3; i++) {
            if (*value[i] != NONE32) continue;
            PK_RETURN_IF(from + 8 > next || !fits(pk_le64(extra + from), value[i]), PK_EFORMAT,
                         "%.100s: no good ZIP64 sizes", e->name);
            from += 8;
        }
        at = next;
    }
    return PK_OK;
}

/* The record at p, of which `left` bytes are there; *used: its length. The name moves to the front of it. */
static pk_status read_central(uint8_t *p, int64_t left, pk_zip_entry *e, int64_t *used) {
    PK_RETURN_IF(left < CENTRAL || !IS(p, "\1", "\2"), PK_EFORMAT, "a damaged ZIP directory");
    unsigned flags = pk_le16(p + 8), method = pk_le16(p + 10);
    int64_t name = pk_le16(p + 28), extra = pk_le16(p + 30);
    *used = CENTRAL + name + extra + pk_le16(p + 32);
    PK_RETURN_IF(*used > left, PK_EFORMAT, "a damaged ZIP directory");
    *e = (pk_zip_entry){(const char *)p,     pk_le32(p + 42), 0, pk_le32(p + 20), pk_le32(p + 24), pk_le32(p + 16),
                        method == DEFLATED};
    memmove(p, p + CENTRAL, (size_t)name);
    p[name] = '\0';
    PK_RETURN_IF(name == 0 || (int64_t)strlen(e->name) != name || !pk_utf8_valid(e->name, name), PK_EFORMAT,
                 "a ZIP member whose name is no text");
    PK_RETURN_IF(flags & ENCRYPTED, PK_EFORMAT, "%.100s: encrypted", e->name);
    PK_RETURN_IF(method != STORED && method != DEFLATED, PK_EFORMAT,
                 "%.100s: packed by method %u, read are 0 (stored) and 8 (deflated)", e->name, method);
    PK_TRY(read_extra64(e, p + CENTRAL + name, extra));
    PK_RETURN_IF(method == STORED ? e->packed != e->size : e->size / DEFLATE_MOST > e->packed, PK_EFORMAT,
                 "%.100s: %lld bytes declared, which %lld packed ones cannot hold", e->name, (long long)e->size,
                 (long long)e->packed);
    return PK_OK;
}

/* The header in front of the data must tell the same; only its length is new. `end`: where members end. */
static pk_status read_local(pk_source *s, pk_zip_entry *e, int64_t end) {
    uint8_t p[LOCAL], part[256];
    int64_t name = (int64_t)strlen(e->name), last;
    PK_RETURN_IF(!pk_add_ok(e->header, LOCAL + name, &last) || last > end, PK_EFORMAT, "%.100s: outside of the archive",
                 e->name);
    PK_TRY(pk_source_read(s, e->header, p, LOCAL));
    bool same = IS(p, "\3", "\4") && (pk_le16(p + 8) == DEFLATED) == e->deflated && !(pk_le16(p + 6) & ENCRYPTED) &&
                pk_le16(p + 26) == name;
    if (same && !(pk_le16(p + 6) & DESCRIPTOR)) /* sizes come after the data otherwise */
        same = pk_le32(p + 14) == e->crc && (pk_le32(p + 18) == e->packed || pk_le32(p + 18) == NONE32) &&
               (pk_le32(p + 22) == e->size || pk_le32(p + 22) == NONE32);
    for (int64_t at = 0; same && at < name;) {
        int64_t n = pk_min(name - at, (int64_t)sizeof part);
        PK_TRY(pk_source_read(s, e->header + LOCAL + at, part, n));
        same = memcmp(part, e->name + at, (size_t)n) == 0;
        at += n;
    }
    PK_RETURN_IF(!same, PK_EFORMAT, "%.100s: its header is not what the ZIP directory says", e->name);
    e->data = last + pk_le16(p + 28);
    PK_RETURN_IF(!pk_add_ok(e->data, e->packed, &last) || last > end, PK_EFORMAT, "%.100s: outside of the archive",
                 e->name);
    return PK_OK;
}

static int by_name(const void *a, const void *b, void *context) {
    const pk_zip *z = context;
    return strcmp(z->entry[*(const int32_t *)a].name, z->entry[*(const int32_t *)b].name);
}

static int by_place(const void *a, const void *b) {
    int64_t x = ((const pk_zip_entry *)a)->header, y = ((const pk_zip_entry *)b)->header;
    return x < y ? -1 : x > y;
}

static pk_status check_entries(pk_zip *z) {
    pk_zip_entry *e = z->entry;
    if (z->count > 1) qsort(e, (size_t)z->count, sizeof *e, by_place);
    for (int64_t i = 1; i < z->count; i++)
        PK_RETURN_IF(e[i - 1].data + e[i - 1].packed > e[i].header, PK_EFORMAT, "ZIP members %.100s and %.100s overlap",
                     e[i - 1].name, e[i].name);
    for (int64_t i = 0; i < z->count; i++) z->sorted[i] = (int32_t)i;
    if (z->count > 1) qsort_r(z->sorted, (size_t)z->count, sizeof *z->sorted, by_name, z);
    for (int64_t i = 1; i < z->count; i++)
        PK_RETURN_IF(strcmp(e[z->sorted[i - 1]].name, e[z->sorted[i]].name) == 0, PK_EFORMAT,
                     "ZIP member %.100s occurs twice", e[z->sorted[i]].name);
    return PK_OK;
}

pk_status pk_zip_open(pk_zip *z, pk_source *s) {
    place p;
    memset(z, 0, sizeof *z);
    z->source = s;
    PK_TRY(find_directory(s, &p));
    z->entry = pk_alloc(p.count * (int64_t)sizeof *z->entry);
    z->sorted = pk_alloc(p.count * (int64_t)sizeof *z->sorted);
    z->directory = pk_alloc(p.size + 1);
    if (!z->entry || !z->sorted || !z->directory) return pk_no_memory(p.size);
    PK_TRY(pk_source_read(s, p.at, z->directory, p.size));
    int64_t at = 0, used = 0;
    for (int64_t i = 0; i < p.count; i++) {
        PK_TRY(read_central(z->directory + at, p.size - at, &z->entry[i], &used));
        PK_TRY(read_local(s, &z->entry[i], p.at));
        z->count = i + 1;
        at += used;
    }
    PK_RETURN_IF(at != p.size, PK_EFORMAT, "a damaged ZIP directory");
    return check_entries(z);
}

void pk_zip_close(pk_zip *z) {
    pk_free(z->entry);
    pk_free(z->sorted);
    pk_free(z->directory);
    memset(z, 0, sizeof *z);
}

const pk_zip_entry *pk_zip_find(const pk_zip *z, const char *name) {
    for (int64_t low = 0, high = z->count; low < high;) {
        int64_t middle = low + (high - low) / 2;
        const pk_zip_entry *e = &z->entry[z->sorted[middle]];
        int order = strcmp(name, e->name);
        if (order == 0) return e;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
