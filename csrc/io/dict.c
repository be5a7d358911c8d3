/* Named tensors in order, found by name after sorting. */
#include "io/dict.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

/* Room for one more of `size` bytes each. */
static pk_status grow(void *list, int64_t count, int64_t *room, int64_t size) {
    PK_RETURN_IF(count > INT32_MAX / 2, PK_EINVAL, "too many names: %lld", (long long)count);
    return pk_grow(list, count, room, size);
}

static void unsort(pk_dict *d) {
    pk_free(d->sorted);
    d->sorted = NULL;
}

pk_status pk_dict_add(pk_dict *d, const char *name, pk_tensor *tensor) {
    PK_TRY(grow(&d->item, d->count, &d->room, sizeof *d->item));
    char *copy = pk_strdup(name);
    if (!copy) return pk_no_memory((int64_t)strlen(name) + 1);
    unsort(d);
    d->item[d->count++] = (pk_named){copy, pk_tensor_retain(tensor)};
    return PK_OK;
}

pk_status pk_dict_note(pk_dict *d, const char *key, const char *value) {
    PK_TRY(grow(&d->pair, d->pairs, &d->pair_room, sizeof *d->pair));
    char *k = pk_strdup(key), *v = pk_strdup(value);
    if (!k || !v) {
        pk_free(k);
        pk_free(v);
        return pk_no_memory((int64_t)strlen(value) + 1);
    }
    d->pair[d->pairs++] = (pk_pair){k, v};
    return PK_OK;
}

static int compare_names(const void *a, const void *b, void *context) {
    const pk_dict *d = context;
    return strcmp(d->item[*(const int32_t *)a].name, d->item[*(const int32_t *)b].name);
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const pk_pair *)a)->key, ((const pk_pair *)b)->key);
}

/* Pairs have no order that matters: they are kept by key. */
static pk_status sort_pairs(pk_dict *d) {
    if (d->pairs > 1) qsort(d->pair, (size_t)d->pairs, sizeof *d->pair, compare_keys);
    for (int64_t i = 1; i < d->pairs; i++)
        PK_RETURN_IF(strcmp(d->pair[i - 1].key, d->pair[i].key) == 0, PK_EINVAL, "metadata %.100s occurs twice",
                     d->pair[i].key);
    return PK_OK;
}

pk_status pk_dict_sort(pk_dict *d) {
    PK_TRY(sort_pairs(d));
    if (d->sorted) return PK_OK;
    int64_t bytes = d->count * (int64_t)sizeof *d->sorted;
    int32_t *sorted = pk_alloc(bytes);
    if (!sorted) return pk_no_memory(bytes);
    for (int64_t i = 0; i < d->count; i++) sorted[i] = (int32_t)i;
    if (d->count > 1) qsort_r(sorted, (size_t)d->count, sizeof *sorted, compare_names, d);
    d->sorted = sorted;
    for (int64_t i = 1; i < d->count; i++) {
        const char *name = d->item[sorted[i]].name;
        if (strcmp(d->item[sorted[i - 1]].name, name) != 0) continue;
        unsort(d);
        return pk_fail(PK_EINVAL, "tensor %.100s occurs twice", name);
    }
    return PK_OK;
}

int64_t pk_dict_find(const pk_dict *d, const char *name) {
    int64_t low = 0, high = d->sorted ? d->count : 0;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(name, d->item[d->sorted[middle]].name);
        if (order == 0) return d->sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static int compare_items(const void *a, const void *b) {
    return strcmp(((const pk_named *)a)->name, ((const pk_named *)b)->name);
}

void pk_dict_arrange(pk_dict *d) {
    if (d->count > 1) qsort(d->item, (size_t)d->count, sizeof *d->item, compare_items);
    unsort(d);
}

void pk_dict_clear(pk_dict *d) {
    for (int64_t i = 0; i < d->count; i++) {
        pk_free(d->item[i].name);
        pk_tensor_release(d->item[i].tensor);
    }
    for (int64_t i = 0; i < d->pairs; i++) {
        pk_free(d->pair[i].key);
        pk_free(d->pair[i].value);
    }
    pk_free(d->item);
    pk_free(d->pair);
    unsort(d);
    memset(d, 0, sizeof *d);
}
