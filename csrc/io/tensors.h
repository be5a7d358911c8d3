/* Tensors in files of any format that is read or written here: which one is told by the first bytes when reading, by
 * the end of the name when writing. */
#ifndef PK_IO_TENSORS_H
#define PK_IO_TENSORS_H

#include "io/dict.h"
#include "io/file.h"

typedef enum pk_format { PK_FORMAT_SAFETENSORS, PK_FORMAT_NPY, PK_FORMAT_NPZ } pk_format;

/* d is empty before, and after a failure. Of an .npy file it holds one tensor, named "array". format may be null. */
pk_status pk_tensors_read(pk_source *s, pk_dict *d, pk_format *format);
pk_status pk_tensors_load(const char *path, pk_dict *d, pk_format *format);

/* .safetensors, .npz, or .npy (one tensor, whatever its name; no metadata). Sorts the dict's index. */
pk_status pk_tensors_save(pk_dict *d, const char *path);

#endif
