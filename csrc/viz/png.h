/* PNG files from pixels, written crash-safely. */
#ifndef PK_VIZ_PNG_H
#define PK_VIZ_PNG_H

#include "core/tensor.h"

#define PK_MAX_PIXELS ((int64_t)64 << 20)

/* uint8 {H,W}, {H,W,1} (gray) or {H,W,3}. */
pk_status pk_png_write(const pk_tensor *pixels, const char *path);

#endif
