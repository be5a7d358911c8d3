/* ZIP archives (APPNOTE 6.3), as NumPy and PyTorch write them: members stored or deflated, one disk, ZIP64 sizes.
 *
 * Read strictly: the central directory lies between the members and the end record, every member lies before it, none
 * overlaps another, the local headers say the same names. Encrypted members and other methods are refused by name. */
#ifndef PK_IO_ZIP_H
#define PK_IO_ZIP_H

#include <zlib.h>

#include "io/file.h"

#define PK_ZIP_MAX_MEMBERS 65536
#define PK_ZIP_MAX_DIRECTORY (24 << 20) /* bytes */

typedef struct pk_zip_entry {
    const char *name;
    int64_t header, data, packed, size; /* where its header and its data begin; bytes in the file, bytes unpacked */
    uint32_t crc;
    bool deflated;
} pk_zip_entry;

typedef struct pk_zip {
    pk_source *source; /* borrowed */
    pk_zip_entry *entry; /* by place in the file */
    int64_t count;
    int32_t *sorted;    /* entry numbers by name */
    uint8_t *directory; /* holds the names */
} pk_zip;

/* The directory, checked. Messages have no path in front. pk_zip_close after, whatever it returns. */
pk_status pk_zip_open(pk_zip *z, pk_source *s);
void pk_zip_close(pk_zip *z);
const pk_zip_entry *pk_zip_find(const pk_zip *z, const char *name); /* null: not there */

/* A member from front to back. */
typedef struct pk_zip_stream {
    const pk_zip *zip;
    const pk_zip_entry *entry;
    int64_t fed, given; /* bytes taken from the file, bytes handed out */
    uint32_t crc;
    bool open;      /* z is */
    uint8_t *in;    /* a part of the packed data */
    z_stream z;
} pk_zip_stream;

pk_status pk_zip_begin(pk_zip_stream *r, const pk_zip *z, const pk_zip_entry *e);
/* Exactly these bytes (a pk_pull): past the member's size is PK_EFORMAT. */
pk_status pk_zip_pull(void *stream, void *out, int64_t bytes);
/* Is all of the member read, is the packed data at its end, does its checksum match? */
pk_status pk_zip_check(pk_zip_stream *r);
void pk_zip_end(pk_zip_stream *r); /* free what begin took, whatever was returned */
/* begin, all pulled and thrown away, check: does the member hold what it declares? */
pk_status pk_zip_verify(const pk_zip *z, const pk_zip_entry *e);

#endif
