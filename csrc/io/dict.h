/* An ordered list of named tensors with pairs of text beside it: what a file of weights or of optimiser state holds. */
#ifndef PK_IO_DICT_H
#define PK_IO_DICT_H

#include "core/tensor.h"

typedef struct pk_named {
    char *name;
    pk_tensor *tensor; /* one reference */
} pk_named;

typedef struct pk_pair {
    char *key, *value;
} pk_pair;

typedef struct pk_dict {
    pk_named *item;
    int64_t count, room;
    pk_pair *pair; /* metadata */
    int64_t pairs, pair_room;
    int32_t *sorted; /* item numbers by name, after pk_dict_sort */
} pk_dict;

/* A dict of zero bytes is empty and valid. */
pk_status pk_dict_add(pk_dict *d, const char *name, pk_tensor *tensor); /* takes one more reference */
pk_status pk_dict_note(pk_dict *d, const char *key, const char *value);
/* Make pk_dict_find possible. PK_EINVAL if a name or a key occurs twice; the message names it. */
pk_status pk_dict_sort(pk_dict *d);
int64_t pk_dict_find(const pk_dict *d, const char *name); /* -1: not there */
void pk_dict_arrange(pk_dict *d); /* put the items in the order of their names */
void pk_dict_clear(pk_dict *d);

#endif
