/* One reader and one writer for all formats. */
#include "io/tensors.h"

#include <string.h>
#include <strings.h>

#include "io/npy.h"
#include "io/safetensors.h"

static pk_status format_of(pk_source *s, pk_format *format) {
    uint8_t magic[6] = {0};
    PK_TRY(pk_source_read(s, 0, magic, s->size < 6 ? s->size : 6));
    if (memcmp(magic, "\x93NUMPY", 6) == 0)
        *format = PK_FORMAT_NPY;
    else if (memcmp(magic, "PK\3\4", 4) == 0 || memcmp(magic, "PK\5\6", 4) == 0)
        *format = PK_FORMAT_NPZ;
    else
        *format = PK_FORMAT_SAFETENSORS;
    return PK_OK;
}

static pk_status read_npy(pk_source *s, pk_dict *d) {
    pk_tensor *t;
    PK_TRY(pk_npy_load(s, &t));
    pk_status status = pk_dict_add(d, "array", t);
    pk_tensor_release(t);
    return status == PK_OK ? pk_dict_sort(d) : status;
}

pk_status pk_tensors_read(pk_source *s, pk_dict *d, pk_format *format) {
    pk_format found;
    PK_TRY(format_of(s, &found));
    if (format) *format = found;
    switch (found) {
    case PK_FORMAT_NPY: return read_npy(s, d);
    case PK_FORMAT_NPZ: return pk_npz_read(s, d);
    default: return pk_safetensors_read(s, d);
    }
}

pk_status pk_tensors_load(const char *path, pk_dict *d, pk_format *format) {
    pk_source s;
    PK_TRY(pk_source_open(&s, path));
    pk_status status = pk_tensors_read(&s, d, format);
    pk_source_close(&s);
    return status;
}

static bool ends_in(const char *path, const char *end) {
    size_t n = strlen(path), k = strlen(end);
    return n > k && strcasecmp(path + n - k, end) == 0;
}

pk_status pk_tensors_save(pk_dict *d, const char *path) {
    if (ends_in(path, ".safetensors")) return pk_safetensors_save(d, path);
    if (ends_in(path, ".npz")) return pk_npz_save(d, path);
    PK_RETURN_IF(!ends_in(path, ".npy"), PK_EINVAL, "%s: the name must end in .safetensors, .npz or .npy", path);
    PK_RETURN_IF(d->count != 1, PK_EINVAL,
                 "%s: an .npy file holds one tensor, not %lld: save as .npz or .safetensors", path, (long long)d->count);
    PK_RETURN_IF(d->pairs > 0, PK_EINVAL, "%s: an .npy file holds no metadata: save as .safetensors", path);
    return pk_npy_save(d->item[0].tensor, path);
}
