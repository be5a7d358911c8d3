/* The safetensors format: 8 bytes of header length (little-endian), a JSON header, the data.
 *
 * Read strictly: the header is checked as a whole before anything else is allocated (names once, types and shapes
 * known, sizes as the offsets say, data contiguous from the header to the end of the file). Types that are not ours
 * are converted (io/number.h), unknown ones are refused. Written files carry "pelk.crc32" in __metadata__, a checksum
 * of names, shapes, values and metadata; where a file has it, it must match. */
#ifndef PK_IO_SAFETENSORS_H
#define PK_IO_SAFETENSORS_H

#include "io/dict.h"
#include "io/file.h"
#include "io/number.h"

#define PK_ST_MAX_HEADER (16 << 20) /* bytes */
#define PK_ST_MAX_TENSORS 65536
#define PK_ST_MAX_PAIRS 4096
#define PK_ST_CRC "pelk.crc32"

/* In the order given, 4-byte types before bytes (so that all data is aligned). Sorts the dict's index. */
pk_status pk_safetensors_save(pk_dict *d, const char *path);
/* d is empty before, and after a failure. Tensors come in the order of the file's data. */
pk_status pk_safetensors_load(const char *path, pk_dict *d);
/* The same from an open source. */
pk_status pk_safetensors_read(pk_source *s, pk_dict *d);

/* ---- between the files of the format ---- */

typedef struct pk_st_entry {
    const char *name; /* in pk_st_header.text */
    pk_number type;
    int ndim;
    int64_t shape[PK_MAX_DIMS];
    int64_t begin, end; /* in the data */
} pk_st_entry;

typedef struct pk_st_header {
    pk_st_entry *entry; /* in the order of the data */
    int64_t count;
    char *text;  /* decoded names and metadata */
    char **pair; /* key, value, key, value ... in text */
    int64_t pairs;
    int64_t data; /* where the data begins in the file */
} pk_st_header;

/* Read and check the header. pk_st_header_free after, whatever it returns. */
pk_status pk_st_header_read(pk_source *s, pk_st_header *h);
void pk_st_header_free(pk_st_header *h);

/* The checksum: text_crc over each pair but PK_ST_CRC (by key), then entry_crc and the data's bytes for each tensor. */
uint32_t pk_st_text_crc(uint32_t crc, const char *text);
uint32_t pk_st_entry_crc(uint32_t crc, const char *name, const char *type, int ndim, const int64_t *shape);
uint32_t pk_st_data_crc(uint32_t crc, const void *data, int64_t bytes);

#endif
