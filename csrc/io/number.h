/* The types of numbers that files hold, and how they become ours: half, brain and double floats to float32, integers of
 * other widths to int32 (64 bits must fit), booleans to uint8. All little-endian. */
#ifndef PK_IO_NUMBER_H
#define PK_IO_NUMBER_H

#include "core/tensor.h"
#include "io/file.h"

typedef enum pk_number {
    PK_NUM_BOOL, PK_NUM_U8, PK_NUM_I8, PK_NUM_I16, PK_NUM_U16, PK_NUM_F16, PK_NUM_BF16, PK_NUM_I32, PK_NUM_F32,
    PK_NUM_I64, PK_NUM_F64, PK_NUMBERS
} pk_number;

const char *pk_number_name(pk_number type); /* as safetensors spells it: "F32" */
int64_t pk_number_size(pk_number type);     /* bytes of an element */
pk_dtype pk_number_dtype(pk_number type);   /* what it becomes */
bool pk_number_is_ours(pk_number type);     /* the same bytes in a file and here: U8, I32, F32 */

/* Bytes of that many elements in a file; false: more than any file could hold (dimensions of 0 hide nothing). */
bool pk_number_bytes(pk_number type, int ndim, const int64_t *shape, int64_t *bytes);

/* Exactly these bytes, the next ones of something that is read in order; or a failure. */
typedef pk_status pk_pull(void *context, void *out, int64_t bytes);

/* A source that is read in order: the pk_pull of its next bytes. */
typedef struct pk_place {
    pk_source *s;
    int64_t at;
} pk_place;
pk_status pk_pull_place(void *place, void *out, int64_t bytes);

/* Fill t (contiguous, of pk_number_dtype(type)) with its numbers pulled one after the other. `name`: for the message
 * about a value that int32 cannot hold (PK_EFORMAT). */
pk_status pk_number_fill(pk_number type, pk_pull *pull, void *context, const char *name, pk_tensor *t);

/* n numbers of a mapped file as a tensor of one dimension that sees the file itself: where they are float32, int32 or
 * uint8, aligned and within the file. False: they must be read (no message). */
bool pk_source_lend(pk_source *s, int64_t at, pk_number type, int64_t n, pk_tensor **out);

/* Little-endian integers at p. */
static inline uint32_t pk_le16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t pk_le32(const uint8_t *p) { return pk_le16(p) | pk_le16(p + 2) << 16; }
static inline uint64_t pk_le64(const uint8_t *p) { return pk_le32(p) | (uint64_t)pk_le32(p + 4) << 32; }

#endif
