/* A ring of batches in work. The caller opens slots and takes finished ones; workers take pictures in order. */
#include "data/feed.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/clock.h"
#include "core/pool.h"

enum { MOST_WORKERS = 256 }; /* threads that the pool may have, now or later */

typedef struct item {
    pk_status status;
    char *message;
} item;

typedef struct slot {
    pk_tensor *x;
    item *item;
    int64_t first, count; /* places in rows */
    int64_t left;         /* not yet made; under the lock */
} slot;

struct pk_feed {
    pk_feed_options o;
    pid_t owner;
    int64_t batches, end; /* of the epoch: batches; places in rows */
    int64_t next, opened; /* batches, the caller's */
    slot *ring;
    int slots;
    pk_picture_work *work; /* one a worker */
    int works;
    pk_broken *broken;
    int64_t nbroken, broken_room;
    bool over;

    pthread_mutex_t lock;
    pthread_cond_t more, ready;
    pthread_t thread[PK_MAX_WORKERS];
    int threads;
    int64_t place, limit; /* under the lock: next place to take, places that are open */
    bool stop;
};

static slot *slot_of(const pk_feed *f, int64_t batch) { return &f->ring[batch % f->slots]; }
static const int32_t *rows_of(const pk_feed *f) { return pk_i32(f->o.rows); }

/* ---- making pictures ---- */

static void make(pk_feed *f, slot *s, int64_t k, pk_picture_work *work) {
    int64_t bytes = pk_extent_bytes(&f->o.recipe.out);
    uint8_t *out = (uint8_t *)pk_bytes(s->x) + k * bytes;
    item *i = &s->item[k];
    i->status = pk_picture_make(&f->o.recipe, rows_of(f)[s->first + k] - 1, out, work);
    i->message = i->status == PK_OK ? NULL : pk_strdup(pk_message());
}

