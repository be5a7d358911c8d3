/* Random numbers by counter: value number i of stream s is a pure function of (s, i), so that any thread can draw
 * any part of a stream and the result does not depend on the split. (SplitMix64's finaliser, Steele et al. 2014.) */
#ifndef PK_CORE_RNG_H
#define PK_CORE_RNG_H

#include <stdint.h>

#include "pelk.h" /* pk_manual_seed */

static inline uint64_t pk_mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline uint64_t pk_random_bits(uint64_t stream, uint64_t i) {
    return pk_mix64(pk_mix64(stream + 0x9e3779b97f4a7c15u) + (i + 1) * 0x9e3779b97f4a7c15u);
}
/* [0, 1) with 24 bits. */
static inline float pk_random_uniform(uint64_t stream, uint64_t i) {
    return (float)(pk_random_bits(stream, i) >> 40) * 0x1p-24f;
}
/* 0 .. n-1, n below 2^32. */
static inline uint32_t pk_random_below(uint64_t stream, uint64_t i, uint32_t n) {
    return (uint32_t)(((pk_random_bits(stream, i) >> 32) * (uint64_t)n) >> 32);
}
float pk_random_normal(uint64_t stream, uint64_t i);                 /* mean 0, deviation 1 */
float pk_random_trunc_normal(uint64_t stream, uint64_t i, double std); /* N(0, std) kept within [-2, 2], as timm does */
void pk_random_permutation(uint64_t stream, int32_t n, int32_t *out); /* of 0 .. n-1 */

/* A fresh stream from the library's generator (pk_manual_seed): one for each random call. */
uint64_t pk_random_stream(void);
/* The generator's place, for checkpoints. */
void pk_random_get_state(uint64_t state[2]);
void pk_random_set_state(const uint64_t state[2]);

#endif
