/* build/check: runs the checks of checks.def, closes with "check: N passed, M failed". */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/rng.h"

/* ---- results ---- */

bool check_wanted(const check_options *o, const char *name) { return !o->only || strstr(name, o->only); }

bool check_that(check_options *o, bool ok, const char *format, ...) {
    if (ok) {
        o->passed++;
        return true;
    }
    if (++o->failed <= 50) {
        va_list args;
        va_start(args, format);
        printf("FAILED ");
        vprintf(format, args);
        printf("\n");
        va_end(args);
    }
    return false;
}

/* ---- random data ---- */

uint64_t check_random(check_options *o) {
    static uint64_t count;
    return pk_random_bits(o->seed, count++);
}
int check_between(check_options *o, int low, int high) {
    return low + (int)(check_random(o) % (uint64_t)(high - low + 1));
}
float check_uniform(check_options *o) { return (float)(check_random(o) >> 40) * 0x1p-23f - 1.0f; }

void check_fill(check_options *o, float *p, int64_t n) {
    for (int64_t i = 0; i < n; i++) p[i] = check_uniform(o);
}
void check_fill_whole(check_options *o, float *p, int64_t n, int max) {
    for (int64_t i = 0; i < n; i++) p[i] = check_random(o) % 4 ? (float)check_between(o, -max, max) : 0.0f;
}

/* ---- guarded blocks ---- */

enum { MAX_BLOCKS = 64, PATTERN = 0xa5 };

static struct block {
    unsigned char *map, *begin, *end; /* the readable pages; the caller's part of them */
    size_t size, readable;
} blocks[MAX_BLOCKS];
static int nblocks;

float *check_floats(check_options *o, int64_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)n * sizeof(float);
    size_t readable = (bytes + page - 1) / page * page + (bytes ? 0 : page);
    struct block *b = &blocks[nblocks];
    if (nblocks == MAX_BLOCKS) exit(2);
    b->size = readable + 2 * page;
    b->readable = readable;
    b->map = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->map == MAP_FAILED) exit(2);
    mprotect(b->map, page, PROT_NONE);
    mprotect(b->map + page + readable, page, PROT_NONE);
    b->begin = b->map + page + (check_random(o) % 2 ? readable - bytes : 0);
    b->end = b->begin + bytes;
    memset(b->map + page, PATTERN, readable);
    nblocks++;
    return (float *)b->begin;
}

bool check_release_all(check_options *o) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bool clean = true;
    (void)o;
    while (nblocks > 0) {
        struct block *b = &blocks[--nblocks];
        for (unsigned char *p = b->map + page; p < b->begin; p++) clean &= *p == PATTERN;
        for (unsigned char *p = b->end; p < b->map + page + b->readable; p++) clean &= *p == PATTERN;
        munmap(b->map, b->size);
    }
    return clean;
}

/* ---- time ---- */

void check_levels(check_options *o, int rounds, check_round *round) {
    for (int level = PK_ISA_GENERIC; level < PK_ISA_COUNT; level++) {
        const pk_kernels *k = pk_kernels_at((pk_isa_level)level);
        for (int i = 0; k && i < rounds; i++) round(o, (pk_isa_level)level, k);
    }
}

double check_seconds(void) {
    return 1e-9 * (double)pk_clock_ns();
}

double check_time(void (*call)(void *context), void *context) {
    double best = 1e30;
    int times = 1;
    call(context);
    for (int run = 0; run < 7;) {
        double t = check_seconds();
        for (int i = 0; i < times; i++) call(context);
        t = check_seconds() - t;
        if (t < 0.01) {
            times *= 2;
            continue;
        }
        if (t / times < best) best = t / times;
        run++;
    }
    return best;
}

/* ---- main ---- */

static int usage(void) {
    fprintf(stderr, "usage: check [--seed N] [--only PATTERN] [--bench]\n");
    return 2;
}

static const struct {
    const char *name;
    int (*run)(check_options *o);
} checks[] = {
#define CHECK(name) {#name, check_##name},
#include "checks.def"
#undef CHECK
};

int main(int argc, char **argv) {
    check_options o = {.seed = (uint64_t)time(NULL) % 1000000};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench")) o.bench = true;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc) o.seed = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) o.only = argv[++i];
        else return usage();
    }
    printf("check: seed %llu\n", (unsigned long long)o.seed);
    int broken = 0;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (checks[i].run(&o)) {
            printf("FAILED %s could not run: %s\n", checks[i].name, pk_message());
            broken++;
        }
    }
    if (!o.bench || o.failed || broken)
        printf("check: %lld passed, %lld failed\n", (long long)o.passed, (long long)o.failed + broken);
    return o.failed || broken;
}
