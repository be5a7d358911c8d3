/* NumPy's files (NEP 1): .npy, one array behind a header, and .npz, a ZIP archive of them.
 *
 * Read are format versions 1 to 3 and the types f2 f4 f8, i1 i2 i4 i8, u1 u2, b1, little-endian, in C and in Fortran
 * order (io/number.h says what they become); others are refused by name, Python objects above all. What the header
 * declares must be what the file holds, before anything is allocated. */
#ifndef PK_IO_NPY_H
#define PK_IO_NPY_H

#include "io/dict.h"
#include "io/file.h"
#include "io/number.h"

#define PK_NPY_MAX_HEADER 10000 /* bytes, as NumPy's own limit */

/* One array of `size` bytes in all, pulled from front to back. Messages begin with `name`. */
pk_status pk_npy_read(pk_pull *pull, void *context, int64_t size, const char *name, pk_tensor **out);
pk_status pk_npy_load(pk_source *s, pk_tensor **out);
pk_status pk_npy_save(const pk_tensor *t, const char *path);

/* The arrays of an archive by name ("a" for a.npy), in the file's order. d is empty before, and after a failure. */
pk_status pk_npz_read(pk_source *s, pk_dict *d);
/* Stored, without compression, in the order given. Metadata is refused: the format has none. */
pk_status pk_npz_save(pk_dict *d, const char *path);

/* ---- between the files of the format ---- */

#define PK_NPY_HEADER 320 /* bytes: the longest header written */
/* The header of t into out; its length. */
int64_t pk_npy_header(const pk_tensor *t, uint8_t out[PK_NPY_HEADER]);

#endif
