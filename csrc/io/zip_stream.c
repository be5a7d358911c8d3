/* A member of a ZIP archive, unpacked and summed as it is read. */
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/zip.h"
#include "io/zlib_memory.h"

#define CHUNK 32768
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define BLIND true /* fuzzers cannot make checksums: they must reach what is behind them */
#else
#define BLIND false
#endif

pk_status pk_zip_begin(pk_zip_stream *r, const pk_zip *z, const pk_zip_entry *e) {
    memset(r, 0, sizeof *r);
    r->zip = z;
    r->entry = e;
    if (!e->deflated) return PK_OK;
    r->in = pk_alloc(CHUNK);
    if (!r->in) return pk_no_memory(CHUNK);
    pk_zlib_memory(&r->z);
    if (inflateInit2(&r->z, -15) != Z_OK) return pk_no_memory(CHUNK);
    r->open = true;
    return PK_OK;
}

void pk_zip_end(pk_zip_stream *r) {
    if (r->open) inflateEnd(&r->z);
    pk_free(r->in);
    memset(r, 0, sizeof *r);
}

/* The next part of the packed data, when zlib has eaten the last. */
static pk_status feed(pk_zip_stream *r) {
    int64_t n = pk_min(r->entry->packed - r->fed, CHUNK);
    if (r->z.avail_in > 0 || n == 0) return PK_OK;
    PK_TRY(pk_source_read(r->zip->source, r->entry->data + r->fed, r->in, n));
    r->z.next_in = r->in;
    r->z.avail_in = (uInt)n;
    r->fed += n;
    return PK_OK;
}

static pk_status inflate_some(pk_zip_stream *r, uint8_t *out, int64_t bytes) {
    r->z.next_out = out;
    r->z.avail_out = (uInt)bytes;
    while (r->z.avail_out > 0) {
        PK_TRY(feed(r));
        int code = inflate(&r->z, Z_NO_FLUSH);
        if (code == Z_MEM_ERROR) return pk_no_memory(CHUNK);
        PK_RETURN_IF(code == Z_STREAM_END && r->z.avail_out > 0, PK_EFORMAT, "%.100s: unpacks to less than declared",
                     r->entry->name);
        PK_RETURN_IF(code != Z_OK && code != Z_STREAM_END, PK_EFORMAT, "%.100s: damaged deflated data", r->entry->name);
    }
    return PK_OK;
}

pk_status pk_zip_pull(void *stream, void *out, int64_t bytes) {
    pk_zip_stream *r = stream;
    const pk_zip_entry *e = r->entry;
    PK_RETURN_IF(bytes > e->size - r->given, PK_EFORMAT, "%.100s: holds %lld bytes, %lld more wanted at %lld", e->name,
                 (long long)e->size, (long long)bytes, (long long)r->given);
    for (uint8_t *to = out; bytes > 0;) {
        int64_t n = pk_min(bytes, 1 << 20);
        if (e->deflated)
            PK_TRY(inflate_some(r, to, n));
        else
            PK_TRY(pk_source_read(r->zip->source, e->data + r->given, to, n));
        r->crc = (uint32_t)crc32_z(r->crc, to, (z_size_t)n);
        r->given += n;
        to += n;
        bytes -= n;
    }
    return PK_OK;
}

/* Nothing more may come out, and the packed data must end where the directory says. */
static pk_status check_end(pk_zip_stream *r) {
    uint8_t one;
    int code = Z_OK;
    r->z.next_out = &one;
    r->z.avail_out = 1;
    while (code == Z_OK && r->z.avail_out > 0) {
        PK_TRY(feed(r));
        code = inflate(&r->z, Z_NO_FLUSH);
    }
    bool good = code == Z_STREAM_END && r->z.avail_out == 1 && r->z.avail_in == 0 && r->fed == r->entry->packed;
    PK_RETURN_IF(!good, PK_EFORMAT, "%.100s: its deflated data is longer or shorter than declared", r->entry->name);
    return PK_OK;
}

pk_status pk_zip_check(pk_zip_stream *r) {
    const pk_zip_entry *e = r->entry;
    PK_RETURN_IF(r->given != e->size, PK_EFORMAT, "%.100s: %lld bytes, of which %lld are needed", e->name,
                 (long long)e->size, (long long)r->given);
    if (e->deflated) PK_TRY(check_end(r));
    PK_RETURN_IF(r->crc != e->crc && !BLIND, PK_EFORMAT, "%.100s: checksum %08x, the archive says %08x: damaged", e->name, r->crc,
                 e->crc);
    return PK_OK;
}

pk_status pk_zip_verify(const pk_zip *z, const pk_zip_entry *e) {
    pk_zip_stream r;
    uint8_t chunk[4096];
    pk_status status = pk_zip_begin(&r, z, e);
    while (status == PK_OK && r.given < e->size)
        status = pk_zip_pull(&r, chunk, pk_min(e->size - r.given, (int64_t)sizeof chunk));
    if (status == PK_OK) status = pk_zip_check(&r);
    pk_zip_end(&r);
    return status;
}
