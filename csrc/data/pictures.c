/* One picture through its pipeline. Extents are known only now when they come from a file; memory is the worker's. */
#include "data/pictures.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/rng.h"
#include "data/files.h"

int64_t pk_pictures_count(const pk_pictures *p) { return p->x ? p->x->shape[0] : p->files->count; }

uint64_t pk_recipe_stream(uint64_t seed, uint64_t epoch) { return pk_random_bits(seed, epoch); }

void pk_picture_work_free(pk_picture_work *work) {
    pk_scratch_free(&work->side[0]);
    pk_scratch_free(&work->side[1]);
    pk_scratch_free(&work->scratch);
    pk_scratch_free(&work->file);
    pk_image_work_free(&work->image);
}

/* ---- extents ---- */

static pk_extent first_extent(const pk_pictures *from) {
    if (!from->x) return (pk_extent){PK_UNKNOWN, PK_UNKNOWN, from->files->options.channels, true, true};
    const pk_tensor *x = from->x;
    pk_extent e = {1, 1, 1, x->ndim == 4, x->dtype == PK_UINT8};
    if (x->ndim == 4) return (pk_extent){x->shape[1], x->shape[2], x->shape[3], true, e.bytes};
    for (int i = 1; i < x->ndim - 1; i++) e.w *= x->shape[i]; /* its product was checked when the tensor was made */
    if (x->ndim > 1) e.c = x->shape[x->ndim - 1];
    return e;
}

/* What step number i makes of e. */
static pk_status infer_step(const pk_recipe *r, int i, pk_extent *e) {
    const pk_transform_kind *kind = r->pipeline.step[i]->kind;
    PK_RETURN_IF(kind->spatial && !e->image, PK_EINVAL, "%s: wants pictures {N,H,W,C}, got %s", kind->name,
                 r->from.x ? pk_shape_text(r->from.x) : "files");
    PK_RETURN_IF(kind->takes == PK_TAKES_BYTES && !e->bytes, PK_EINVAL,
                 "%s: wants uint8 pictures, and gets floats: it goes in front of to_float and normalize", kind->name);
    if (kind->takes == PK_TAKES_FLOATS) e->bytes = false;
    if (kind->infer) PK_TRY(kind->infer(r->pipeline.step[i]->options, e));
    int64_t values, bytes;
    PK_RETURN_IF(e->h != PK_UNKNOWN && (!pk_mul_ok(e->h, e->w, &values) || !pk_mul_ok(values, e->c, &values) ||
                                        !pk_mul_ok(values, sizeof(float), &bytes)),
                 PK_EINVAL, "%s: pictures too large", kind->name);
    return PK_OK;
}

pk_status pk_recipe_infer(pk_recipe *r) {
    const pk_tensor *x = r->from.x;
    PK_RETURN_IF(x && x->dtype == PK_INT32, PK_EINVAL, "batch: wants uint8 or float32 data, got int32");
    PK_RETURN_IF(x && !pk_is_contiguous(x), PK_EINVAL, "batch: the data must be contiguous");
    PK_RETURN_IF(x && x->ndim < 1, PK_EINVAL, "batch: a scalar has no rows");
    pk_extent e = first_extent(&r->from);
    for (int i = 0; i < r->pipeline.count; i++) PK_TRY(infer_step(r, i, &e));
    PK_RETURN_IF(e.h == PK_UNKNOWN, PK_EINVAL, "pictures in files differ in size: a transform must bring them to one "
                 "(resize, center_crop, random_resized_crop with a size)");
    PK_RETURN_IF(r->bytes && !e.bytes, PK_EINVAL, "uint8 pictures are wanted, and the transforms make floats");
    r->out = e;
    r->out.bytes = r->bytes;
    return PK_OK;
}

/* ---- a picture in work ---- */

typedef struct picture {
    const pk_recipe *recipe;
    pk_picture_work *work;
    const void *now; /* where it is */
    pk_extent e;
    int side;        /* the side that is free */
    uint64_t stream;
} picture;

static void *next_side(picture *p, int64_t bytes) {
    void *at = pk_scratch_reserve(&p->work->side[p->side], bytes);
    if (!at) pk_no_memory(bytes);
    return at;
}

static void moved(picture *p, const void *to, const pk_extent *e) {
    p->now = to;
    p->e = *e;
    p->side ^= 1;
}

static void widen(const uint8_t *in, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = (float)in[i];
}

/* Bytes to floats of the same values. */
static pk_status to_floats(picture *p) {
    pk_extent e = p->e;
    e.bytes = false;
    float *out = next_side(p, pk_extent_bytes(&e));
    if (!out) return PK_ENOMEM;
    widen(p->now, out, pk_extent_values(&e));
    moved(p, out, &e);
    return PK_OK;
}

static pk_status resample(picture *p, const pk_pixels *in, const pk_cut *cut, const pk_extent *to) {
    int64_t bytes = pk_resample_scratch(cut, to->h, to->w, to->c);
    void *scratch = pk_scratch_reserve(&p->work->scratch, bytes);
    if (!scratch) return pk_no_memory(bytes);
    void *out = next_side(p, pk_extent_bytes(to));
    if (!out) return PK_ENOMEM;
    pk_resample(in, cut, to->h, to->w, out, scratch);
    moved(p, out, to);
    return PK_OK;
}

static pk_status apply(picture *p, int i, const pk_extent *to) {
    const pk_transform *t = p->recipe->pipeline.step[i];
    pk_step s = {.options = t->options, .from = p->e, .to = *to, .in = p->now,
                 .stream = pk_random_bits(p->stream, (uint64_t)i)};
    if (t->kind->scratch) {
        int64_t bytes = t->kind->scratch(&s.from, &s.to);
        s.scratch = pk_scratch_reserve(&p->work->scratch, bytes);
        if (!s.scratch) return pk_no_memory(bytes);
    }
    s.out = next_side(p, pk_extent_bytes(to));
    if (!s.out) return PK_ENOMEM;
    t->kind->apply(&s);
    moved(p, s.out, to);
    return PK_OK;
}

