/* PNG through stb_image_write, with our memory and zlib's compression: with these, stb checks every allocation. */
#include "viz/png.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* of stb only one function is used */

#include <string.h>
#include <zlib.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/file.h"

/* stb keeps the result and frees it as its own block. Null when there is no memory. */
static unsigned char *compress_pixels(unsigned char *data, int bytes, int *out_bytes, int quality) {
    uLongf size = compressBound((uLong)bytes);
    unsigned char *out = size <= INT32_MAX ? pk_alloc((int64_t)size) : NULL;
    if (!out) return NULL;
    if (compress2(out, &size, data, (uLong)bytes, quality > 9 ? 9 : quality) != Z_OK) {
        pk_free(out);
        return NULL;
    }
    *out_bytes = (int)size;
    return out;
}

/* stb only grows blocks in its own compressor, which is not used. */
static void *never_grow(void *block, size_t bytes) {
    (void)block, (void)bytes;
    return NULL;
}

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#define STBIW_MALLOC(bytes) pk_alloc((int64_t)(bytes))
#define STBIW_FREE(block) pk_free(block)
#define STBIW_REALLOC(block, bytes) never_grow(block, bytes)
#define STBIW_ASSERT(x) ((void)0)
#define STBIW_ZLIB_COMPRESS compress_pixels
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wconversion"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

static pk_status check(const pk_tensor *t, int *channels) {
    bool shaped = t->dtype == PK_UINT8 && (t->ndim == 2 || (t->ndim == 3 && (t->shape[2] == 1 || t->shape[2] == 3)));
    PK_RETURN_IF(!shaped, PK_EINVAL, "png: wants uint8 {H,W}, {H,W,1} or {H,W,3}, got %s %s", pk_dtype_name(t->dtype),
                 pk_shape_text(t));
    int64_t pixels;
    PK_RETURN_IF(t->shape[0] < 1 || t->shape[1] < 1 || !pk_mul_ok(t->shape[0], t->shape[1], &pixels) ||
                     pixels > PK_MAX_PIXELS,
                 PK_EINVAL, "png: a picture of %s, at most %lld pixels are written", pk_shape_text(t),
                 (long long)PK_MAX_PIXELS);
    *channels = t->ndim == 3 ? (int)t->shape[2] : 1;
    return PK_OK;
}

pk_status pk_png_write(const pk_tensor *pixels, const char *path) {
    int channels = 1, bytes = 0;
    PK_TRY(check(pixels, &channels));
    pk_tensor *t = NULL;
    PK_TRY(pk_tensor_contiguous((pk_tensor *)(uintptr_t)pixels, &t));
    int h = (int)t->shape[0], w = (int)t->shape[1];
    unsigned char *png = stbi_write_png_to_mem(pk_u8(t), w * channels, w, h, channels, &bytes);
    pk_tensor_release(t);
    if (!png) return pk_no_memory((int64_t)w * h * channels);
    pk_status status = pk_file_write(path, png, bytes);
    pk_free(png);
    return status;
}
