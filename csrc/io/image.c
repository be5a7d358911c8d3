/* Which decoder, which way up, which channels. */
#include "io/image.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"

/* ---- scratch ---- */

void *pk_scratch_reserve(pk_scratch *s, int64_t bytes) {
    if (bytes <= s->room && s->at) return s->at;
    pk_free(s->at);
    s->at = pk_alloc(bytes);
    s->room = s->at ? bytes : 0;
    return s->at;
}

void pk_scratch_free(pk_scratch *s) {
    pk_free(s->at);
    *s = (pk_scratch){NULL, 0};
}

void pk_image_work_free(pk_image_work *work) {
    pk_scratch_free(&work->raw);
    pk_scratch_free(&work->pixels);
}

/* ---- formats ---- */

static bool begins(const uint8_t *bytes, int64_t size, int64_t at, const char *text) {
    int64_t n = (int64_t)strlen(text);
    return size >= at + n && memcmp(bytes + at, text, (size_t)n) == 0;
}

/* What other programs would read; null: no picture at all. */
static const char *foreign_format(const uint8_t *bytes, int64_t size) {
    static const struct {
        int64_t at;
        const char *magic, *name;
    } known[] = {{0, "GIF8", "GIF"}, {8, "WEBP", "WebP"}, {0, "BM", "BMP"}, {0, "II*", "TIFF"}, {0, "MM", "TIFF"},
                 {4, "ftyp", "HEIF, AVIF or video"}, {0, "8BPS", "PSD"}, {0, "P5", "PGM"}, {0, "P6", "PPM"},
                 {0, "<svg", "SVG"}, {0, "<?xml", "SVG or XML"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (begins(bytes, size, known[i].at, known[i].magic)) return known[i].name;
    return NULL;
}

static pk_status check_extent(const char *name, const pk_image_info *info, int64_t max_pixels) {
    int64_t area;
    PK_RETURN_IF(info->h < 1 || info->w < 1, PK_EFORMAT, "%s: a picture of %lld x %lld", name, (long long)info->h,
                 (long long)info->w);
    PK_RETURN_IF(!pk_mul_ok(info->h, info->w, &area) || area > max_pixels, PK_EFORMAT,
                 "%s: %lld x %lld pixels, at most %lld are read (max_pixels)", name, (long long)info->h,
                 (long long)info->w, (long long)max_pixels);
    return PK_OK;
}

pk_status pk_image_probe(const char *name, const uint8_t *bytes, int64_t size, int64_t max_pixels,
                         pk_image_info *info) {
    memset(info, 0, sizeof *info);
    info->orientation = 1;
    PK_RETURN_IF(size == 0, PK_EFORMAT, "%s: is empty", name);
    if (begins(bytes, size, 0, "\xff\xd8\xff")) {
        info->format = PK_IMAGE_JPEG;
        PK_TRY(pk_jpeg_probe(name, bytes, size, info));
    } else if (begins(bytes, size, 0, "\x89PNG\r\n\x1a\n")) {
        info->format = PK_IMAGE_PNG;
        PK_TRY(pk_png_probe(name, bytes, size, info));
    } else {
        const char *other = foreign_format(bytes, size);
        return other ? pk_fail(PK_EFORMAT, "%s: is %s; JPEG and PNG are read", name, other)
                     : pk_fail(PK_EFORMAT, "%s: is no picture; JPEG and PNG are read", name);
    }
    PK_TRY(check_extent(name, info, max_pixels));
    if (info->orientation >= 5) {
        int64_t h = info->h;
        info->h = info->w;
        info->w = h;
    }
    return PK_OK;
}

/* ---- EXIF orientation ---- */

static uint32_t number(const uint8_t *p, int bytes, bool little) {
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v = v << 8 | p[little ? bytes - 1 - i : i];
    return v;
}

int pk_exif_orientation(const uint8_t *tiff, int64_t size) {
    if (size < 14 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0)) return 1;
    bool little = tiff[0] == 'I';
    int64_t at = number(tiff + 4, 4, little);
    if (at > size - 2) return 1;
    int64_t entries = pk_min(number(tiff + at, 2, little), (size - at - 2) / 12);
    for (int64_t i = 0; i < entries; i++) {
        const uint8_t *entry = tiff + at + 2 + 12 * i;
        if (number(entry, 2, little) != 0x0112) continue;
        uint32_t value = number(entry + 8, 2, little);
        return number(entry + 2, 2, little) == 3 && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* A box of the upright picture in the stored one of h rows and w columns. */
static pk_rect turn_box(int orientation, pk_rect b, double h, double w) {
    double bottom = b.top + b.h, right = b.left + b.w;
    switch (orientation) {
    case 2: return (pk_rect){b.top, w - right, b.h, b.w};
    case 3: return (pk_rect){h - bottom, w - right, b.h, b.w};
    case 4: return (pk_rect){h - bottom, b.left, b.h, b.w};
    case 5: return (pk_rect){b.left, b.top, b.w, b.h};
    case 6: return (pk_rect){h - right, b.top, b.w, b.h};
    case 7: return (pk_rect){h - right, w - bottom, b.w, b.h};
    case 8: return (pk_rect){b.left, w - bottom, b.w, b.h};
    default: return b;
    }
}

static int inverse(int orientation) { return orientation == 6 ? 8 : orientation == 8 ? 6 : orientation; }

static pk_image_region stored_region(const pk_image_info *info, const pk_image_region *r) {
    bool turned = info->orientation >= 5;
    double h = (double)(turned ? info->w : info->h), w = (double)(turned ? info->h : info->w);
    pk_rect b = {(double)r->top, (double)r->left, (double)r->h, (double)r->w};
    b = turn_box(info->orientation, b, h, w);
    return (pk_image_region){(int64_t)b.top,
                             (int64_t)b.left,
                             (int64_t)b.h,
                             (int64_t)b.w,
                             turned ? r->out_w : r->out_h,
                             turned ? r->out_h : r->out_w};
}

/* ---- channels ---- */

typedef struct pixel {
    int r, g, b, a;
} pixel;

static int scale255(int a, int b) { /* a * b / 255, rounded */
    int t = a * b + 128;
    return (t + (t >> 8)) >> 8;
}

static pixel load(const uint8_t *p, int channels, bool cmyk) {
    switch (channels) {
    case 1: return (pixel){p[0], p[0], p[0], 255};
    case 2: return (pixel){p[0], p[0], p[0], p[1]};
    case 3: return (pixel){p[0], p[1], p[2], 255};
    default: /* CMYK is stored inverted, as Adobe does */
        return cmyk ? (pixel){scale255(p[0], p[3]), scale255(p[1], p[3]), scale255(p[2], p[3]), 255}
                    : (pixel){p[0], p[1], p[2], p[3]};
    }
}

static void store(pixel v, const pk_image_options *o, uint8_t *to) {
    if (o->channels != 4 && v.a != 255) {
        int rest = 255 - v.a;
        v.r = scale255(v.r, v.a) + scale255(o->background[0], rest);
        v.g = scale255(v.g, v.a) + scale255(o->background[1], rest);
        v.b = scale255(v.b, v.a) + scale255(o->background[2], rest);
    }
    if (o->channels == 1) { /* ITU-R BT.601 */
        to[0] = (uint8_t)((v.r * 19595 + v.g * 38470 + v.b * 7471 + 0x8000) >> 16);
        return;
    }
    to[0] = (uint8_t)(v.r > 255 ? 255 : v.r);
    to[1] = (uint8_t)(v.g > 255 ? 255 : v.g);
    to[2] = (uint8_t)(v.b > 255 ? 255 : v.b);
    if (o->channels == 4) to[3] = (uint8_t)v.a;
}

/* Turn upright and convert: out is {h, w} of raw, exchanged for orientations 5 to 8. */
static void arrange(const pk_raw *raw, bool cmyk, int orientation, const pk_image_options *o, uint8_t *out) {
    int64_t n = raw->channels, row = raw->w * n, first = 0, down = row, right = n;
    bool turned = orientation >= 5;
    int64_t h = turned ? raw->w : raw->h, w = turned ? raw->h : raw->w;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) first += (raw->h - 1) * row;
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) first += (raw->w - 1) * n;
    int64_t by_row = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7 ? -row : row;
    int64_t by_column = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8 ? -n : n;
    down = turned ? by_column : by_row;
    right = turned ? by_row : by_column;
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            store(load(raw->pixels + first + y * down + x * right, raw->channels, cmyk), o,
                  out + (y * w + x) * o->channels);
}

static pk_status finish(const pk_raw *raw, const pk_image_info *info, const pk_image_options *o, pk_scratch *scratch,
                        pk_image *out) {
    bool turned = info->orientation >= 5;
    *out = (pk_image){.pixels = raw->pixels, .h = turned ? raw->w : raw->h, .w = turned ? raw->h : raw->w,
                      .channels = o->channels};
    out->box = turn_box(inverse(info->orientation), raw->box, (double)out->h, (double)out->w);
    int64_t bytes = out->h * out->w * o->channels; /* the area is capped */
    uint8_t *pixels = pk_scratch_reserve(scratch, bytes);
    if (!pixels) return pk_no_memory(bytes);
    arrange(raw, info->cmyk, info->orientation, o, pixels);
    out->pixels = pixels;
    return PK_OK;
}

/* ---- decoding ---- */

static pk_status decode_jpeg(const char *name, const uint8_t *bytes, int64_t size, const pk_image_info *info,
                             const pk_image_options *o, const pk_image_region *stored, pk_image_work *work,
                             pk_image *out) {
    pk_raw raw;
    PK_TRY(pk_jpeg_decode(name, bytes, size, o->channels == 1, stored, &work->raw, &raw));
    if (info->orientation != 1 || raw.channels != o->channels || info->cmyk)
        return finish(&raw, info, o, &work->pixels, out);
    *out = (pk_image){raw.pixels, raw.h, raw.w, raw.channels, raw.box};
    return PK_OK;
}

static pk_status decode_png(const char *name, const uint8_t *bytes, int64_t size, const pk_image_info *info,
                            const pk_image_options *o, const pk_image_region *stored, pk_image_work *work,
                            pk_image *out) {
    pk_raw raw;
    PK_TRY(pk_png_decode(name, bytes, size, stored, &raw));
    pk_status status = finish(&raw, info, o, &work->pixels, out);
    pk_free((void *)(uintptr_t)raw.pixels);
    return status;
}

pk_status pk_image_decode(const char *name, const uint8_t *bytes, int64_t size, const pk_image_info *info,
                          const pk_image_options *options, const pk_image_region *region, pk_image_work *work,
                          pk_image *out) {
    const pk_image_region all = {0, 0, info->h, info->w, 0, 0};
    if (!region) region = &all;
    PK_RETURN_IF(region->top < 0 || region->left < 0 || region->h < 1 || region->w < 1 ||
                     region->h > info->h - region->top || region->w > info->w - region->left,
                 PK_EINVAL, "%s: a part outside of the picture", name);
    pk_image_region stored = stored_region(info, region);
    return info->format == PK_IMAGE_JPEG ? decode_jpeg(name, bytes, size, info, options, &stored, work, out)
                                         : decode_png(name, bytes, size, info, options, &stored, work, out);
}
