/* Parameter structs that describe themselves: ops, layers and optimisers list their fields once, and the binding,
 * the docs, the checks and the summaries read that list. */
#ifndef PK_CORE_SCHEMA_H
#define PK_CORE_SCHEMA_H

#include "core/status.h"

#define PK_MAX_LIST 256
#define PK_MAX_STAGES 8
#define PK_SAME (-1) /* a PK_PADDING of "same": output as large as input at stride 1 (kernel's left half, floor) */

typedef struct pk_ints { int32_t n; int32_t v[PK_MAX_LIST]; } pk_ints;
typedef struct pk_floats { int32_t n; double v[PK_MAX_STAGES]; } pk_floats;
typedef struct pk_grids { int32_t n; pk_ints v[PK_MAX_STAGES]; } pk_grids;

typedef enum pk_field_type {
    PK_BOOL,    /* bool */
    PK_INT,     /* int64_t */
    PK_FLOAT,   /* double */
    PK_ENUM,    /* int: place in choices, "truncate|merge" */
    PK_PAIR,    /* int64_t[2]: n means {n, n}; {h, w} */
    PK_PADDING, /* int64_t[2]: "same" means {PK_SAME, PK_SAME}; else as PK_PAIR */
    PK_DIM,     /* int64_t: from 0 in C; from 1 in Lua; -1 the last one in both */
    PK_INDEX,   /* int64_t: a place in a dimension: from 0 in C, from 1 in Lua */
    PK_INTS,    /* pk_ints: a list; a single number is a list of one */
    PK_DIMS,    /* pk_ints: a list of dimensions, as PK_DIM */
    PK_FLOATS,  /* pk_floats: likewise */
    PK_ENUMS,   /* pk_ints: places in choices */
    PK_GRIDS,   /* pk_grids: one list, or a list of lists (one a stage) */
    PK_SEED,    /* uint64_t: a random stream; a fresh one from the generator when not given */
    PK_TEXT     /* char[64] */
} pk_field_type;

typedef struct pk_field {
    const char *name;
    pk_field_type type;
    size_t offset;
    double def;         /* default of numbers, bools (0/1), enums (place), and of every element of pairs;
                           lists: NAN means empty, else a list of that one number */
    double min, max;    /* allowed range of numbers and of list elements; both 0: any */
    const char *choices; /* enums: "truncate|merge" */
    bool required;
    const char *doc;    /* one line: meaning, unit */
} pk_field;

/* Fill params (size bytes) with the defaults. Seeds become 0. */
void pk_schema_defaults(const pk_field *fields, int count, void *params, size_t size);
/* Every number within its range, every list within its length? The message names owner, field, given and wanted. */
pk_status pk_schema_check(const char *owner, const pk_field *fields, int count, const void *params);
/* Place of word in "a|b|c", or -1. */
int pk_choice_find(const char *choices, const char *word);
/* Copy choice number i into buffer. */
const char *pk_choice_name(const char *choices, int i, char *buffer, size_t size);
/* Set one field from text ("kernel", "51"; lists "1,2,1"; pairs "3,1"; bools true/false): tests and tools use it. */
pk_status pk_schema_parse(const char *owner, const pk_field *fields, int count, void *params, const char *name, const char *text);
/* Set a bool, number, choice, dim, pair or padding (both halves) by name; false when there is no such field. */
bool pk_schema_set(const pk_field *fields, int count, void *params, const char *name, double value);
/* The field of that name, or null. */
const pk_field *pk_schema_find(const pk_field *fields, int count, const char *name);
/* The known name nearest to a misspelt one, or null when nothing is near. */
const char *pk_schema_nearest(const pk_field *fields, int count, const char *name);

#endif