static void *worker_main(void *argument) {
    pk_feed *f = *(pk_feed **)argument;
    int number = (int)((pk_feed **)argument - (pk_feed **)(void *)(f->work + f->works));
    pk_picture_work *work = &f->work[number];
    pthread_mutex_lock(&f->lock);
    for (;;) {
        while (!f->stop && f->place >= f->limit) pthread_cond_wait(&f->more, &f->lock);
        if (f->stop) break;
        int64_t place = f->place++;
        slot *s = slot_of(f, place / f->o.batch);
        pthread_mutex_unlock(&f->lock);
        make(f, s, place - s->first, work);
        pthread_mutex_lock(&f->lock);
        if (--s->left == 0) pthread_cond_signal(&f->ready);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

typedef struct round {
    pk_feed *f;
    slot *s;
} round;

static void make_task(void *context, int64_t index, int worker) {
    const round *r = context;
    make(r->f, r->s, index, &r->f->work[worker]);
}

/* Without threads: here and now. */
static void make_all(pk_feed *f, slot *s) {
    round r = {f, s};
    pk_parallel(s->count, make_task, &r);
    s->left = 0;
}

/* ---- slots ---- */

static void clear(slot *s) {
    for (int64_t k = 0; s->item && k < s->count; k++) pk_free(s->item[k].message);
    pk_tensor_release(s->x);
    pk_free(s->item);
    *s = (slot){NULL, NULL, 0, 0, 0};
}

static int shape_of(const pk_feed *f, int64_t count, int64_t shape[PK_MAX_DIMS]) {
    const pk_tensor *x = f->o.recipe.from.x;
    const pk_extent *e = &f->o.recipe.out;
    if (x) memcpy(shape, x->shape, sizeof x->shape);
    shape[0] = count;
    if (x && x->ndim != 4) return x->ndim;
    shape[1] = e->h;
    shape[2] = e->w;
    shape[3] = e->c;
    return 4;
}

static pk_status new_batch(const pk_feed *f, int64_t count, pk_tensor **out) {
    int64_t shape[PK_MAX_DIMS];
    int ndim = shape_of(f, count, shape);
    return pk_tensor_new(f->o.recipe.bytes ? PK_UINT8 : PK_FLOAT32, ndim, shape, out);
}

static pk_status open_slot(pk_feed *f, int64_t batch) {
    slot s = {.first = batch * f->o.batch};
    s.count = s.left = pk_min(f->o.batch, f->end - s.first);
    PK_TRY(new_batch(f, s.count, &s.x));
    s.item = pk_alloc_zeroed(s.count * (int64_t)sizeof *s.item);
    if (!s.item) {
        clear(&s);
        return pk_no_memory(pk_min(f->o.batch, f->end) * (int64_t)sizeof *s.item);
    }
    *slot_of(f, batch) = s;
    return PK_OK;
}

/* Open what the ring has room for. Running out of memory matters only for the batch that is next. */
static pk_status open_slots(pk_feed *f) {
    int64_t last = pk_min(f->batches, f->next + f->slots);
    pk_status status = PK_OK;
    while (f->opened < last && status == PK_OK) {
        status = open_slot(f, f->opened);
        if (status == PK_OK) f->opened++;
    }
    if (f->threads > 0) {
        pthread_mutex_lock(&f->lock);
        f->limit = pk_min(f->opened * f->o.batch, f->end);
        pthread_cond_broadcast(&f->more);
        pthread_mutex_unlock(&f->lock);
    }
    return f->opened > f->next ? PK_OK : status;
}

/* ---- what came out ---- */

static pk_status room_for_broken(pk_feed *f, int64_t more) {
    if (f->nbroken + more <= f->broken_room) return PK_OK;
    int64_t room = 2 * f->broken_room + more + 16;
    pk_broken *bigger = pk_alloc(room * (int64_t)sizeof *bigger);
    if (!bigger) return pk_no_memory(room * (int64_t)sizeof *bigger);
    if (f->nbroken > 0) memcpy(bigger, f->broken, (size_t)f->nbroken * sizeof *bigger);
    pk_free(f->broken);
    f->broken = bigger;
    f->broken_room = room;
    return PK_OK;
}

/* For the picture, or for the message that says what is wrong with it. */
static bool lacked_memory(const item *i) { return i->status == PK_ENOMEM || (i->status != PK_OK && !i->message); }

/* Pictures that failed for want of memory are made once more, by the caller, in memory that no thread works in. */
static pk_status settle(pk_feed *f, slot *s) {
    for (int64_t k = 0; k < s->count; k++) {
        item *i = &s->item[k];
        if (lacked_memory(i)) {
            pk_free(i->message);
            make(f, s, k, &f->work[f->threads]);
        }
        if (lacked_memory(i)) return i->message ? pk_fail(PK_ENOMEM, "%s", i->message) : pk_no_memory(0);
        if (i->status == PK_OK || f->o.skip_broken) continue;
        f->over = true;
        return pk_fail(i->status, "%s", i->message);
    }
    return PK_OK;
}

/* The rows of the slot's good pictures; how many. */
static int64_t good_rows(const pk_feed *f, const slot *s, int32_t *row) {
    int64_t good = 0;
    for (int64_t k = 0; k < s->count; k++)
        if (s->item[k].status == PK_OK) row[good++] = rows_of(f)[s->first + k];
    return good;
}

/* What cannot fail: the good pictures to x, the others to the list of the broken. */
static void gather(pk_feed *f, slot *s, pk_tensor *x) {
    int64_t bytes = pk_extent_bytes(&f->o.recipe.out), good = 0;
    for (int64_t k = 0; k < s->count; k++) {
        item *i = &s->item[k];
        if (i->status != PK_OK) {
            f->broken[f->nbroken++] = (pk_broken){rows_of(f)[s->first + k], i->message};
            i->message = NULL;
        } else if (x != s->x) {
            memcpy((uint8_t *)pk_bytes(x) + good++ * bytes, (uint8_t *)pk_bytes(s->x) + k * bytes, (size_t)bytes);
        }
    }
}

/* Nothing is changed when it fails: for want of memory it may be called again. */
static pk_status hand_out(pk_feed *f, slot *s, pk_feed_batch *out) {
    int32_t *row = pk_alloc(s->count * (int64_t)sizeof *row);
    if (!row) return pk_no_memory(s->count * (int64_t)sizeof *row);
    int64_t good = good_rows(f, s, row);
    pk_tensor *x = NULL, *y = NULL;
    pk_status status = room_for_broken(f, s->count - good);
    if (status == PK_OK && good == s->count) x = pk_tensor_retain(s->x);
    if (status == PK_OK && good > 0 && good < s->count) status = new_batch(f, good, &x);
    if (status == PK_OK && good > 0 && f->o.y) status = pk_rows_take(f->o.y, row, good, &y);
    pk_free(row);
    if (status != PK_OK) {
        pk_tensor_release(x);
        return status;
    }
    gather(f, s, x);
    if (good > 0) *out = (pk_feed_batch){PK_FEED_BATCH, x, y, f->next + 1};
    return PK_OK;
}

/* ---- waiting ---- */

static struct timespec deadline_after(double seconds) {
    const int64_t ns = pk_clock_ns() + (int64_t)(seconds * 1e9);
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

/* False: not ready in time. */
static bool await(pk_feed *f, slot *s, const struct timespec *deadline) {
    if (f->threads == 0) {
        if (s->left > 0) make_all(f, s); /* not again where handing it out failed */
        return true;
    }
    pthread_mutex_lock(&f->lock);
    int late = 0;
    while (s->left > 0 && late == 0) late = pthread_cond_timedwait(&f->ready, &f->lock, deadline);
    bool done = s->left == 0;
    pthread_mutex_unlock(&f->lock);
    return done;
}

pk_status pk_feed_next(pk_feed *f, double seconds, pk_feed_batch *out) {
    *out = (pk_feed_batch){PK_FEED_END, NULL, NULL, 0};
    PK_RETURN_IF(f->owner != getpid(), PK_EINVAL, "loader: this epoch was begun by the parent process; begin one here");
    struct timespec deadline = deadline_after(seconds);
    while (!f->over && f->next < f->batches && out->state == PK_FEED_END) {
        PK_TRY(open_slots(f));
        slot *s = slot_of(f, f->next);
        if (!await(f, s, &deadline)) {
            out->state = PK_FEED_WAIT;
            return PK_OK;
        }
        PK_TRY(settle(f, s));
        PK_TRY(hand_out(f, s, out));
        clear(s);
        f->next++;
    }
    if (!f->over && f->threads > 0) (void)open_slots(f); /* where that fails the next call says so */
    return PK_OK;
}

int64_t pk_feed_broken(const pk_feed *f, const pk_broken **list) {
    *list = f->broken;
    return f->nbroken;
}

/* ---- a feed's life ---- */

static pk_status check_rows(const pk_feed_options *o) {
    const pk_tensor *rows = o->rows;
    int64_t count = pk_pictures_count(&o->recipe.from);
    PK_RETURN_IF(rows->dtype != PK_INT32 || rows->ndim != 1 || !pk_is_contiguous(rows), PK_EINVAL,
                 "rows must be a contiguous int32 {n}, got %s %s", pk_dtype_name(rows->dtype), pk_shape_text(rows));
    for (int64_t i = 0; i < rows->shape[0]; i++)
        PK_RETURN_IF(pk_i32(rows)[i] < 1 || pk_i32(rows)[i] > count, PK_EINVAL, "batch: row %d, there are 1 to %lld",
                     pk_i32(rows)[i], (long long)count);
    PK_RETURN_IF(o->y && (!pk_is_contiguous(o->y) || o->y->ndim < 1 || o->y->shape[0] != count), PK_EINVAL,
                 "the labels must be contiguous, of %lld rows, got %s", (long long)count, pk_shape_text(o->y));
    return PK_OK;
}

static void retain(pk_feed_options *o) {
    pk_tensor_retain((pk_tensor *)(uintptr_t)o->recipe.from.x);
    pk_files_retain((pk_files *)(uintptr_t)o->recipe.from.files);
    pk_tensor_retain((pk_tensor *)(uintptr_t)o->y);
    pk_tensor_retain((pk_tensor *)(uintptr_t)o->rows);
    for (int i = 0; i < o->recipe.pipeline.count; i++)
        pk_transform_retain((pk_transform *)(uintptr_t)o->recipe.pipeline.step[i]);
}

static void release(pk_feed_options *o) {
    pk_tensor_release((pk_tensor *)(uintptr_t)o->recipe.from.x);
    pk_files_release((pk_files *)(uintptr_t)o->recipe.from.files);
    pk_tensor_release((pk_tensor *)(uintptr_t)o->y);
    pk_tensor_release((pk_tensor *)(uintptr_t)o->rows);
    for (int i = 0; i < o->recipe.pipeline.count; i++)
        pk_transform_release((pk_transform *)(uintptr_t)o->recipe.pipeline.step[i]);
}

/* Fewer threads than wanted will do; none, and batches are made by the pool. */
static void start(pk_feed *f) {
    sigset_t all, old;
    sigfillset(&all);
    pk_feed **self =
        (pk_feed **)(void *)(f->work + f->works); /* behind the work memory: how a worker knows its number */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (int i = 0; i < f->o.workers; i++) {
        self[i] = f;
        if (pthread_create(&f->thread[f->threads], NULL, worker_main, &self[i])) break;
        f->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void set_up_waiting(pk_feed *f) {
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->more, NULL);
    pthread_cond_init(&f->ready, &clock);
    pthread_condattr_destroy(&clock);
}

/* Of options that were checked. */
static pk_status new_feed(const pk_feed_options *o, pk_feed **out) {
    pk_feed *f = pk_alloc_zeroed(sizeof *f);
    if (!f) return pk_no_memory(sizeof *f);
    f->o = *o;
    int64_t n = o->rows->shape[0];
    f->batches = o->drop_last ? n / o->batch : pk_ceil_div(n, o->batch);
    f->end = pk_min(n, f->batches * o->batch);
    f->next = f->opened = pk_min(o->first, f->batches);
    f->place = f->limit = pk_min(f->next * o->batch, f->end);
    f->owner = getpid();
    f->slots = o->workers > 0 ? o->prefetch + 1 : 1;
    f->works = MOST_WORKERS;
    f->ring = pk_alloc_zeroed(f->slots * (int64_t)sizeof *f->ring);
    f->work = pk_alloc_zeroed(f->works * (int64_t)sizeof *f->work + o->workers * (int64_t)sizeof(pk_feed *));
    if (!f->ring || !f->work) {
        pk_free(f->ring);
        pk_free(f->work);
        pk_free(f);
        return pk_no_memory((int64_t)sizeof *f);
    }
    retain(&f->o);
    set_up_waiting(f);
    start(f);
    *out = f;
    return PK_OK;
}

pk_status pk_feed_new(const pk_feed_options *o, pk_feed **out) {
    *out = NULL;
    PK_RETURN_IF(o->batch < 1 || o->first < 0, PK_EINVAL, "a batch has at least one row, and begins at one");
    PK_RETURN_IF(o->workers < 0 || o->workers > PK_MAX_WORKERS || o->prefetch < 0 || o->prefetch > PK_MAX_PREFETCH,
                 PK_EINVAL, "workers and prefetch must be 0 to %d, got %d and %d", PK_MAX_WORKERS, o->workers,
                 o->prefetch);
    pk_tensor *rows; /* a copy: the caller may write to his */
    PK_TRY(pk_tensor_like(o->rows, &rows));
    pk_tensor_copy(rows, o->rows);
    pk_feed_options own = *o;
    own.rows = rows;
    pk_feed *f = NULL;
    pk_status status = check_rows(&own);
    if (status == PK_OK) status = new_feed(&own, &f);
    pk_tensor_release(rows);
    *out = f;
    return status;
}

static void stop(pk_feed *f) {
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
    for (int i = 0; i < f->threads; i++) pthread_join(f->thread[i], NULL);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->more);
    pthread_cond_destroy(&f->ready);
}

void pk_feed_free(pk_feed *f) {
    if (!f) return;
    if (f->owner == getpid()) stop(f); /* a child has none of the threads */
    for (int i = 0; i < f->slots; i++) clear(&f->ring[i]);
    for (int i = 0; i < f->works; i++) pk_picture_work_free(&f->work[i]);
    for (int64_t i = 0; i < f->nbroken; i++) pk_free(f->broken[i].message);
    pk_free(f->broken);
    pk_free(f->ring);
    pk_free(f->work);
    release(&f->o);
    pk_free(f);
}
