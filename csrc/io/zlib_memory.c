/* The two functions that zlib asks for memory. */
#include "io/zlib_memory.h"

#include "core/alloc.h"
#include "core/checked.h"

static void *take(void *opaque, unsigned items, unsigned size) {
    (void)opaque;
    int64_t bytes;
    return pk_mul_ok(items, size, &bytes) ? pk_alloc_zeroed(bytes) : NULL;
}

static void give(void *opaque, void *block) {
    (void)opaque;
    pk_free(block);
}

void pk_zlib_memory(z_stream *z) {
    z->zalloc = take;
    z->zfree = give;
}
