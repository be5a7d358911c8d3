/* PyTorch's files: which pickle and which storages, and from both the tensors. */
#include "io/pth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/pth_pick.h"

#define SLACK (1 << 20)
#define MAGIC "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." /* LONG1 of 10 bytes, STOP */

/* A storage of the file, known by its key. */
typedef struct store {
    int32_t v;
    int64_t at;                /* older form: where its data begins; -1: not seen */
    const pk_zip_entry *entry; /* ZIP form, once looked for */
    pk_tensor *tensor;         /* once read: one dimension */
} store;

typedef struct reading {
    pk_source *s;
    pk_zip zip;         /* of the ZIP form */
    char prefix[256];   /* "archive/" */
    uint8_t *text;      /* the pickle */
    pk_pickle p;
    store *store;       /* by key */
    int64_t stores;
    pk_finding found;
} reading;

/* ---- storages ---- */

static int compare_texts(const pk_pickle *p, int32_t a, int32_t b) {
    const pk_value *x = &p->value[a], *y = &p->value[b];
    int order = memcmp(p->text + x->i, p->text + y->i, (size_t)pk_min(x->c, y->c));
    return order ? order : x->c < y->c ? -1 : x->c > y->c;
}

static int by_key(const void *a, const void *b, void *context) {
    const pk_pickle *p = context;
    return compare_texts(p, p->value[((const store *)a)->v].a, p->value[((const store *)b)->v].a);
}

/* All storages that the pickle names, each key once and always of one type and size. */
static pk_status list_stores(reading *r) {
    const pk_pickle *p = &r->p;
    int64_t count = 0, unique = 0;
    for (int32_t v = 0; v < p->values; v++) count += p->value[v].kind == PK_VALUE_STORAGE;
    int64_t bytes = count * (int64_t)sizeof *r->store;
    PK_RETURN_IF(bytes > p->budget, PK_EFORMAT, "a pickle of too many storages for a file of this size");
    r->store = pk_alloc(bytes);
    if (!r->store) return pk_no_memory(bytes);
    for (int32_t v = 0; v < p->values; v++)
        if (p->value[v].kind == PK_VALUE_STORAGE) r->store[r->stores++] = (store){.v = v, .at = -1};
    if (count > 1) qsort_r(r->store, (size_t)count, sizeof *r->store, by_key, &r->p);
    for (int64_t i = 0; i < count; i++) {
        const pk_value *a = &p->value[r->store[i].v], *b = unique ? &p->value[r->store[unique - 1].v] : NULL;
        if (b && by_key(&r->store[i], &r->store[unique - 1], &r->p) == 0) {
            PK_RETURN_IF(a->b != b->b || a->i != b->i, PK_EFORMAT, "one storage with two types or sizes");
            continue;
        }
        r->store[unique++] = r->store[i];
    }
    r->stores = unique;
    return PK_OK;
}

