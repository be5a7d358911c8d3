/* The k largest of n, exactly k: what pruning, growing and SNIP have in common. */
#ifndef PK_TRAIN_SELECT_H
#define PK_TRAIN_SELECT_H

#include <stdint.h>
#include <string.h>

/* Keys order candidates; 0 is no candidate. Of a finite or infinite x, by |x|: the larger the higher, or the lower. */
static inline uint32_t pk_key_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7fffffffu) + 1;
}
static inline uint32_t pk_key_of_small(float x) { return 0x80000001u - pk_key_of(x); }

/* Where the k largest of key[0 .. n) end: those above *threshold, and of those equal to it the first *ties by index.
 * 0 <= k <= number of candidates. k of 0: no key is above *threshold, and *ties is 0. */
void pk_select(const uint32_t *key, int64_t n, int64_t k, uint32_t *threshold, int64_t *ties);

#endif
