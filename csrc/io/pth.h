/* PyTorch's files (torch.save): a ZIP archive of a pickle and raw storages, or the older form, pickles and storages one
 * behind the other. Nothing in them is executed (io/pickle.h). */
#ifndef PK_IO_PTH_H
#define PK_IO_PTH_H

#include "io/dict.h"
#include "io/file.h"
#include "io/zip.h"

/* Which tensors of a file, and what may stand beside them. */
typedef struct pk_pick {
    /* "model_ema", "ckpt.state_dict": the entry that holds them. Null or "": the whole where tensors are directly in
     * it, else what stands under model, state_dict and the like, else everything. */
    const char *key;
    const char *const *opaque; /* more classes whose values are passed over, "module.name" or "module.*"; or null */
} pk_pick;

#define PK_PTH_MAX_PICKLE (64 << 20) /* bytes */
#define PK_PTH_MAX_TENSORS 65536
#define PK_PTH_MAX_NAME 400

/* Tensors under their names (nested ones by "a.b"), in the file's order; those that share a storage there share it
 * here. Numbers and texts beside the chosen entry become metadata. d is empty before, and after a failure. */
pk_status pk_pth_read(pk_source *s, const pk_pick *pick, pk_dict *d);       /* either form */
bool pk_pth_is_zip(const pk_zip *z);                                        /* does an archive hold PyTorch's pickle? */
bool pk_pth_is_legacy(const uint8_t *front, int64_t bytes);                 /* does a file begin like the older form? */

#endif
