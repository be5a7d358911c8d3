/* A file's content from front to back, gzip undone. The length is found by reading it once, so that nothing needs to be
 * believed and nothing is allocated on a promise. */
#ifndef PK_DATA_STREAM_H
#define PK_DATA_STREAM_H

#include "io/file.h"

typedef struct pk_stream {
    pk_source source;
    struct pk_inflate *gzip; /* null: plain */
    int64_t at;              /* plain: next byte */
} pk_stream;

/* A file, gzip or plain: told by its first bytes. pk_stream_close after success only. */
pk_status pk_stream_open(pk_stream *s, const char *path);
/* Up to `bytes` of content; *got is less only at the end. Damage, and bytes after the end of the gzip data, are
 * PK_EFORMAT. */
pk_status pk_stream_read(pk_stream *s, void *out, int64_t bytes, int64_t *got);
pk_status pk_stream_rewind(pk_stream *s);
/* Read on to the end and count: gzip has no trustworthy length. PK_EFORMAT past `limit`. */
pk_status pk_stream_rest(pk_stream *s, int64_t limit, int64_t *bytes);
void pk_stream_close(pk_stream *s);

#endif
