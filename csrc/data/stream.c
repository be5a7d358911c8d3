/* Plain or gzip content, one member, memory counted by our own allocator. */
#include "data/stream.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/zlib_memory.h"

#define CHUNK 32768

typedef struct pk_inflate {
    z_stream z;
    bool ended;
    int64_t fed; /* bytes of the file given to zlib */
    uint8_t in[CHUNK];
} pk_inflate;

static pk_status start_gzip(pk_stream *s) {
    pk_inflate *g = pk_alloc_zeroed(sizeof *g);
    if (!g) return pk_no_memory(sizeof *g);
    pk_zlib_memory(&g->z);
    if (inflateInit2(&g->z, 15 + 16) != Z_OK) {
        pk_free(g);
        return pk_no_memory(CHUNK);
    }
    s->gzip = g;
    return PK_OK;
}

pk_status pk_stream_open(pk_stream *s, const char *path) {
    memset(s, 0, sizeof *s);
    s->source.fd = -1;
    uint8_t magic[2] = {0, 0};
    pk_status status = pk_source_open(&s->source, path);
    if (status == PK_OK && s->source.size >= 2) status = pk_source_read(&s->source, 0, magic, 2);
    if (status == PK_OK && magic[0] == 0x1f && magic[1] == 0x8b) status = start_gzip(s);
    if (status != PK_OK) pk_stream_close(s);
    return status;
}

static pk_status read_plain(pk_stream *s, void *out, int64_t bytes, int64_t *got) {
    *got = pk_min(bytes, s->source.size - s->at);
    PK_TRY(pk_source_read(&s->source, s->at, out, *got));
    s->at += *got;
    return PK_OK;
}

static pk_status feed(pk_stream *s) {
    pk_inflate *g = s->gzip;
    int64_t n = pk_min(CHUNK, s->source.size - g->fed);
    PK_RETURN_IF(n == 0, PK_EFORMAT, "%s: cut short: the gzip data has no end", s->source.name);
    PK_TRY(pk_source_read(&s->source, g->fed, g->in, n));
    g->fed += n;
    g->z.next_in = g->in;
    g->z.avail_in = (unsigned)n;
    return PK_OK;
}

/* One call of inflate into what z.next_out points to. */
static pk_status inflate_some(pk_stream *s) {
    pk_inflate *g = s->gzip;
    if (g->z.avail_in == 0) PK_TRY(feed(s));
    int r = inflate(&g->z, Z_NO_FLUSH);
    if (r == Z_MEM_ERROR) return pk_no_memory(CHUNK);
    PK_RETURN_IF(r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR, PK_EFORMAT, "%s: damaged gzip data (%s)",
                 s->source.name, g->z.msg ? g->z.msg : "unknown error");
    if (r != Z_STREAM_END) return PK_OK;
    g->ended = true;
    int64_t left = g->z.avail_in + (s->source.size - g->fed);
    PK_RETURN_IF(left > 0, PK_EFORMAT, "%s: %lld bytes after the end of the gzip data", s->source.name,
                 (long long)left);
    return PK_OK;
}

static pk_status read_gzip(pk_stream *s, uint8_t *out, int64_t bytes, int64_t *got) {
    z_stream *z = &s->gzip->z;
    *got = 0;
    while (*got < bytes && !s->gzip->ended) {
        int64_t want = pk_min(bytes - *got, 1 << 30);
        z->next_out = out + *got;
        z->avail_out = (unsigned)want;
        PK_TRY(inflate_some(s));
        *got += want - z->avail_out;
    }
    return PK_OK;
}

pk_status pk_stream_read(pk_stream *s, void *out, int64_t bytes, int64_t *got) {
    return s->gzip ? read_gzip(s, out, bytes, got) : read_plain(s, out, bytes, got);
}

pk_status pk_stream_rewind(pk_stream *s) {
    s->at = 0;
    if (!s->gzip) return PK_OK;
    z_stream *z = &s->gzip->z;
    z->next_in = NULL;
    z->avail_in = 0;
    s->gzip->fed = 0;
    s->gzip->ended = false;
    return inflateReset(z) == Z_OK ? PK_OK : pk_fail(PK_EFORMAT, "%s: zlib cannot start again", s->source.name);
}

pk_status pk_stream_rest(pk_stream *s, int64_t limit, int64_t *bytes) {
    *bytes = 0;
    if (!s->gzip) {
        *bytes = s->source.size - s->at;
        s->at = s->source.size;
    }
    uint8_t sink[CHUNK];
    for (int64_t got = 1; s->gzip && got > 0 && *bytes <= limit; *bytes += got)
        PK_TRY(read_gzip(s, sink, CHUNK, &got));
    PK_RETURN_IF(*bytes > limit, PK_EFORMAT, "%s: more data than its header says (%lld bytes)", s->source.name,
                 (long long)limit);
    return PK_OK;
}

void pk_stream_close(pk_stream *s) {
    if (s->gzip) inflateEnd(&s->gzip->z);
    pk_free(s->gzip);
    s->gzip = NULL;
    pk_source_close(&s->source);
}
