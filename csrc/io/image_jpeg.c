/* JPEG by libjpeg-turbo: scaled decoding, and only the rows and columns that are wanted. The library reports errors by
 * longjmp; that stays in this file: `guarded` is the one place it lands, and what runs under it keeps its state in the
 * decoder. */
#include <setjmp.h>
#include <stdio.h> /* before jpeglib.h, which wants it */
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/image.h"

enum {
    MAX_SCANS = 200,           /* of a progressive file: more are an attack on our time */
    TAIL = 64 * 1024,          /* where the end-of-image marker is looked for */
    MARGIN = 2                 /* pixels decoded around the part that is wanted */
};

typedef struct decoder {
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char text[JMSG_LENGTH_MAX];
    bool created, no_memory, grey;
    const uint8_t *bytes;
    int64_t size;
    const pk_image_region *region;
    pk_scratch *scratch;
    pk_image_info *info;
    pk_raw *raw;
} decoder;

/* ---- what the library calls ---- */

static void leave(j_common_ptr c) {
    decoder *d = c->client_data;
    d->no_memory = c->err->msg_code == JERR_OUT_OF_MEMORY;
    if (d->text[0] == 0) c->err->format_message(c, d->text);
    longjmp(d->escape, 1);
}

static void leave_with(j_common_ptr c, const char *text) {
    decoder *d = c->client_data;
    snprintf(d->text, sizeof d->text, "%s", text);
    longjmp(d->escape, 1);
}

static void say_nothing(j_common_ptr c) { (void)c; }
static void warn_nothing(j_common_ptr c, int level) {
    (void)c;
    (void)level;
}
static void no_op(j_decompress_ptr c) { (void)c; }

static boolean no_more(j_decompress_ptr c) {
    leave_with((j_common_ptr)c, "cut short");
    return FALSE;
}

static void skip(j_decompress_ptr c, long n) {
    if (n <= 0) return;
    if ((size_t)n > c->src->bytes_in_buffer) leave_with((j_common_ptr)c, "cut short");
    c->src->next_input_byte += n;
    c->src->bytes_in_buffer -= (size_t)n;
}

static void limit_scans(j_common_ptr c) {
    if (c->is_decompressor && ((j_decompress_ptr)c)->input_scan_number > MAX_SCANS)
        leave_with(c, "has more scans than any real picture");
}

/* ---- a decoder's life ---- */

static void prepare(decoder *d, const uint8_t *bytes, int64_t size) {
    memset(d, 0, sizeof *d);
    d->bytes = bytes;
    d->size = size;
    d->c.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = leave;
    d->errors.output_message = say_nothing;
    d->errors.emit_message = warn_nothing;
    d->c.client_data = d;
    d->source = (struct jpeg_source_mgr){.next_input_byte = bytes, .bytes_in_buffer = (size_t)size,
                                         .init_source = no_op, .fill_input_buffer = no_more,
                                         .skip_input_data = skip, .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = no_op};
    d->progress.progress_monitor = limit_scans;
}

/* Run work; false when the library gave up, d->text says why. */
static bool guarded(decoder *d, void (*work)(decoder *d)) {
    if (setjmp(d->escape)) return false;
    work(d);
    return true;
}

static void read_header(decoder *d) {
    jpeg_create_decompress(&d->c);
    d->created = true;
    d->c.client_data = d; /* creation cleared it */
    d->c.src = &d->source;
    d->c.progress = &d->progress;
    jpeg_read_header(&d->c, TRUE);
}

static pk_status finish(decoder *d, bool done, const char *name) {
    if (d->created) jpeg_destroy_decompress(&d->c);
    if (done) return PK_OK;
    if (d->no_memory) return pk_no_memory(d->size);
    return pk_fail(PK_EFORMAT, "%s: damaged JPEG: %s", name, d->text);
}

/* ---- the header ---- */

/* Which way is up, from the first EXIF segment before the first scan. The library would keep all segments of its kind in a
 * list that it walks for each new one: a file of a hundred thousand takes it a minute. */
