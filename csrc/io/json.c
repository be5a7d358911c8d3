/* JSON through jsmn, made strict: a scan before bounds the depth (jsmn takes quadratic time on deep nesting), and a
 * walk after checks that what stands between the tokens is exactly JSON's punctuation. */
#include "io/json.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

static const jsmntok_t *token(const pk_json *j, int i) { return (const jsmntok_t *)j->token + i; }

/* ---- UTF-8 ---- */

/* Bytes of the character that begins at s, 0 if it is not valid. */
static int utf8_length(const unsigned char *s, int64_t left) {
    int n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (s[0] == 0xe0 && s[1] < 0xa0) return 0;  /* overlong */
    if (s[0] == 0xed && s[1] > 0x9f) return 0;  /* surrogates */
    if (s[0] == 0xf0 && s[1] < 0x90) return 0;  /* overlong */
    if (s[0] == 0xf4 && s[1] > 0x8f) return 0;  /* past U+10FFFF */
    return n;
}

bool pk_utf8_valid(const char *text, int64_t size) {
    const unsigned char *s = (const unsigned char *)text;
    for (int64_t i = 0; i < size;) {
        int n = utf8_length(s + i, size - i);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

/* ---- before jsmn: how many tokens, how deep ---- */

static pk_status scan(const char *text, int64_t size, int64_t *tokens) {
    int depth = 0;
    bool inside = false, word = false; /* a string; a number, true, false or null */
    int64_t count = 0;
    for (int64_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (inside) {
            PK_RETURN_IF(c < 0x20, PK_EFORMAT, "control character in a string at byte %lld", (long long)i);
            if (c == '\\') i++;
            if (c == '"') inside = false;
            continue;
        }
        bool opens = c == '"' || c == '{' || c == '[';
        bool parts = opens || (c && strchr(" \t\r\n,:]}", c));
        count += opens || (!parts && !word);
        word = !parts;
        inside = c == '"';
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        PK_RETURN_IF(depth < 0 || depth > PK_JSON_MAX_DEPTH, PK_EFORMAT, "brackets %s at byte %lld",
                     depth < 0 ? "closed twice" : "nested too deep", (long long)i);
    }
    *tokens = count;
    return PK_OK;
}

/* ---- after jsmn: is everything in its place? ---- */

typedef struct walk {
    const pk_json *j;
    int64_t at; /* in the text */
    int next;   /* token */
} walk;

static void skip_space(walk *w) {
    while (w->at < w->j->size && strchr(" \t\r\n", w->j->text[w->at]) && w->j->text[w->at]) w->at++;
}

static bool expect(walk *w, char c) {
    skip_space(w);
    if (w->at >= w->j->size || w->j->text[w->at] != c) return false;
    w->at++;
    return true;
}

static bool digits(const char **s, const char *end) {
    const char *from = *s;
    while (*s < end && **s >= '0' && **s <= '9') ++*s;
    return *s > from;
}

static bool number_valid(const char *s, const char *end) {
    if (s < end && *s == '-') s++;
    if (s < end && *s == '0')
        s++;
    else if (!digits(&s, end))
        return false;
    if (s < end && *s == '.') {
        s++;
        if (!digits(&s, end)) return false;
    }
    if (s < end && (*s == 'e' || *s == 'E')) {
        s++;
        if (s < end && (*s == '+' || *s == '-')) s++;
        if (!digits(&s, end)) return false;
    }
    return s == end;
}

static bool same(const char *s, int64_t size, const char *word) {
    return size == (int64_t)strlen(word) && memcmp(s, word, (size_t)size) == 0;
}

static bool primitive_valid(const char *s, int64_t size) {
    return same(s, size, "true") || same(s, size, "false") || same(s, size, "null") || number_valid(s, s + size);
}

static bool value_valid(walk *w);

/* Key, colon: the key is a string token with one value. */
static bool key_valid(walk *w) {
    if (w->next >= w->j->count) return false;
    const jsmntok_t *t = token(w->j, w->next);
    return t->type == JSMN_STRING && t->size == 1 && value_valid(w) && expect(w, ':');
}

static bool members_valid(walk *w, const jsmntok_t *t) {
    bool object = t->type == JSMN_OBJECT;
    if (!expect(w, object ? '{' : '[')) return false;
    for (int i = 0; i < t->size; i++) {
        if (i > 0 && !expect(w, ',')) return false;
        if (object && !key_valid(w)) return false;
        if (!value_valid(w)) return false;
    }
    return expect(w, object ? '}' : ']') && w->at == t->end;
}

/* Depth is bounded by scan. */
static bool value_valid(walk *w) {
    if (w->next >= w->j->count) return false;
    const jsmntok_t *t = token(w->j, w->next++);
    skip_space(w);
    switch (t->type) {
    case JSMN_OBJECT:
    case JSMN_ARRAY: return w->at == t->start && members_valid(w, t);
    case JSMN_STRING:
        if (w->at != t->start - 1) return false;
        w->at = t->end + 1;
        return true;
    case JSMN_PRIMITIVE:
        if (w->at != t->start || t->size != 0) return false;
        w->at = t->end;
        return primitive_valid(w->j->text + t->start, t->end - t->start);
    default: return false;
    }
}

static pk_status check(const pk_json *j) {
    walk w = {j, 0, 0};
    bool good = value_valid(&w) && w.next == j->count;
    skip_space(&w);
    PK_RETURN_IF(!good || w.at != j->size, PK_EFORMAT, "not JSON at byte %lld", (long long)w.at);
    return PK_OK;
}

pk_status pk_json_parse(pk_json *j, const char *text, int64_t size, int64_t budget) {
    memset(j, 0, sizeof *j);
    PK_RETURN_IF(size > PK_JSON_MAX_BYTES, PK_EFORMAT, "%lld bytes of JSON, at most %d are read", (long long)size,
                 PK_JSON_MAX_BYTES);
    PK_RETURN_IF(!pk_utf8_valid(text, size), PK_EFORMAT, "not valid UTF-8");
    int64_t tokens = 0, bytes;
    PK_TRY(scan(text, size, &tokens));
    PK_RETURN_IF(!pk_mul_ok(tokens, sizeof(jsmntok_t), &bytes) || bytes > budget, PK_EFORMAT,
                 "about %lld values: too many for a file of this size", (long long)tokens);
    j->text = text;
    j->size = size;
    j->room = bytes;
    j->token = pk_alloc(bytes);
    if (!j->token) return pk_no_memory(bytes);
    jsmn_parser parser;
    jsmn_init(&parser);
    j->count = jsmn_parse(&parser, text, (size_t)size, j->token, (unsigned)tokens);
    pk_status status = PK_OK;
    if (j->count < 0)
        status = pk_fail(PK_EFORMAT, "not JSON at byte %u", parser.pos);
    else
        status = check(j);
    if (status != PK_OK) pk_json_free(j);
    return status;
}

void pk_json_free(pk_json *j) {
    pk_free(j->token);
    memset(j, 0, sizeof *j);
}

int64_t pk_json_bytes(const pk_json *j) { return j->room; }

/* ---- looking things up ---- */

pk_json_kind pk_json_kind_of(const pk_json *j, int i) {
    const jsmntok_t *t = token(j, i);
    if (t->type == JSMN_OBJECT) return PK_JSON_OBJECT;
    if (t->type == JSMN_ARRAY) return PK_JSON_ARRAY;
    if (t->type == JSMN_STRING) return PK_JSON_STRING;
    char c = j->text[t->start];
    return c == '-' || (c >= '0' && c <= '9') ? PK_JSON_NUMBER : PK_JSON_WORD;
}

int pk_json_size(const pk_json *j, int i) { return token(j, i)->size; }

int pk_json_after(const pk_json *j, int i) {
    int end = token(j, i)->end;
    do i++;
    while (i < j->count && token(j, i)->start < end);
    return i;
}

bool pk_json_integer(const pk_json *j, int i, int64_t *out) {
    const jsmntok_t *t = token(j, i);
    if (t->type != JSMN_PRIMITIVE) return false;
    int64_t value = 0;
    for (int k = t->start; k < t->end; k++) {
        char c = j->text[k];
        if (c < '0' || c > '9' || !pk_mul_ok(value, 10, &value) || !pk_add_ok(value, c - '0', &value)) return false;
    }
    *out = value;
    return true;
}

static unsigned hex4(const char *s) {
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        v = v * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return v;
}

static char *put_utf8(char *out, unsigned c) {
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* \uXXXX at s (after the u); a high surrogate takes the low one behind it along. Returns where to go on, or null. */
static const char *unicode_escape(const char *s, const char *end, unsigned *c) {
    if (end - s < 4) return NULL;
    *c = hex4(s);
    s += 4;
    if (*c >= 0xd800 && *c < 0xdc00) {
        if (end - s < 6 || s[0] != '\\' || s[1] != 'u') return NULL;
        unsigned low = hex4(s + 2);
        if (low < 0xdc00 || low > 0xdfff) return NULL;
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
        return s + 6;
    }
    return *c == 0 || (*c >= 0xdc00 && *c < 0xe000) ? NULL : s;
}

int64_t pk_json_room(const pk_json *j, int i) {
    const jsmntok_t *t = token(j, i);
    return (int64_t)t->end - t->start + 1; /* decoding never lengthens */
}

bool pk_json_string(const pk_json *j, int i, char *out) {
    const jsmntok_t *t = token(j, i);
    const char *s = j->text + t->start, *end = j->text + t->end;
    while (s < end) {
        if (*s != '\\') {
            *out++ = *s++;
            continue;
        }
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        const char *known = strchr(from, s[1]);
        s += 2;
        if (known && *known) {
            *out++ = to[known - from];
            continue;
        }
        unsigned c;
        s = unicode_escape(s, end, &c);
        if (!s) return false;
        out = put_utf8(out, c);
    }
    *out = '\0';
    return true;
}

bool pk_json_is(const pk_json *j, int i, const char *text) {
    const jsmntok_t *t = token(j, i);
    if (t->type != JSMN_STRING) return false;
    char buffer[64];
    if (pk_json_room(j, i) > (int64_t)sizeof buffer) return false;
    return pk_json_string(j, i, buffer) && strcmp(buffer, text) == 0;
}
