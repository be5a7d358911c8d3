/* All memory of the library: 64-byte aligned, counted, and pooled by size class, so that a steady training
 * step takes nothing from the system. */
#ifndef PK_CORE_ALLOC_H
#define PK_CORE_ALLOC_H

#include "core/status.h"

/* Null when there is no memory; the caller reports it: `return pk_no_memory(bytes)`. Zero bytes give a valid block. */
void *pk_alloc(int64_t bytes);
void *pk_alloc_zeroed(int64_t bytes);
/* Set a block to zero by giving its pages back: for large ones that are not touched soon. */
void pk_zero_pages(void *block, int64_t bytes);
void pk_free(void *block); /* null is fine */
char *pk_strdup(const char *text);
pk_status pk_no_memory(int64_t bytes);

/* Room for one element more in a list that grows: *(T **)list holds `count` of `size` bytes and has room for *room. When
 * that is used up the list moves to a block of twice the room, whose rest is zero. On failure it is as it was. */
pk_status pk_grow(void *list, int64_t count, int64_t *room, int64_t size);

void pk_memory_trim(void);       /* give pooled blocks back to the system */
void pk_memory_reset_peak(void);

/* For tests: let the n-th allocation from now fail, 1 the next (and, if persist, all after it too); 0 ends it. */
void pk_alloc_fail_at(int64_t n, bool persist);
/* How many allocations were asked for since pk_alloc_fail_at was last called. */
int64_t pk_alloc_count(void);

#endif
