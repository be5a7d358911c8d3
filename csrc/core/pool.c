/* A pool of pthreads that share one job at a time. The caller works too. Signals stay with the caller. After fork the
 * child's pool is empty and starts anew at the next job. Whoever waits looks for a moment before it sleeps, for to be woken
 * takes longer than what lies between two jobs of a network. */
#include "core/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/checked.h"
#include "core/clock.h"
#include "core/cpu.h"

enum { MAX_THREADS = 256, LOOK_NS = 100000, LOOKS = 64 /* between two readings of the clock */ };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    pthread_t thread[MAX_THREADS];
    int wanted;           /* threads, the caller counted; 0: not yet asked */
    int started;          /* workers running, the caller not counted */
    _Atomic bool looks;   /* every thread has a core, so that looking takes nobody's time */
    _Atomic int busy;     /* workers inside the current job; changed under the lock */
    _Atomic bool stop;
    _Atomic uint64_t job; /* counts jobs; workers wait for it to change */
    _Atomic int64_t next; /* index to take */
    int64_t count;
    pk_task *task;
    void *context;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};

static pthread_mutex_t caller = PTHREAD_MUTEX_INITIALIZER; /* one job at a time */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local int inside = -1; /* worker number while in a task */

static void after_fork(void) {
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.idle, NULL);
    pthread_mutex_init(&caller, NULL);
    pool.started = 0;
    pool.busy = 0;
    pool.next = pool.count = 0; /* of a job that another thread of the parent was in */
    pool.stop = false;
}

/* What PELK_NUM_THREADS says: 0 when it is not set or empty, -1 when it is no number of threads. */
static int threads_in_environment(void) {
    const char *text = getenv("PELK_NUM_THREADS");
    char *end;
    if (!text || !*text) return 0;
    long n = strtol(text, &end, 10);
    return *end == 0 && n >= 1 && n <= MAX_THREADS ? (int)n : -1;
}

pk_status pk_threads_check_environment(void) {
    PK_RETURN_IF(threads_in_environment() < 0, PK_EINVAL, "PELK_NUM_THREADS is '%s', wants 1 to %d",
                 getenv("PELK_NUM_THREADS"), MAX_THREADS);
    return PK_OK;
}

static void want(int threads) {
    pool.wanted = threads;
    pool.looks = threads <= pk_cpu_cores();
}

/* What OMP_NUM_THREADS says, the first of its numbers: 0 when it is not set or says nothing. */
static int threads_of_openmp(void) {
    const char *text = getenv("OMP_NUM_THREADS");
    const long n = text ? strtol(text, NULL, 10) : 0;
    return n >= 1 && n <= MAX_THREADS ? (int)n : 0;
}

static void setup(void) {
    int n = threads_in_environment();
    if (n < 1) n = threads_of_openmp();
    if (n < 1) n = pk_cpu_cores();
    want(n > MAX_THREADS ? MAX_THREADS : n);
    pthread_atfork(NULL, NULL, after_fork);
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool job_or_stop(uint64_t seen) { return atomic_load(&pool.job) != seen || atomic_load(&pool.stop); }
static bool nobody_busy(uint64_t unused) { return (void)unused, atomic_load(&pool.busy) == 0; }

/* Look for a moment whether it has come. */
static void look(bool (*come)(uint64_t), uint64_t argument) {
    if (!pool.looks) return;
    for (const int64_t end = pk_clock_ns() + LOOK_NS; pk_clock_ns() < end;)
        for (int i = 0; i < LOOKS; i++) {
            if (come(argument)) return;
            relax();
        }
}

static void take_indices(int worker) {
    inside = worker;
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed);
        if (i >= pool.count) break;
        pool.task(pool.context, i, worker);
    }
    inside = -1;
}

static void *worker_main(void *argument) {
    int worker = (int)(intptr_t)argument;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (!pool.stop && atomic_load(&pool.job) == seen) pthread_cond_wait(&pool.work, &pool.lock);
        if (pool.stop) break;
        seen = atomic_load(&pool.job);
        if (atomic_load(&pool.next) >= pool.count) continue; /* woke too late: nothing left of it */
        pool.busy++;
        pthread_mutex_unlock(&pool.lock);
        take_indices(worker);
        pthread_mutex_lock(&pool.lock);
        if (--pool.busy == 0) pthread_cond_signal(&pool.idle);
        pthread_mutex_unlock(&pool.lock);
        look(job_or_stop, seen);
        pthread_mutex_lock(&pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Called by the owner of `caller`. Fewer workers than wanted is fine: the caller does what is left. */
static void start_workers(int workers) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (pool.started < workers) {
        int number = pool.started + 1;
        if (pthread_create(&pool.thread[number], NULL, worker_main, (void *)(intptr_t)number)) break;
        pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void stop_workers(void) {
    pthread_mutex_lock(&pool.lock);
    pool.stop = true;
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 1; i <= pool.started; i++) pthread_join(pool.thread[i], NULL);
    pool.started = 0;
    pool.stop = false;
}

static void run_shared(int64_t count, pk_task *task, void *context) {
    pthread_mutex_lock(&caller);
    if (pool.started < pool.wanted - 1) start_workers(pool.wanted - 1);
    pthread_mutex_lock(&pool.lock);
    pool.task = task;
    pool.context = context;
    pool.count = count;
    atomic_store(&pool.next, 0);
    atomic_fetch_add(&pool.job, 1);
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
    take_indices(0);
    look(nobody_busy, 0);
    pthread_mutex_lock(&pool.lock);
    while (pool.busy > 0) pthread_cond_wait(&pool.idle, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&caller);
}

void pk_parallel(int64_t count, pk_task *task, void *context) {
    pthread_once(&once, setup);
    if (inside >= 0 || count <= 1 || pool.wanted <= 1) {
        int worker = inside >= 0 ? inside : 0;
        for (int64_t i = 0; i < count; i++) task(context, i, worker);
        return;
    }
    run_shared(count, task, context);
}

int64_t pk_chunks(int64_t n, int64_t grain) {
    if (n <= 0) return 0;
    return pk_min(512, pk_max(1, n / pk_max(1, grain)));
}

int pk_threads(void) {
    pthread_once(&once, setup);
    return pool.wanted;
}

pk_status pk_set_threads(int n) {
    pthread_once(&once, setup);
    PK_RETURN_IF(n < 1 || n > MAX_THREADS, PK_EINVAL, "set_threads: wants 1 to %d threads, got %d", MAX_THREADS, n);
    PK_RETURN_IF(inside >= 0, PK_EINVAL, "set_threads: not from inside a task");
    pthread_mutex_lock(&caller);
    if (n - 1 < pool.started) stop_workers();
    want(n);
    pthread_mutex_unlock(&caller);
    return PK_OK;
}
