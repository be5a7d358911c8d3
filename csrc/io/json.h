/* Reading JSON strictly: jsmn cuts the text into tokens, and everything jsmn lets pass (missing colons and commas,
 * words that are no values, control characters, bad UTF-8, text after the end) is refused here. Values are looked up by
 * token number; number 0 is the root. Made for the header of safetensors files. */
#ifndef PK_IO_JSON_H
#define PK_IO_JSON_H

#include "core/status.h"

#define PK_JSON_MAX_DEPTH 16
#define PK_JSON_MAX_BYTES (64 << 20)

typedef enum pk_json_kind { PK_JSON_OBJECT, PK_JSON_ARRAY, PK_JSON_STRING, PK_JSON_NUMBER, PK_JSON_WORD } pk_json_kind;

typedef struct pk_json {
    const char *text; /* borrowed; not zero-terminated */
    int64_t size;
    void *token; /* jsmn's array */
    int count; /* of tokens */
    int64_t room;
} pk_json;

/* Take text apart. `budget`: the most bytes the tokens may need (PK_EFORMAT beyond). On failure nothing is kept. */
pk_status pk_json_parse(pk_json *j, const char *text, int64_t size, int64_t budget);
void pk_json_free(pk_json *j);
int64_t pk_json_bytes(const pk_json *j); /* that the tokens take */

/* Value number i: its token. */
pk_json_kind pk_json_kind_of(const pk_json *j, int i);
int pk_json_size(const pk_json *j, int i);  /* members of an object, elements of an array */
int pk_json_after(const pk_json *j, int i); /* the token after value i and all that is in it */
/* Members of object i: first key is token i + 1, its value the next one, the next key pk_json_after(value). */

/* A whole number 0 .. 2^63-1 written in digits only. */
bool pk_json_integer(const pk_json *j, int i, int64_t *out);
/* Does string i read exactly so? (Escapes are compared decoded.) */
bool pk_json_is(const pk_json *j, int i, const char *text);
/* Decode string i into out, which has room for pk_json_room(j, i) bytes; zero-terminated. False: it holds a zero
 * character or half a surrogate pair. */
int64_t pk_json_room(const pk_json *j, int i);
bool pk_json_string(const pk_json *j, int i, char *out);

/* Is this valid UTF-8 (no overlong forms, no surrogates, at most U+10FFFF)? */
bool pk_utf8_valid(const char *text, int64_t size);

#endif
