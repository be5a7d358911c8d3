/* Loader threads: the same batches by any number of them, ends in the middle, broken files, forks. Run under
 * ThreadSanitizer by `make tsan`. */
#include "check.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/rng.h"
#include "data/epoch.h"
#include "data/feed.h"

#ifdef __SANITIZE_THREAD__
enum { FORKS = 0 }; /* ThreadSanitizer does not follow threads that begin after a fork */
#else
enum { FORKS = 1 };
#endif

enum { ROWS = 70, SIDE = 12, BATCH = 8 };

typedef struct set {
    pk_tensor *x, *y, *rows;
    pk_files *files;
    pk_transform *step[2];
    pk_feed_options o;
} set;

static pk_status add_step(set *s, int i, const char *name, const char *field, const char *value) {
    const pk_transform_kind *kind = pk_transform_find(name);
    char options[4096];
    pk_schema_defaults(kind->fields, kind->nfields, options, kind->options_size);
    if (field) PK_TRY(pk_schema_parse(name, kind->fields, kind->nfields, options, field, value));
    PK_TRY(pk_transform_new(kind, options, &s->step[i]));
    s->o.recipe.pipeline.step[s->o.recipe.pipeline.count++] = s->step[i];
    return PK_OK;
}

static pk_status open_set(set *s, bool files) {
    const int64_t shape[4] = {ROWS, SIDE, SIDE, 3}, n = ROWS;
    memset(s, 0, sizeof *s);
    PK_TRY(pk_tensor_new(PK_UINT8, 4, shape, &s->x));
    for (int64_t i = 0; i < pk_numel(s->x); i++) pk_u8(s->x)[i] = (uint8_t)pk_random_bits(1, (uint64_t)i);
    PK_TRY(pk_tensor_new(PK_INT32, 1, &n, &s->y));
    for (int32_t i = 0; i < ROWS; i++) pk_i32(s->y)[i] = i + 1;
    PK_TRY(pk_epoch_order(ROWS, NULL, true, 1, 1, &s->rows));
    if (files) {
        const char *paths[ROWS];
        const pk_image_options options = {PK_IMAGE_MAX_PIXELS, 3, {0, 0, 0}};
        for (int i = 0; i < ROWS; i++) paths[i] = "/nowhere/at/all.jpg";
        PK_TRY(pk_files_new(ROWS, paths, &options, &s->files));
    }
    s->o = (pk_feed_options){.y = s->y, .rows = s->rows, .batch = BATCH};
    s->o.recipe.from = (pk_pictures){files ? NULL : s->x, s->files};
    s->o.recipe.stream = pk_recipe_stream(3, 4);
    PK_TRY(add_step(s, 0, "random_resized_crop", "size", "9"));
    PK_TRY(add_step(s, 1, "rand_augment", NULL, NULL));
    return pk_recipe_infer(&s->o.recipe);
}

static void close_set(set *s) {
    pk_tensor_release(s->x);
    pk_tensor_release(s->y);
    pk_tensor_release(s->rows);
    pk_files_release(s->files);
    for (int i = 0; i < 2; i++) pk_transform_release(s->step[i]);
}

/* A number that stands for all batches up to `most`, or all; how many pictures. */
static pk_status digest(const set *s, int workers, int prefetch, int most, uint64_t *sum, int64_t *pictures) {
    pk_feed_options o = s->o;
    pk_feed *f = NULL;
    pk_feed_batch b = {.state = PK_FEED_WAIT};
    pk_status status = PK_OK;
    o.workers = workers;
    o.prefetch = prefetch;
    *sum = 0;
    *pictures = 0;
    PK_TRY(pk_feed_new(&o, &f));
    for (int n = 0; n < most && status == PK_OK && b.state != PK_FEED_END;) {
        status = pk_feed_next(f, 1, &b);
        if (status != PK_OK || b.state != PK_FEED_BATCH) continue;
        n++;
        *pictures += b.x->shape[0];
        for (int64_t i = 0; i < pk_numel(b.x); i++)
            *sum = pk_mix64(*sum + (uint64_t)(pk_f32(b.x)[i] * 64) + (uint64_t)pk_i32(b.y)[0]);
        pk_tensor_release(b.x);
        pk_tensor_release(b.y);
    }
    pk_feed_free(f);
    return status;
}

static int check_numbers(check_options *o, const set *s) {
    uint64_t want, got;
    int64_t n;
    if (digest(s, 0, 0, 100, &want, &n) != PK_OK) return 1;
    check_that(o, n == ROWS, "feed: %lld pictures, not %d", (long long)n, ROWS);
    for (int workers = 1; workers <= 4; workers++)
        for (int prefetch = 0; prefetch <= 3; prefetch++) {
            if (digest(s, workers, prefetch, 100, &got, &n) != PK_OK) return 1;
            check_that(o, got == want && n == ROWS, "feed: %d workers, %d ahead give other pictures", workers, prefetch);
            if (digest(s, workers, prefetch, prefetch, &got, &n) != PK_OK) return 1; /* left in the middle */
        }
    return 0;
}

static int check_broken(check_options *o) {
    set s;
    uint64_t sum;
    int64_t n;
    if (open_set(&s, true) != PK_OK) return 1;
    for (int workers = 0; workers <= 3; workers += 3) {
        s.o.skip_broken = false;
        check_that(o, digest(&s, workers, 2, 100, &sum, &n) == PK_EIO, "feed: missing files are no error");
        s.o.skip_broken = true;
        check_that(o, digest(&s, workers, 2, 100, &sum, &n) == PK_OK && n == 0, "feed: missing files are not left out");
    }
    close_set(&s);
    return 0;
}

/* The child cannot use the parent's feed, can free it, and can begin its own. */
static int in_child(const set *s, pk_feed *f, uint64_t want) {
    pk_feed_batch b;
    uint64_t got;
    int64_t n;
    if (pk_feed_next(f, 1, &b) != PK_EINVAL) return 1;
    pk_feed_free(f);
    return digest(s, 2, 1, 100, &got, &n) == PK_OK && got == want ? 0 : 2;
}

static int check_fork(check_options *o, const set *s) {
    uint64_t want;
    int64_t n;
    pk_feed_options options = s->o;
    options.workers = 2;
    options.prefetch = 2;
    if (digest(s, 0, 0, 100, &want, &n) != PK_OK) return 1;
    for (int i = 0; i < 20; i++) {
        pk_feed *f = NULL;
        pk_feed_batch b;
        int code = -1;
        if (pk_feed_new(&options, &f) != PK_OK || pk_feed_next(f, 10, &b) != PK_OK) return 1;
        pk_tensor_release(b.x);
        pk_tensor_release(b.y);
        pid_t child = fork(); /* while the workers are at it */
        if (child == 0) _exit(in_child(s, f, want));
        waitpid(child, &code, 0);
        pk_feed_free(f);
        check_that(o, code == 0, "feed: the child of a fork ended with %d", code);
    }
    return 0;
}

int check_feed(check_options *o) {
    if (o->bench || !check_wanted(o, "feed")) return 0;
    set s;
    if (open_set(&s, false) != PK_OK) return 1;
    int bad = check_numbers(o, &s) || check_broken(o);
    if (FORKS) bad = bad || check_fork(o, &s);
    close_set(&s);
    return bad;
}
