/* Sizes whose product or sum may not fit: every size that comes from outside goes through here. */
#ifndef PK_CORE_CHECKED_H
#define PK_CORE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* Each returns false (and leaves *r alone or arbitrary) when the result does not fit a non-negative int64. */
static inline bool pk_mul_ok(int64_t a, int64_t b, int64_t *r) {
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, r);
}
static inline bool pk_add_ok(int64_t a, int64_t b, int64_t *r) {
    return a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, r);
}

static inline int64_t pk_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t pk_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t pk_ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); } /* of any a from 0 on */
static inline int64_t pk_round_up(int64_t a, int64_t b) { return pk_ceil_div(a, b) * b; }

#endif
