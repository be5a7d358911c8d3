/* Tensors in files of any format that is read or written here: which one is told by the first bytes when reading, by
 * the end of the name when writing. */
#ifndef PK_IO_TENSORS_H
#define PK_IO_TENSORS_H

#include "io/dict.h"
#include "io/file.h"
#include "io/pth.h"

typedef enum pk_format { PK_FORMAT_SAFETENSORS, PK_FORMAT_NPY, PK_FORMAT_NPZ, PK_FORMAT_PTH } pk_format;

/* d is empty before, and after a failure. Of an .npy file it holds one tensor, named "array". pick: of PyTorch's files,
 * a key of others is PK_EINVAL; pick and format may be null. */
pk_status pk_tensors_read(pk_source *s, const pk_pick *pick, pk_dict *d, pk_format *format);
/* map: where it can be, float32 tensors see the file itself and nothing is read before it is used (pk_source_map). */
pk_status pk_tensors_load(const char *path, const pk_pick *pick, bool map, pk_dict *d, pk_format *format);

/* .safetensors, .npz, or .npy (one tensor, whatever its name; no metadata). Sorts the dict's index. */
pk_status pk_tensors_save(pk_dict *d, const char *path);

#endif
