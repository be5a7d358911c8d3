/* The C harness. main.c runs the functions of checks.def one after another; each counts its results here.
 *
 *     build/check [--seed N] [--only PATTERN] [--bench]
 *
 * A new file spec/check/check_<family>.c defines `int check_<family>(check_options *o)` and adds one line to
 * checks.def. */
#ifndef PELK_CHECK_H
#define PELK_CHECK_H

#include "core/cpu.h"
#include "core/status.h"
#include "kernels/kernels.h"

typedef struct check_options {
    uint64_t seed;      /* printed; everything random comes from it */
    const char *only;   /* run what holds this text in its name; null: all */
    bool bench;         /* time instead of check */
    int64_t passed, failed;
} check_options;

/* Each returns 0 when it could run; results go through check_that. In bench mode it prints figures instead. */
#define CHECK(name) int check_##name(check_options *o);
#include "checks.def"
#undef CHECK

/* Should something of this name run? True when --only is absent or part of the name. */
bool check_wanted(const check_options *o, const char *name);
/* Count one result; a failure prints the text (the first 50 of them). Returns ok. */
bool check_that(check_options *o, bool ok, const char *format, ...) PK_PRINTF(3, 4);

/* Random draws that follow --seed, in call order. */
uint64_t check_random(check_options *o);
int check_between(check_options *o, int low, int high); /* both ends included */
float check_uniform(check_options *o);                  /* [-1, 1) */

/* n floats between two forbidden pages: they end exactly at the second or begin right after the first, by chance.
 * What is left of the pages holds a pattern. check_release_all frees every block and fails when a pattern changed. */
float *check_floats(check_options *o, int64_t n);
bool check_release_all(check_options *o);

void check_fill(check_options *o, float *p, int64_t n);                /* [-1, 1) */
void check_fill_whole(check_options *o, float *p, int64_t n, int max); /* whole numbers -max..max, a fourth of them 0 */

/* One round of a check for the kernels of one level; check_levels runs `rounds` of them for each level there is here. */
typedef void check_round(check_options *o, pk_isa_level level, const pk_kernels *k);
void check_levels(check_options *o, int rounds, check_round *round);

/* The larger of two errors; a NaN counts as the largest. */
static inline double check_worse(double a, double b) { return a >= b || a != a ? a : b; }

double check_seconds(void); /* monotonic */
/* FLOP/s of independent fused multiply-adds at this level on one core, measured now: what kernels are held against. */
double check_peak(pk_isa_level level);
/* Median over alternating runs of call (flops of work) against one core's peak: its share, 1 = the peak; *seconds: the
 * median time. */
double check_share(void (*call)(void *context), void *context, double flops, double *seconds);
/* Seconds of one call: best of several runs of at least 10 ms. */
double check_time(void (*call)(void *context), void *context);

#endif
