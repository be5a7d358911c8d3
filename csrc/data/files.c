/* Lists of files, and their bytes. */
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "data/files.h"
#include "io/file.h"

static pk_status copy_paths(pk_files *f, int64_t count, const char *const *paths) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < count; i++)
        PK_RETURN_IF(!pk_add_ok(bytes, (int64_t)strlen(paths[i]) + 1, &bytes), PK_EINVAL, "too many paths");
    f->text = pk_alloc(bytes);
    f->begin = pk_alloc(count * (int64_t)sizeof *f->begin);
    if (!f->text || !f->begin) return pk_no_memory(bytes);
    int64_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        size_t n = strlen(paths[i]) + 1;
        memcpy(f->text + at, paths[i], n);
        f->begin[i] = at;
        at += (int64_t)n;
    }
    f->count = count;
    return PK_OK;
}

pk_status pk_files_new(int64_t count, const char *const *paths, const pk_image_options *options, pk_files **out) {
    *out = NULL;
    PK_RETURN_IF(count < 1 || count > INT32_MAX, PK_EINVAL, "a data set has 1 to %d files, not %lld", INT32_MAX,
                 (long long)count);
    pk_files *f = pk_alloc_zeroed(sizeof *f);
    if (!f) return pk_no_memory(sizeof *f);
    atomic_init(&f->refs, 1);
    f->options = *options;
    pk_status status = copy_paths(f, count, paths);
    if (status != PK_OK) {
        pk_files_release(f);
        return status;
    }
    *out = f;
    return PK_OK;
}

pk_files *pk_files_retain(pk_files *files) {
    if (files) atomic_fetch_add(&files->refs, 1);
    return files;
}

void pk_files_release(pk_files *files) {
    if (!files || atomic_fetch_sub(&files->refs, 1) != 1) return;
    pk_free(files->text);
    pk_free(files->begin);
    pk_free(files);
}

/* No real picture of max_pixels takes more than this: 16 bits of 4 channels, and what else a file holds. */
static pk_status check_size(const pk_source *s, int64_t max_pixels) {
    int64_t most = 8 * max_pixels + (16 << 20);
    PK_RETURN_IF(s->size > most, PK_EFORMAT, "%s: %lld bytes, a picture of max_pixels takes at most %lld", s->name,
                 (long long)s->size, (long long)most);
    return PK_OK;
}

pk_status pk_files_read(const pk_files *files, int64_t i, pk_scratch *scratch, int64_t *size) {
    pk_source s;
    PK_TRY(pk_source_open(&s, pk_files_path(files, i)));
    pk_status status = check_size(&s, files->options.max_pixels);
    void *bytes = status == PK_OK ? pk_scratch_reserve(scratch, s.size) : NULL;
    if (status == PK_OK && !bytes) status = pk_no_memory(s.size);
    if (status == PK_OK) status = pk_source_read(&s, 0, bytes, s.size);
    *size = s.size;
    pk_source_close(&s);
    return status;
}
