/* The thread pool: tasks with fixed numbers, so that results never depend on how many threads there are. */
#ifndef PK_CORE_POOL_H
#define PK_CORE_POOL_H

#include "core/status.h"

/* One task. index says which part of the work, worker (0 .. pk_threads()-1) which scratch it may use. */
typedef void pk_task(void *context, int64_t index, int worker);

/* Run task for index 0 .. count-1 and return when all are done. Which thread takes which index is open, so a task
 * writes only what belongs to its index; sums over tasks go through one partial result an index, added in order.
 * Tasks cannot fail: allocate scratch before. Calls from inside a task run on the spot. */
void pk_parallel(int64_t count, pk_task *task, void *context);

/* Split n items in chunks of about grain: how many chunks, and where chunk i begins (begin(n,..,count) == n).
 * Depends on n and grain only. At most 512 chunks. */
int64_t pk_chunks(int64_t n, int64_t grain);
static inline int64_t pk_chunk_begin(int64_t n, int64_t chunks, int64_t i) {
    return n / chunks * i + (i < n % chunks ? i : n % chunks);
}

/* PELK_NUM_THREADS, where it is set, must be a number of threads. Without this check, what is none is as if not set. */
pk_status pk_threads_check_environment(void);

#endif
