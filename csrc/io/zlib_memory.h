/* zlib with our own allocator. */
#ifndef PK_IO_ZLIB_MEMORY_H
#define PK_IO_ZLIB_MEMORY_H

#include <zlib.h>

/* Before inflateInit2: what the stream needs is taken from pk_alloc, counted, and may fail. */
void pk_zlib_memory(z_stream *z);

#endif