/* The store whose key is text `key` (a value). Null: there is none. */
static store *find_store(reading *r, int32_t key) {
    for (int64_t low = 0, high = r->stores; low < high;) {
        int64_t middle = low + (high - low) / 2;
        int order = compare_texts(&r->p, key, r->p.value[r->store[middle].v].a);
        if (order == 0) return &r->store[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* Where is the storage in the archive, and is it as large as the pickle says? */
static pk_status locate(reading *r, store *s, const char *key, int64_t bytes) {
    char name[384];
    snprintf(name, sizeof name, "%sdata/%s", r->prefix, key);
    s->entry = pk_zip_find(&r->zip, name);
    PK_RETURN_IF(!s->entry, PK_EFORMAT, "no storage %s in the archive", key);
    PK_RETURN_IF(s->entry->size != bytes, PK_EFORMAT, "storage %s holds %lld bytes, its type and size need %lld", key,
                 (long long)s->entry->size, (long long)bytes);
    if (s->entry->size > 2 * r->s->size + SLACK) PK_TRY(pk_zip_verify(&r->zip, s->entry));
    return PK_OK;
}

static pk_status read_store(reading *r, store *s, const char *name) {
    const pk_value *v = &r->p.value[s->v];
    pk_number type = (pk_number)v->b;
    char key[80];
    int64_t bytes;
    bool text = pk_value_text(&r->p, v->a, key, sizeof key);
    PK_RETURN_IF(!text, PK_EFORMAT, "%.100s: a storage whose key is no text", name);
    PK_RETURN_IF(!pk_number_bytes(type, 1, &v->i, &bytes), PK_EFORMAT, "%.100s: a storage larger than any file", name);
    if (s->at < 0) PK_TRY(locate(r, s, key, bytes));
    if (pk_source_lend(r->s, s->entry ? s->entry->data : s->at, type, v->i, &s->tensor)) {
        if (s->entry && !s->entry->deflated) return pk_zip_verify(&r->zip, s->entry);
        if (!s->entry) return PK_OK;
        pk_tensor_release(s->tensor);
        s->tensor = NULL;
    }
    PK_TRY(pk_tensor_new(pk_number_dtype(type), 1, &v->i, &s->tensor));
    if (!s->entry) {
        pk_place from = {r->s, s->at};
        return pk_number_fill(type, pk_pull_place, &from, name, s->tensor);
    }
    pk_zip_stream stream;
    pk_status status = pk_zip_begin(&stream, &r->zip, s->entry);
    if (status == PK_OK) status = pk_number_fill(type, pk_zip_pull, &stream, name, s->tensor);
    if (status == PK_OK) status = pk_zip_check(&stream);
    pk_zip_end(&stream);
    return status;
}

static pk_status read_tensor(reading *r, const pk_found *f, pk_dict *d) {
    pk_window w;
    pk_tensor *t;
    PK_TRY(pk_value_window(&r->p, f->v, f->name, &w));
    store *s = find_store(r, r->p.value[w.storage].a);
    if (!s->tensor) PK_TRY(read_store(r, s, f->name));
    PK_TRY(pk_tensor_window(s->tensor, w.ndim, w.shape, w.stride, w.offset, &t));
    pk_status status = pk_dict_add(d, f->name, t);
    pk_tensor_release(t);
    return status;
}

/* From the finished pickle to tensors. */
static pk_status read_tensors(reading *r, const pk_pick *pick, pk_dict *d) {
    PK_TRY(pk_pth_find(&r->p, pick, &r->found, d));
    for (int64_t i = 0; i < r->found.count; i++) PK_TRY(read_tensor(r, &r->found.item[i], d));
    pk_status status = pk_dict_sort(d);
    return status == PK_EINVAL ? PK_EFORMAT : status; /* a name twice */
}

/* ---- the ZIP form ---- */

static const pk_zip_entry *find_pickle(const pk_zip *z) {
    static const char end[] = "data.pkl";
    for (int64_t i = 0; i < z->count; i++) {
        size_t n = strlen(z->entry[i].name), k = sizeof end - 1;
        if (n >= k && strcmp(z->entry[i].name + n - k, end) == 0 && (n == k || z->entry[i].name[n - k - 1] == '/'))
            return &z->entry[i];
    }
    return NULL;
}

bool pk_pth_is_zip(const pk_zip *z) { return find_pickle(z) != NULL; }

static pk_status check_byte_order(reading *r) {
    char name[300], order[8] = "";
    pk_zip_stream stream;
    snprintf(name, sizeof name, "%sbyteorder", r->prefix);
    const pk_zip_entry *e = pk_zip_find(&r->zip, name);
    if (!e) return PK_OK;
    pk_status status = pk_zip_begin(&stream, &r->zip, e);
    if (status == PK_OK) status = pk_zip_pull(&stream, order, pk_min(e->size, sizeof order - 1));
    pk_zip_end(&stream);
    PK_TRY(status);
    PK_RETURN_IF(strcmp(order, "little") != 0, PK_EFORMAT, "written by a machine that is not little-endian");
    return PK_OK;
}

static pk_status budget_of(const reading *r, int64_t pickle, int64_t *budget) {
    PK_RETURN_IF(pickle > PK_PTH_MAX_PICKLE, PK_EFORMAT, "a pickle of %lld bytes, at most %d are read",
                 (long long)pickle, PK_PTH_MAX_PICKLE);
    *budget = 2 * r->s->size + SLACK - pickle;
    PK_RETURN_IF(*budget < 0, PK_EFORMAT, "a pickle of %lld bytes in a file of %lld", (long long)pickle,
                 (long long)r->s->size);
    return PK_OK;
}

static pk_status read_zip(reading *r, const pk_pick *pick, pk_dict *d) {
    pk_zip_stream stream;
    int64_t budget = 0;
    PK_TRY(pk_zip_open(&r->zip, r->s));
    const pk_zip_entry *e = find_pickle(&r->zip);
    PK_RETURN_IF(!e, PK_EFORMAT, "no data.pkl in the archive");
    size_t n = strlen(e->name) - strlen("data.pkl");
    PK_RETURN_IF(n >= sizeof r->prefix, PK_EFORMAT, "%.100s: a name too long", e->name);
    memcpy(r->prefix, e->name, n);
    PK_TRY(check_byte_order(r));
    PK_TRY(budget_of(r, e->size, &budget));
    r->text = pk_alloc(e->size);
    if (!r->text) return pk_no_memory(e->size);
    pk_status status = pk_zip_begin(&stream, &r->zip, e);
    if (status == PK_OK) status = pk_zip_pull(&stream, r->text, e->size);
    if (status == PK_OK) status = pk_zip_check(&stream);
    pk_zip_end(&stream);
    PK_TRY(status);
    pk_pickle_begin(&r->p, r->text, e->size, budget);
    r->p.allow = pick ? pick->opaque : NULL;
    PK_TRY(pk_pickle_run(&r->p));
    PK_RETURN_IF(r->p.at != e->size, PK_EFORMAT, "bytes after the end of the pickle");
    PK_TRY(list_stores(r));
    return read_tensors(r, pick, d);
}

/* ---- the older form: magic number, version, byte order, the object, keys; then each storage behind its length ---- */

bool pk_pth_is_legacy(const uint8_t *front, int64_t bytes) {
    return bytes >= 15 && front[0] == 0x80 && front[1] == 2 && memcmp(front + 2, MAGIC, 13) == 0;
}

static pk_status place_stores(reading *r, int32_t keys) {
    const pk_pickle *p = &r->p;
    int64_t at = p->at, next;
    PK_RETURN_IF(p->value[keys].kind != PK_VALUE_LIST, PK_EFORMAT, "no list of storages");
    int32_t c = p->value[keys].a;
    for (int64_t n = p->value[keys].i; n > 0; n--, c = p->cell[c].next) {
        uint8_t raw[8];
        int64_t bytes;
        store *s = p->value[p->cell[c].value].kind == PK_VALUE_TEXT ? find_store(r, p->cell[c].value) : NULL;
        PK_RETURN_IF(!s || s->at >= 0, PK_EFORMAT, "a list of storages that are not the pickle's");
        const pk_value *v = &p->value[s->v];
        PK_TRY(pk_source_read(r->s, at, raw, 8));
        bool good = (int64_t)pk_le64(raw) == v->i && pk_number_bytes((pk_number)v->b, 1, &v->i, &bytes) &&
                    pk_add_ok(at + 8, bytes, &next) && next <= r->s->size;
        PK_RETURN_IF(!good, PK_EFORMAT, "a storage of %lld elements that is not in the file", (long long)v->i);
        s->at = at + 8;
        at = next;
    }
    PK_RETURN_IF(at != r->s->size, PK_EFORMAT, "bytes after the last storage");
    for (int64_t i = 0; i < r->stores; i++)
        PK_RETURN_IF(r->store[i].at < 0, PK_EFORMAT, "a storage that is not in the file");
    return PK_OK;
}

static pk_status read_legacy(reading *r, const pk_pick *pick, pk_dict *d) {
    const uint8_t *text = r->s->data;
    int64_t size = pk_min(r->s->size, PK_PTH_MAX_PICKLE), budget = 0;
    if (!text) { /* not in memory: the pickles' length is not known, so all that they may be is read */
        size = pk_min(size, r->s->size);
        r->text = pk_alloc(size);
        if (!r->text) return pk_no_memory(size);
        PK_TRY(pk_source_read(r->s, 0, r->text, size));
        text = r->text;
    }
    PK_TRY(budget_of(r, size, &budget));
    pk_pickle_begin(&r->p, text, size, budget);
    r->p.allow = pick ? pick->opaque : NULL;
    int32_t root[5];
    for (int i = 0; i < 5; i++) {
        PK_TRY(pk_pickle_run(&r->p));
        root[i] = r->p.root;
    }
    const pk_value *version = &r->p.value[root[1]];
    int32_t little = pk_value_field(&r->p, root[2], "little_endian");
    PK_RETURN_IF(version->kind != PK_VALUE_INT || version->i != 1001, PK_EFORMAT, "not version 1001 of the older form");
    PK_RETURN_IF(little < 0 || !r->p.value[little].i, PK_EFORMAT, "written by a machine that is not little-endian");
    r->p.root = root[3];
    PK_TRY(list_stores(r));
    PK_TRY(place_stores(r, root[4]));
    return read_tensors(r, pick, d);
}

pk_status pk_pth_read(pk_source *s, const pk_pick *pick, pk_dict *d) {
    reading r;
    uint8_t front[15] = {0};
    memset(&r, 0, sizeof r);
    r.s = s;
    pk_status status = pk_source_read(s, 0, front, pk_min(s->size, sizeof front));
    if (status == PK_OK)
        status = pk_pth_is_legacy(front, s->size) ? read_legacy(&r, pick, d) : read_zip(&r, pick, d);
    for (int64_t i = 0; i < r.stores; i++) pk_tensor_release(r.store[i].tensor);
    pk_pth_forget(&r.found);
    pk_free(r.store);
    pk_pickle_end(&r.p);
    pk_free(r.text);
    pk_zip_close(&r.zip);
    if (status == PK_OK) return PK_OK;
    pk_dict_clear(d);
    return status == PK_EIO ? status : pk_fail_prefix(status, "%s: ", s->name);
}