static pk_status run_step(picture *p, int i) {
    const pk_transform *t = p->recipe->pipeline.step[i];
    if (t->kind->takes == PK_TAKES_FLOATS && p->e.bytes) PK_TRY(to_floats(p));
    pk_extent to = p->e;
    PK_TRY(infer_step(p->recipe, i, &to));
    if (!t->kind->cut) return apply(p, i, &to);
    PK_RETURN_IF(p->e.h < 1 || p->e.w < 1, PK_EINVAL, "%s: an empty picture", t->kind->name);
    pk_cut cut;
    t->kind->cut(t->options, &p->e, pk_random_bits(p->stream, (uint64_t)i), &cut);
    const pk_pixels in = {p->now, p->e.h, p->e.w, p->e.c, p->e.bytes};
    return resample(p, &in, &cut, &to);
}

/* ---- where it begins ---- */

/* The first step cuts: only that part of the file is decoded, and perhaps smaller. */
static pk_status decode_cut(picture *p, const char *path, const uint8_t *bytes, int64_t size,
                            const pk_image_info *info) {
    const pk_recipe *r = p->recipe;
    const pk_transform *t = r->pipeline.step[0];
    pk_extent to = p->e;
    PK_TRY(infer_step(r, 0, &to));
    pk_cut cut;
    pk_image image;
    t->kind->cut(t->options, &p->e, pk_random_bits(p->stream, 0), &cut);
    const pk_image_region region = {(int64_t)cut.box.top, (int64_t)cut.box.left, (int64_t)cut.box.h, (int64_t)cut.box.w,
                                    to.h, to.w};
    PK_TRY(pk_image_decode(path, bytes, size, info, &r->from.files->options, &region, &p->work->image, &image));
    cut.box = image.box;
    const pk_pixels in = {image.pixels, image.h, image.w, image.channels, true};
    return resample(p, &in, &cut, &to);
}

/* Sets the picture from its file; *first is the step that is next. */
static pk_status begin_file(picture *p, int64_t row, int *first) {
    const pk_recipe *r = p->recipe;
    const pk_files *files = r->from.files;
    const char *path = pk_files_path(files, row);
    int64_t size;
    PK_TRY(pk_files_read(files, row, &p->work->file, &size));
    pk_image_info info;
    const uint8_t *bytes = p->work->file.at;
    PK_TRY(pk_image_probe(path, bytes, size, files->options.max_pixels, &info));
    p->e = (pk_extent){info.h, info.w, files->options.channels, true, true};
    *first = r->pipeline.count > 0 && r->pipeline.step[0]->kind->cut ? 1 : 0;
    if (*first == 1) return decode_cut(p, path, bytes, size, &info);
    pk_image image;
    PK_TRY(pk_image_decode(path, bytes, size, &info, &files->options, NULL, &p->work->image, &image));
    p->now = image.pixels;
    return PK_OK;
}

static void begin_row(picture *p, int64_t row) {
    const pk_tensor *x = p->recipe->from.x;
    p->e = first_extent(&p->recipe->from);
    p->now = (const uint8_t *)pk_bytes(x) + row * pk_extent_bytes(&p->e);
}

/* ---- the whole way ---- */

static pk_status run(picture *p, int64_t row, void *out) {
    const pk_recipe *r = p->recipe;
    int first = 0;
    if (r->from.x)
        begin_row(p, row);
    else
        PK_TRY(begin_file(p, row, &first));
    for (int i = first; i < r->pipeline.count; i++) PK_TRY(run_step(p, i));
    PK_RETURN_IF(p->e.h != r->out.h || p->e.w != r->out.w, PK_EINVAL, "became %lld x %lld, the batch wants %lld x %lld",
                 (long long)p->e.h, (long long)p->e.w, (long long)r->out.h, (long long)r->out.w);
    if (p->e.bytes && !r->out.bytes)
        widen(p->now, out, pk_extent_values(&p->e));
    else
        memcpy(out, p->now, (size_t)pk_extent_bytes(&p->e));
    return PK_OK;
}

pk_status pk_picture_make(const pk_recipe *r, int64_t row, void *out, pk_picture_work *work) {
    picture p = {.recipe = r, .work = work, .stream = pk_random_bits(r->stream, (uint64_t)row)};
    pk_status status = run(&p, row, out);
    if (status == PK_EINVAL && r->from.files) /* what does not fit this one picture */
        return pk_fail_prefix(PK_EFORMAT, "%s: ", pk_files_path(r->from.files, row));
    return status;
}

pk_status pk_picture_decode(const pk_files *files, int64_t row, pk_tensor **out) {
    const char *path = pk_files_path(files, row);
    pk_picture_work work;
    pk_image_info info;
    pk_image image;
    int64_t size;
    memset(&work, 0, sizeof work);
    *out = NULL;
    pk_status status = pk_files_read(files, row, &work.file, &size);
    if (status == PK_OK) status = pk_image_probe(path, work.file.at, size, files->options.max_pixels, &info);
    if (status == PK_OK)
        status = pk_image_decode(path, work.file.at, size, &info, &files->options, NULL, &work.image, &image);
    if (status == PK_OK) {
        const int64_t shape[3] = {image.h, image.w, image.channels};
        status = pk_tensor_new(PK_UINT8, 3, shape, out);
    }
    if (status == PK_OK) memcpy(pk_u8(*out), image.pixels, (size_t)(image.h * image.w * image.channels));
    pk_picture_work_free(&work);
    return status;
}
