/* PNG by stb_image, which neither checks checksums nor bounds areas: both are done here, before it sees a byte. */
#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/image.h"

#define MAX_RATIO 1040 /* deflate makes at most 1032 bytes of one */

/* ---- stb_image, with our memory ---- */

static _Thread_local bool starved, overfull; /* stb does not always say so */
static _Thread_local int64_t largest;        /* block that the picture may need: a few bytes unpack to gigabytes */

static void *take(size_t bytes) {
    overfull |= (int64_t)bytes > largest;
    if (overfull) return NULL;
    void *block = pk_alloc((int64_t)bytes);
    if (!block) starved = true;
    return block;
}

static void *grow(void *block, size_t old, size_t bytes) {
    void *bigger = take(bytes);
    if (bigger && block) memcpy(bigger, block, old < bytes ? old : bytes);
    if (bigger) pk_free(block);
    return bigger;
}

#pragma GCC diagnostic ignored "-Wunused-function" /* of stb one function is used */
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_ASSERT(x) ((void)0)
#define STBI_MALLOC(bytes) take(bytes)
#define STBI_FREE(block) pk_free(block)
#define STBI_REALLOC_SIZED(block, old, bytes) grow(block, old, bytes)
#define STBI_REALLOC(block, bytes) grow(block, 0, bytes)
#include <stb/stb_image.h>

/* ---- chunks ---- */

typedef struct chunk {
    const uint8_t *type, *data;
    int64_t size;
} chunk;

static uint32_t big(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is(const chunk *c, const char *type) { return memcmp(c->type, type, 4) == 0; }

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
enum { CHECKED = 0 }; /* so that what is behind the checksums is reached */
#else
enum { CHECKED = 1 };
#endif

/* The chunk at *at, its checksum right where it matters; *at goes to the next one. */
static pk_status next_chunk(const char *name, const uint8_t *bytes, int64_t size, int64_t *at, chunk *c) {
    PK_RETURN_IF(size - *at < 12, PK_EFORMAT, "%s: damaged PNG: cut short", name);
    *c = (chunk){bytes + *at + 4, bytes + *at + 8, big(bytes + *at)};
    PK_RETURN_IF(c->size > size - *at - 12, PK_EFORMAT, "%s: damaged PNG: cut short", name);
    bool used = !(c->type[0] & 32) || is(c, "tRNS") || is(c, "eXIf");
    PK_RETURN_IF(CHECKED && used && crc32(0, c->type, (unsigned)c->size + 4) != big(c->data + c->size), PK_EFORMAT,
                 "%s: damaged PNG: wrong checksum of %.4s", name, (const char *)c->type);
    *at += 12 + c->size;
    return PK_OK;
}

static pk_status read_head(const char *name, const chunk *c, pk_image_info *info, int64_t *raw) {
    static const int samples[7] = {1, 0, 3, 1, 2, 0, 4}; /* by colour type */
    PK_RETURN_IF(!is(c, "IHDR") || c->size != 13, PK_EFORMAT, "%s: damaged PNG: no header", name);
    int64_t w = big(c->data), h = big(c->data + 4), bits = c->data[8], color = c->data[9];
    PK_RETURN_IF(w < 1 || h < 1 || w > INT_MAX || h > INT_MAX, PK_EFORMAT, "%s: a picture of %lld x %lld", name,
                 (long long)h, (long long)w);
    PK_RETURN_IF(color > 6 || samples[color] == 0 || bits < 1 || bits > 16, PK_EFORMAT,
                 "%s: damaged PNG: colour type %d "
                 "of %d bits",
                 name, (int)color, (int)bits);
    info->h = h;
    info->w = w;
    info->channels = color == 3 ? 3 : samples[color];
    PK_RETURN_IF(!pk_mul_ok(w, samples[color] * bits, raw) || !pk_mul_ok(*raw / 8, h, raw), PK_EFORMAT,
                 "%s: a picture too large", name);
    return PK_OK;
}

pk_status pk_png_probe(const char *name, const uint8_t *bytes, int64_t size, pk_image_info *info) {
    int64_t at = 8, raw = 0, packed = 0;
    chunk c;
    PK_TRY(next_chunk(name, bytes, size, &at, &c));
    PK_TRY(read_head(name, &c, info, &raw));
    while (!is(&c, "IEND")) {
        PK_TRY(next_chunk(name, bytes, size, &at, &c));
        if (is(&c, "IDAT")) packed += c.size;
        if (is(&c, "tRNS")) info->channels = info->channels == 1 ? 2 : 4;
        if (is(&c, "eXIf")) info->orientation = pk_exif_orientation(c.data, c.size);
    }
    PK_RETURN_IF(raw / MAX_RATIO > packed, PK_EFORMAT, "%s: damaged PNG: %lld bytes cannot hold %lld x %lld pixels",
                 name, (long long)packed, (long long)info->h, (long long)info->w);
    return PK_OK;
}

/* Rows of eight bits or more a sample, four samples at most when a palette is unfolded; a byte before each row of each
 * pass of an interlaced picture; stb doubles what is too small. The file's own bytes are gathered likewise. */
static int64_t largest_block(const pk_image_info *info, int64_t unpacked, int64_t size) {
    int64_t pixels, rows;
    bool fits = pk_mul_ok(info->h, info->w, &pixels) && pk_mul_ok(pixels, 8, &pixels) && pk_mul_ok(info->h, 16, &rows) &&
                pk_add_ok(pixels, rows, &pixels) && pk_add_ok(pixels, unpacked, &pixels) &&
                pk_add_ok(pixels, size + 65536, &pixels) && pk_mul_ok(pixels, 2, &pixels);
    return fits ? pixels : INT64_MAX;
}

pk_status pk_png_decode(const char *name, const uint8_t *bytes, int64_t size, const pk_image_region *region,
                        pk_raw *raw) {
    int w = 0, h = 0, channels = 0;
    PK_RETURN_IF(size > INT_MAX, PK_EFORMAT, "%s: a PNG of more than 2 GB", name);
    pk_image_info info = {0};
    int64_t at = 8, unpacked = 0;
    chunk head;
    PK_TRY(next_chunk(name, bytes, size, &at, &head));
    PK_TRY(read_head(name, &head, &info, &unpacked));
    starved = overfull = false;
    largest = largest_block(&info, unpacked, size);
    uint8_t *pixels = stbi_load_from_memory(bytes, (int)size, &w, &h, &channels, 0);
    if (!pixels) {
        const char *reason = stbi_failure_reason();
        PK_RETURN_IF(overfull, PK_EFORMAT, "%s: damaged PNG: it unpacks to more than its %lld x %lld pixels", name,
                     (long long)info.h, (long long)info.w);
        if (starved) return pk_no_memory(size);
        return pk_fail(PK_EFORMAT, "%s: damaged PNG: %s", name, reason ? reason : "unknown reason");
    }
    *raw = (pk_raw){pixels, h, w, channels,
                    {(double)region->top, (double)region->left, (double)region->h, (double)region->w}};
    return PK_OK;
}
