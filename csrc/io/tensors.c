/* One reader and one writer for all formats. */
#include "io/tensors.h"

#include <string.h>
#include <strings.h>

#include "core/checked.h"
#include "io/npy.h"
#include "io/safetensors.h"

/* An archive is PyTorch's when there is a data.pkl in it. */
static pk_status format_of_zip(pk_source *s, pk_format *format) {
    pk_zip z;
    pk_status status = pk_zip_open(&z, s);
    *format = pk_pth_is_zip(&z) ? PK_FORMAT_PTH : PK_FORMAT_NPZ;
    pk_zip_close(&z);
    return status == PK_OK || status == PK_EIO ? status : pk_fail_prefix(status, "%s: ", s->name);
}

static pk_status format_of(pk_source *s, pk_format *format) {
    uint8_t front[16] = {0};
    PK_TRY(pk_source_read(s, 0, front, pk_min(s->size, sizeof front)));
    *format = PK_FORMAT_SAFETENSORS;
    if (memcmp(front, "\x93NUMPY", 6) == 0) *format = PK_FORMAT_NPY;
    if (pk_pth_is_legacy(front, s->size)) *format = PK_FORMAT_PTH;
    if (memcmp(front, "PK\3\4", 4) == 0 || memcmp(front, "PK\5\6", 4) == 0) return format_of_zip(s, format);
    bool pickle = *format == PK_FORMAT_SAFETENSORS && front[0] == 0x80 && front[1] >= 2 && front[1] <= 5;
    PK_RETURN_IF(pickle && pk_le64(front) > (uint64_t)s->size, PK_EFORMAT,
                 "%s: a bare pickle, not a file of PyTorch's torch.save: refused", s->name);
    return PK_OK;
}

static pk_status read_npy(pk_source *s, pk_dict *d) {
    pk_tensor *t;
    PK_TRY(pk_npy_load(s, &t));
    pk_status status = pk_dict_add(d, "array", t);
    pk_tensor_release(t);
    if (status == PK_OK) status = pk_dict_sort(d);
    if (status != PK_OK) pk_dict_clear(d);
    return status;
}

pk_status pk_tensors_read(pk_source *s, const pk_pick *pick, pk_dict *d, pk_format *format) {
    pk_format found;
    PK_TRY(format_of(s, &found));
    if (format) *format = found;
    PK_RETURN_IF(found != PK_FORMAT_PTH && pick && pick->key && *pick->key, PK_EINVAL,
                 "%s: key '%.64s' was given, but only PyTorch's files have entries to choose from", s->name, pick->key);
    switch (found) {
    case PK_FORMAT_NPY: return read_npy(s, d);
    case PK_FORMAT_NPZ: return pk_npz_read(s, d);
    case PK_FORMAT_PTH: return pk_pth_read(s, pick, d);
    default: return pk_safetensors_read(s, d);
    }
}

pk_status pk_tensors_load(const char *path, const pk_pick *pick, bool map, pk_dict *d, pk_format *format) {
    pk_source s;
    PK_TRY(pk_source_open(&s, path));
    if (map) pk_source_map(&s);
    pk_status status = pk_tensors_read(&s, pick, d, format);
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
                 "%s: an .npy file holds one tensor, not %lld: save as .npz or .safetensors", path,
                 (long long)d->count);
    PK_RETURN_IF(d->pairs > 0, PK_EINVAL, "%s: an .npy file holds no metadata: save as .safetensors", path);
    return pk_npy_save(d->item[0].tensor, path);
}
