/* Names of other sources in the terms of ours: the models' authors named their parameters before timm did, and files
 * carry those names. One file io/keys_<source>.c is one source; make lists them. */
#ifndef PK_IO_KEY_MAP_H
#define PK_IO_KEY_MAP_H

#include "io/dict.h"

/* In `from`, # stands for a number and a * at the end for the rest of the name; in `to`, $1 $2 $3 are the numbers and *
 * the rest. The first rule that fits is taken; a name that fits none stays as it is. */
typedef struct pk_key_rule {
    const char *from, *to;
} pk_key_rule;

typedef struct pk_key_map {
    const char *name; /* "convnext" */
    const char *doc;
    const pk_key_rule *rule;
    int rules;
} pk_key_map;

enum { PK_KEY_ROOM = 512 };

const pk_key_map *pk_key_map_at(int i); /* null past the end; sorted by name */
const pk_key_map *pk_key_map_find(const char *name);
/* Our name for `name`; false: too long. map null: the same name. */
bool pk_key_map_apply(const pk_key_map *map, const char *name, char out[PK_KEY_ROOM]);

/* How the names of a file become ours: what is taken away at their front, then the map. */
typedef struct pk_naming {
    char prefix[PK_KEY_ROOM];
    const pk_key_map *map; /* null: our own names, timm's too */
    int64_t known;         /* names that the model has, by this naming */
} pk_naming;

/* The naming by which most of d's names are in `wanted` (sorted). prefix, source: given by the user, or null or "":
 * tried are no prefix and those that all names share ("module.", "backbone."), and all sources. PK_EINVAL: no such
 * source. */
pk_status pk_naming_find(const pk_dict *d, const pk_dict *wanted, const char *prefix, const char *source,
                         pk_naming *out);
/* The dict under our names, sharing its tensors; names without the prefix are left out. */
pk_status pk_naming_apply(const pk_naming *n, const pk_dict *d, pk_dict *out);

#endif
