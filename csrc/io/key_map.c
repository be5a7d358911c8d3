/* Rules on names, and finding out whose names a file has. */
#include "io/key_map.h"

#include <stdio.h>
#include <string.h>

#include "io/weights.h"

extern const pk_key_map *const pk_key_map_registry[]; /* made by registry.awk, null at the end */

const pk_key_map *pk_key_map_at(int i) {
    for (int k = 0; k <= i; k++)
        if (!pk_key_map_registry[k]) return NULL;
    return pk_key_map_registry[i];
}

const pk_key_map *pk_key_map_find(const char *name) {
    for (int i = 0; pk_key_map_at(i); i++)
        if (strcmp(pk_key_map_at(i)->name, name) == 0) return pk_key_map_at(i);
    return NULL;
}

/* ---- one name ---- */

typedef struct match {
    const char *number[4], *rest; /* where the numbers begin */
    int length[4], numbers;
} match;

static int digits(const char *s) { return (int)strspn(s, "0123456789"); }

static bool fits(const char *pattern, const char *name, match *m) {
    m->numbers = 0;
    m->rest = "";
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            m->rest = name;
            return *name != '\0';
        }
        if (*pattern != '#') {
            if (*pattern != *name++) return false;
            continue;
        }
        int n = digits(name);
        if (n == 0 || m->numbers == 4) return false;
        m->number[m->numbers] = name;
        m->length[m->numbers++] = n;
        name += n;
    }
    return *name == '\0';
}

static bool build(const char *to, const match *m, char out[PK_KEY_ROOM]) {
    size_t used = 0;
    for (; *to; to++) {
        const char *part = to;
        size_t n = 1;
        if (*to == '*') {
            part = m->rest;
            n = strlen(part);
        } else if (*to == '$') {
            int k = *++to - '1';
            if (k < 0 || k >= m->numbers) return false;
            part = m->number[k];
            n = (size_t)m->length[k];
        }
        if (used + n >= PK_KEY_ROOM) return false;
        memcpy(out + used, part, n);
        used += n;
    }
    out[used] = '\0';
    return true;
}

bool pk_key_map_apply(const pk_key_map *map, const char *name, char out[PK_KEY_ROOM]) {
    match m;
    for (int i = 0; map && i < map->rules; i++)
        if (fits(map->rule[i].from, name, &m)) return build(map->rule[i].to, &m, out);
    size_t n = strlen(name);
    if (n >= PK_KEY_ROOM) return false;
    memcpy(out, name, n + 1);
    return true;
}

/* ---- a whole file ---- */

/* Name without the prefix; null: it does not begin so. */
static const char *without(const char *name, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

static int64_t count_known(const pk_dict *d, const pk_dict *wanted, const char *prefix, const pk_key_map *map) {
    char name[PK_KEY_ROOM];
    int64_t known = 0;
    for (int64_t i = 0; i < d->count; i++) {
        const char *rest = without(d->item[i].name, prefix);
        known += rest && pk_key_map_apply(map, rest, name) && pk_dict_find(wanted, name) >= 0;
    }
    return known;
}

static void try_prefix(const pk_dict *d, const pk_dict *wanted, const char *prefix, const char *source,
                       pk_naming *best) {
    const pk_key_map *map = NULL;
    for (int i = 0;; map = pk_key_map_at(i++)) {
        if (i > 0 && !map) return;
        if (source && *source && (!map || strcmp(map->name, source) != 0)) continue;
        int64_t known = count_known(d, wanted, prefix, map);
        if (known <= best->known) continue;
        best->known = known;
        best->map = map;
        snprintf(best->prefix, sizeof best->prefix, "%s", prefix);
    }
}

/* One more part "name." that all of d's names have behind `prefix`; false: there is none. */
static bool longer_prefix(const pk_dict *d, char prefix[PK_KEY_ROOM]) {
    const char *first = d->count ? without(d->item[0].name, prefix) : NULL, *dot = first ? strchr(first, '.') : NULL;
    char longer[PK_KEY_ROOM];
    if (!dot) return false;
    int n = snprintf(longer, sizeof longer, "%s%.*s.", prefix, (int)(dot - first), first);
    if (n < 0 || n >= PK_KEY_ROOM) return false;
    for (int64_t i = 0; i < d->count; i++)
        if (!without(d->item[i].name, longer)) return false;
    memcpy(prefix, longer, sizeof longer);
    return true;
}

pk_status pk_naming_find(const pk_dict *d, const pk_dict *wanted, const char *prefix, const char *source,
                         pk_naming *out) {
    char tried[PK_KEY_ROOM] = "";
    if (source && *source && !pk_key_map_find(source)) {
        char names[256] = "";
        for (int i = 0; pk_key_map_at(i); i++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                     pk_key_map_at(i)->name);
        return pk_fail(PK_EINVAL, "names of source '%.64s' are not known; there are: %s", source, names);
    }
    *out = (pk_naming){.map = source && *source ? pk_key_map_find(source) : NULL, .known = -1};
    if (prefix && *prefix) {
        size_t n = strlen(prefix);
        PK_RETURN_IF(n + 2 > sizeof tried, PK_EINVAL, "a prefix of %zu bytes", n);
        snprintf(tried, sizeof tried, "%s%s", prefix, prefix[n - 1] == '.' ? "" : ".");
        try_prefix(d, wanted, tried, source, out);
        return PK_OK;
    }
    do try_prefix(d, wanted, tried, source, out);
    while (longer_prefix(d, tried));
    return PK_OK;
}

/* The kernel's name in the key of a note about its grid; null: it is another note. */
static const char *key_of_grid(const char *key) {
    const size_t n = sizeof PK_GRID_NOTE - 1;
    return strncmp(key, PK_GRID_NOTE, n) == 0 ? key + n : NULL;
}

pk_status pk_naming_apply(const pk_naming *n, const pk_dict *d, pk_dict *out) {
    char name[PK_KEY_ROOM];
    for (int64_t i = 0; i < d->count; i++) {
        const char *rest = without(d->item[i].name, n->prefix);
        if (!rest || !*rest) continue;
        PK_RETURN_IF(!pk_key_map_apply(n->map, rest, name), PK_EFORMAT, "%.100s...: a name too long", rest);
        PK_TRY(pk_dict_add(out, name, d->item[i].tensor));
    }
    for (int64_t i = 0; i < d->pairs; i++) { /* notes of kernels' grids follow their kernels */
        const char *key = d->pair[i].key, *rest = key_of_grid(key) ? without(key_of_grid(key), n->prefix) : NULL;
        char noted[PK_KEY_ROOM + sizeof PK_GRID_NOTE];
        if (rest && *rest && pk_key_map_apply(n->map, rest, name)) {
            snprintf(noted, sizeof noted, PK_GRID_NOTE "%s", name);
            key = noted;
        }
        PK_TRY(pk_dict_note(out, key, d->pair[i].value));
    }
    return PK_OK;
}
