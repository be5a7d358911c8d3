/* A slab is what one part of a concatenation covers: outer blocks, each one run of memory in the whole. */
#include "ops/slabs.h"

#include <string.h>

#include "core/checked.h"
#include "core/pool.h"

typedef struct slab_job {
    char *whole, *part;
    int64_t block, whole_block, offset; /* bytes: of a part's block, of the whole's, where the part begins in it */
    int64_t blocks, chunks;
    int64_t rows, row, row_stride;            /* of a block of the part: rows of `row` bytes, row_stride apart */
    bool put;
} slab_job;

static void copy(const slab_job *j, char *whole, char *part, int64_t bytes) {
    if (j->put)
        memcpy(whole, part, (size_t)bytes);
    else
        memcpy(part, whole, (size_t)bytes);
}

static void copy_chunk(void *context, int64_t i, int worker) {
    (void)worker;
    const slab_job *j = context;
    int64_t end = pk_chunk_begin(j->blocks, j->chunks, i + 1);
    for (int64_t b = pk_chunk_begin(j->blocks, j->chunks, i); b < end; b++) {
        char *whole = j->whole + b * j->whole_block + j->offset, *part = j->part + b * j->rows * j->row_stride;
        if (j->row == j->row_stride)
            copy(j, whole, part, j->block);
        else
            for (int64_t r = 0; r < j->rows; r++) copy(j, whole + r * j->row, part + r * j->row_stride, j->row);
    }
}

static void run(const pk_tensor *whole, const pk_tensor *part, int dim, int64_t from, bool put) {
    int64_t size = pk_dtype_size(part->dtype), inner = size, stride = 0, last = part->ndim - 1;
    slab_job j = {.blocks = 1, .put = put};
    if (!pk_is_rows(part, &stride)) return; /* the dispatcher has seen to it */
    if (pk_numel(part) == 0) return;
    for (int d = 0; d < dim; d++) j.blocks *= part->shape[d];
    for (int d = dim + 1; d < part->ndim; d++) inner *= part->shape[d];
    j.block = inner * part->shape[dim];
    j.whole_block = inner * whole->shape[dim];
    j.offset = inner * from;
    j.row = part->shape[last] * size;
    j.row_stride = stride * size;
    j.rows = j.block / j.row;
    j.whole = (char *)whole->storage->data + whole->offset * size;
    j.part = (char *)part->storage->data + part->offset * size;
    j.chunks = pk_chunks(j.blocks, 65536 / j.block);
    pk_parallel(j.chunks, copy_chunk, &j);
}

void pk_slab_put(pk_tensor *whole, const pk_tensor *part, int dim, int64_t from) { run(whole, part, dim, from, true); }
void pk_slab_take(const pk_tensor *whole, pk_tensor *part, int dim, int64_t from) {
    run(whole, part, dim, from, false);
}
