/* PyTorch's layouts and ours: one table says which dimension goes where. */
#include "io/layout.h"

#include <string.h>

#define ONE (-1) /* a dimension of size 1 that only the file has */

static const struct {
    int ndim;              /* in a file */
    int from[PK_MAX_DIMS]; /* which of our dimensions each of the file's is */
} order[] = {
    [PK_LAYOUT_CONV] = {4, {0, 3, 1, 2}},
    [PK_LAYOUT_DEPTHWISE] = {4, {2, ONE, 0, 1}},
    [PK_LAYOUT_MAP] = {3, {ONE, 0, 1}},
    [PK_LAYOUT_MAPS] = {3, {2, 0, 1}},
};

pk_layout pk_layout_of(const pk_slot *slot) {
    int ndim = slot->tensor->ndim;
    if (strcmp(slot->name, "weight") == 0 || strcmp(slot->name, "small") == 0) {
        if (ndim == 4) return PK_LAYOUT_CONV;
        if (ndim == 3) return PK_LAYOUT_DEPTHWISE;
    }
    if (strcmp(slot->name, "position") == 0) {
        if (ndim == 2) return PK_LAYOUT_MAP;
        if (ndim == 3) return PK_LAYOUT_MAPS;
    }
    return PK_LAYOUT_SAME;
}

int pk_layout_file_shape(pk_layout layout, int ndim, const int64_t *shape, int64_t file_shape[PK_MAX_DIMS]) {
    if (layout == PK_LAYOUT_SAME) {
        memcpy(file_shape, shape, (size_t)ndim * sizeof *shape);
        return ndim;
    }
    for (int i = 0; i < order[layout].ndim; i++) {
        int d = order[layout].from[i];
        file_shape[i] = d == ONE ? 1 : shape[d];
    }
    return order[layout].ndim;
}

pk_status pk_layout_to_file(pk_layout layout, const pk_tensor *t, pk_tensor **out) {
    if (layout == PK_LAYOUT_SAME) return pk_tensor_alias(t, out);
    int64_t shape[PK_MAX_DIMS], stride[PK_MAX_DIMS];
    int ndim = pk_layout_file_shape(layout, t->ndim, t->shape, shape);
    for (int i = 0; i < ndim; i++) stride[i] = order[layout].from[i] == ONE ? 1 : t->stride[order[layout].from[i]];
    return pk_tensor_window(t, ndim, shape, stride, 0, out);
}

pk_status pk_layout_from_file(pk_layout layout, const pk_tensor *t, pk_tensor **out) {
    if (layout == PK_LAYOUT_SAME) return pk_tensor_alias(t, out);
    int64_t shape[PK_MAX_DIMS], stride[PK_MAX_DIMS];
    int ndim = 0;
    for (int i = 0; i < order[layout].ndim; i++) {
        int d = order[layout].from[i];
        if (d == ONE) continue;
        shape[d] = t->shape[i];
        stride[d] = t->stride[i];
        ndim++;
    }
    return pk_tensor_window(t, ndim, shape, stride, 0, out);
}
