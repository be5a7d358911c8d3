/* Size-classed pools over aligned_alloc. Classes are a quarter of an octave apart, so at most a fifth of a block is
 * unused; freed blocks wait in their class's list. Pooled bytes stay below the largest live size plus a fixed part. */
#include "core/alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/checked.h"

enum { ALIGN = 64, CLASSES = 168, SMALLEST = 64 };
#define POOL_SLACK ((int64_t)256 << 20)

/* In front of every block, one cache line. */
typedef struct header {
    struct header *next; /* in the free list */
    int64_t size;        /* of the class */
    int32_t class;
    uint32_t alive;      /* LIVE or FREE */
} header;
#define LIVE 0x6c697665u
#define FREE 0x66726565u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static header *free_list[CLASSES];
static pk_memory memory;
static int64_t fail_countdown, asked;
static bool fail_persist;

/* A fork while another thread is in here must not leave the child a lock that nobody holds. */
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void watch_forks(void) { pthread_atfork(before_fork, after_fork, after_fork); }

/* The smallest class that holds bytes: sizes 64 * 2^(c/4) in quarter steps. */
static int class_of(int64_t bytes, int64_t *size) {
    int class = 0;
    int64_t base = SMALLEST;
    while (base * 2 < bytes) {
        base *= 2;
        class += 4;
    }
    for (int q = 0; q <= 4; q++) {
        *size = base + pk_round_up(base / 4 * q, ALIGN); /* aligned_alloc wants multiples */
        if (*size >= bytes) return class + q;
    }
    return class + 4;
}

/* Called with the lock held: should this allocation fail on a test's order? */
static bool ordered_to_fail(void) {
    asked++;
    if (fail_countdown == 0) return false;
    if (fail_countdown > 1) {
        fail_countdown--;
        return false;
    }
    if (!fail_persist) fail_countdown = 0;
    return true;
}

/* Called with the lock held: let go of pooled blocks, largest first, until at most `keep` bytes are left. */
static void trim(int64_t keep) {
    for (int c = CLASSES - 1; c >= 0 && memory.pooled > keep; c--) {
        while (free_list[c] && memory.pooled > keep) {
            header *h = free_list[c];
            free_list[c] = h->next;
            memory.pooled -= h->size;
            free(h);
        }
    }
}

static header *from_system(int64_t size) {
    memory.system_calls++;
    header *h = aligned_alloc(ALIGN, (size_t)(size + ALIGN));
    if (!h) {
        trim(0);
        h = aligned_alloc(ALIGN, (size_t)(size + ALIGN));
    }
    return h;
}

void *pk_alloc(int64_t bytes) {
    int64_t size;
    if (bytes < 0 || bytes > ((int64_t)1 << 46)) return NULL;
    int class = class_of(bytes, &size);
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
    header *h = NULL;
    if (!ordered_to_fail()) {
        h = free_list[class];
        if (h) {
            free_list[class] = h->next;
            memory.pooled -= size;
        } else {
            h = from_system(size);
        }
    }
    if (h) {
        memory.live += size;
        if (memory.live > memory.peak) memory.peak = memory.live;
        h->size = size;
        h->class = class;
        h->alive = LIVE;
    }
    pthread_mutex_unlock(&lock);
    return h ? (char *)h + ALIGN : NULL;
}

void *pk_alloc_zeroed(int64_t bytes) {
    void *block = pk_alloc(bytes);
    if (block && bytes > 0) memset(block, 0, (size_t)bytes);
    return block;
}

void pk_zero_pages(void *block, int64_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)block, end = begin + (uintptr_t)bytes;
    const uintptr_t first = (begin + page - 1) / page * page, last = end / page * page;
    if (first >= last || madvise((void *)first, last - first, MADV_DONTNEED) != 0) {
        memset(block, 0, (size_t)bytes);
        return;
    }
    memset(block, 0, first - begin);
    memset((void *)last, 0, end - last);
}

void pk_free(void *block) {
    if (!block) return;
    header *h = (header *)(void *)((char *)block - ALIGN);
    pthread_mutex_lock(&lock);
    if (h->alive == LIVE) {
        h->alive = FREE;
        memory.live -= h->size;
        memory.pooled += h->size;
        h->next = free_list[h->class];
        free_list[h->class] = h;
        if (memory.pooled > memory.peak + POOL_SLACK) trim(memory.peak);
    }
    pthread_mutex_unlock(&lock);
}

char *pk_strdup(const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = pk_alloc((int64_t)n);
    if (copy) memcpy(copy, text, n);
    return copy;
}

pk_status pk_no_memory(int64_t bytes) {
    return pk_fail(PK_ENOMEM, "out of memory: %lld bytes were asked for, %lld are in use", (long long)bytes,
                   (long long)pk_memory_stats().live);
}

void pk_memory_trim(void) {
    pthread_mutex_lock(&lock);
    trim(0);
    pthread_mutex_unlock(&lock);
}

void pk_memory_reset_peak(void) {
    pthread_mutex_lock(&lock);
    memory.peak = memory.live;
    pthread_mutex_unlock(&lock);
}

pk_memory pk_memory_stats(void) {
    pthread_mutex_lock(&lock);
    pk_memory now = memory;
    pthread_mutex_unlock(&lock);
    return now;
}

void pk_alloc_fail_at(int64_t n, bool persist) {
    pthread_mutex_lock(&lock);
    fail_countdown = n > 0 ? n : 0;
    fail_persist = persist;
    asked = 0;
    pthread_mutex_unlock(&lock);
}

int64_t pk_alloc_count(void) {
    pthread_mutex_lock(&lock);
    int64_t n = asked;
    pthread_mutex_unlock(&lock);
    return n;
}

/* ---- lists ---- */

pk_status pk_grow(void *list, int64_t count, int64_t *room, int64_t size) {
    if (count < *room) return PK_OK;
    int64_t more = *room ? 2 * *room : 64, bytes;
    if (!pk_mul_ok(more, size, &bytes)) return pk_no_memory(INT64_MAX);
    void *larger = pk_alloc_zeroed(bytes), *old;
    if (!larger) return pk_no_memory(bytes);
    memcpy(&old, list, sizeof old);
    if (count > 0) memcpy(larger, old, (size_t)(count * size));
    memcpy(list, &larger, sizeof larger);
    pk_free(old);
    *room = more;
    return PK_OK;
}
