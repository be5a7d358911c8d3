/* Pictures in files: JPEG through libjpeg-turbo, PNG through stb_image. Formats are told by their first bytes, not by
 * names; what is neither is refused and named. Nothing is believed before it is checked: the area is capped, and a file
 * too small for what its header promises is refused before memory is taken. What comes out is upright (EXIF), uint8,
 * channels last. Functions are pure and may run on any thread. */
#ifndef PK_IO_IMAGE_H
#define PK_IO_IMAGE_H

#include "core/status.h"

#define PK_IMAGE_MAX_PIXELS ((int64_t)64 << 20) /* the default cap */

/* Memory that is kept from one picture to the next. Zeroed: empty. */
typedef struct pk_scratch {
    void *at;
    int64_t room;
} pk_scratch;
/* At least bytes of it, what was in it lost; null when there is no memory. */
void *pk_scratch_reserve(pk_scratch *s, int64_t bytes);
void pk_scratch_free(pk_scratch *s);

typedef enum pk_image_format { PK_IMAGE_JPEG, PK_IMAGE_PNG } pk_image_format;

typedef struct pk_image_info {
    pk_image_format format;
    int64_t h, w;    /* upright */
    int channels;    /* stored: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha, or CMYK */
    bool cmyk;
    int orientation; /* EXIF's 1 .. 8 */
} pk_image_info;

typedef struct pk_image_options {
    int64_t max_pixels;
    int channels;          /* 1, 3 or 4 */
    uint8_t background[3]; /* under transparent parts when channels is 1 or 3 */
} pk_image_options;

/* A part of the upright picture; where out_h, out_w are not 0 it will be made that size, and a JPEG may come at a
 * half, a quarter or an eighth, as long as it is still twice as large. */
typedef struct pk_image_region {
    int64_t top, left, h, w;
    int64_t out_h, out_w;
} pk_image_region;

typedef struct pk_image_work {
    pk_scratch raw, pixels;
} pk_image_work;

/* A rectangle in pixels. */
typedef struct pk_rect {
    double top, left, h, w;
} pk_rect;

/* What was decoded: it holds the region, which is at `box`. The pixels lie in the work memory. */
typedef struct pk_image {
    const uint8_t *pixels;
    int64_t h, w;
    int channels;
    pk_rect box;
} pk_image;

/* What the header says. name is for messages ("name: reason"); PK_EFORMAT for all that is wrong with the bytes. */
pk_status pk_image_probe(const char *name, const uint8_t *bytes, int64_t size, int64_t max_pixels, pk_image_info *info);
/* region: of what info says; null: all of it at its size. */
pk_status pk_image_decode(const char *name, const uint8_t *bytes, int64_t size, const pk_image_info *info,
                          const pk_image_options *options, const pk_image_region *region, pk_image_work *work,
                          pk_image *out);
void pk_image_work_free(pk_image_work *work);

/* "libjpeg-turbo 2.1.5 (libjpeg 6.2)". */
const char *pk_image_jpeg_library(void);

/* ---- between the files of io/image*.c ---- */

/* As stored: not turned, channels as they come. box: the wanted part of it. */
typedef struct pk_raw {
    const uint8_t *pixels;
    int64_t h, w;
    int channels;
    pk_rect box;
} pk_raw;

pk_status pk_jpeg_probe(const char *name, const uint8_t *bytes, int64_t size, pk_image_info *info);
/* grey: one channel is enough. region: in stored coordinates. */
pk_status pk_jpeg_decode(const char *name, const uint8_t *bytes, int64_t size, bool grey, const pk_image_region *region,
                         pk_scratch *scratch, pk_raw *raw);
pk_status pk_png_probe(const char *name, const uint8_t *bytes, int64_t size, pk_image_info *info);
/* raw->pixels belong to the caller: pk_free. */
pk_status pk_png_decode(const char *name, const uint8_t *bytes, int64_t size, const pk_image_region *region,
                        pk_raw *raw);
/* The orientation in a TIFF block as EXIF has it; 1 where there is none, or nonsense. */
int pk_exif_orientation(const uint8_t *tiff, int64_t size);

#endif