static int orientation(const uint8_t *bytes, int64_t size) {
    int64_t at = 2;
    while (at + 4 <= size) {
        int kind = bytes[at + 1];
        if (bytes[at] != 0xff || kind == 0 || kind == 0xff) { /* between segments */
            at++;
            continue;
        }
        if (kind == 0xda || kind == 0xd9) break;
        if (kind == 0x01 || (kind >= 0xd0 && kind <= 0xd8)) { /* markers alone */
            at += 2;
            continue;
        }
        int64_t length = (int64_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (length < 2 || length > size - at - 2) break;
        if (kind == 0xe1 && length >= 8 && memcmp(bytes + at + 4, "Exif\0", 6) == 0)
            return pk_exif_orientation(bytes + at + 10, length - 8);
        at += 2 + length;
    }
    return 1;
}

static void probe(decoder *d) {
    read_header(d);
    const struct jpeg_decompress_struct *c = &d->c;
    pk_image_info *info = d->info;
    info->h = c->image_height;
    info->w = c->image_width;
    info->cmyk = c->jpeg_color_space == JCS_CMYK || c->jpeg_color_space == JCS_YCCK;
    info->channels = c->num_components;
    info->orientation = orientation(d->bytes, d->size);
    if (c->data_precision != 8) leave_with((j_common_ptr)c, "more than 8 bits a sample are not read");
    if (!info->cmyk && c->num_components != 1 && c->num_components != 3)
        leave_with((j_common_ptr)c, "neither grey nor three colours nor CMYK");
    /* Huffman codes take at least a bit a block of 64 pixels. */
    if (!c->arith_code && (int64_t)((c->image_height + 7) / 8) * ((c->image_width + 7) / 8) > 8 * d->size)
        leave_with((j_common_ptr)c, "cut short: too few bytes for its pixels");
}

pk_status pk_jpeg_probe(const char *name, const uint8_t *bytes, int64_t size, pk_image_info *info) {
    decoder d;
    prepare(&d, bytes, size);
    d.info = info;
    return finish(&d, guarded(&d, probe), name);
}

/* ---- the pixels ---- */

/* The strongest reduction that leaves the region twice as large as it will become. */
static unsigned reduction(const pk_image_region *r) {
    unsigned by = 1;
    if (r->out_h <= 0 || r->out_w <= 0) return 1;
    while (by < 8 && r->h >= 4 * (int64_t)by * r->out_h && r->w >= 4 * (int64_t)by * r->out_w) by *= 2;
    return by;
}

/* Rows or columns to decode along one axis: those of [at, at + n) scaled, and a few around. */
static void span(int64_t at, int64_t n, double scale, int64_t limit, int64_t *begin, int64_t *end) {
    *begin = pk_max(0, (int64_t)((double)at * scale) - MARGIN);
    *end = pk_min(limit, (int64_t)((double)(at + n) * scale) + 1 + MARGIN);
}

/* A file that does not end as it should is read to its end, so that what is missing is always noticed. */
static bool has_end(const uint8_t *bytes, int64_t size) {
    for (int64_t i = size - 2; i >= 0 && i > size - TAIL; i--)
        if (bytes[i] == 0xff && bytes[i + 1] == 0xd9) return true;
    return false;
}

static void start(decoder *d) {
    struct jpeg_decompress_struct *c = &d->c;
    bool cmyk = c->jpeg_color_space == JCS_CMYK || c->jpeg_color_space == JCS_YCCK;
    bool grey = d->grey && (c->jpeg_color_space == JCS_GRAYSCALE || c->jpeg_color_space == JCS_YCbCr);
    c->out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    c->scale_num = 1;
    c->scale_denom = reduction(d->region);
    jpeg_start_decompress(c);
}

static uint8_t *room_for(decoder *d, int64_t rows, int64_t width) {
    int64_t bytes;
    uint8_t *at = NULL;
    if (pk_mul_ok(rows, width * d->c.output_components, &bytes)) at = pk_scratch_reserve(d->scratch, bytes);
    if (!at) {
        d->no_memory = true;
        longjmp(d->escape, 1);
    }
    return at;
}

static void decode(decoder *d) {
    bool whole = !has_end(d->bytes, d->size);
    read_header(d);
    struct jpeg_decompress_struct *c = &d->c;
    const pk_image_region *r = d->region;
    start(d);
    double by_y = (double)c->output_height / c->image_height, by_x = (double)c->output_width / c->image_width;
    int64_t y0, y1, x0, x1, height = c->output_height;
    span(r->top, r->h, by_y, height, &y0, &y1);
    span(r->left, r->w, by_x, c->output_width, &x0, &x1);
    JDIMENSION left = (JDIMENSION)x0, width = (JDIMENSION)(x1 - x0);
    if (width < c->output_width) jpeg_crop_scanline(c, &left, &width);
    int64_t row = (int64_t)width * c->output_components;
    uint8_t *out = room_for(d, y1 - y0, width);
    if (y0 > 0) jpeg_skip_scanlines(c, (JDIMENSION)y0);
    while (c->output_scanline < y1) {
        JSAMPROW to = out + (c->output_scanline - y0) * row;
        jpeg_read_scanlines(c, &to, 1);
    }
    if (whole && y1 < height) jpeg_skip_scanlines(c, (JDIMENSION)(height - y1));
    *d->raw = (pk_raw){out, y1 - y0, width, c->output_components,
                       {(double)r->top * by_y - (double)y0, (double)r->left * by_x - left, (double)r->h * by_y,
                        (double)r->w * by_x}};
}

pk_status pk_jpeg_decode(const char *name, const uint8_t *bytes, int64_t size, bool grey, const pk_image_region *region,
                         pk_scratch *scratch, pk_raw *raw) {
    decoder d;
    prepare(&d, bytes, size);
    d.grey = grey;
    d.region = region;
    d.scratch = scratch;
    d.raw = raw;
    return finish(&d, guarded(&d, decode), name);
}

/* ---- the library's name ---- */

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#ifdef LIBJPEG_TURBO_VERSION
#define LIBRARY "libjpeg-turbo " TEXT(LIBJPEG_TURBO_VERSION)
#else
#error "the JPEG decoder is libjpeg-turbo (Debian: libjpeg62-turbo-dev)"
#endif

const char *pk_image_jpeg_library(void) { return LIBRARY; }
