/* Distributions over the counter-based bits, and the library's generator of streams. */
#include "core/rng.h"

#include <math.h>
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t generator_seed = 0x70656c6b, generator_count;

float pk_random_normal(uint64_t stream, uint64_t i) { /* Box-Muller on both halves of one draw */
    uint64_t bits = pk_random_bits(stream, i);
    double u = ((double)(bits >> 32) + 0.5) * 0x1p-32;
    double v = (double)(bits & 0xffffffffu) * 0x1p-32;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

float pk_random_trunc_normal(uint64_t stream, uint64_t i, double std) {
    for (uint64_t again = 0; again < 64; again++) {
        double x = std * pk_random_normal(again ? pk_mix64(stream ^ again) : stream, i);
        if (x >= -2 && x <= 2) return (float)x;
    }
    return 0;
}

void pk_random_permutation(uint64_t stream, int32_t n, int32_t *out) { /* Fisher-Yates, inside out */
    for (int32_t i = 0; i < n; i++) {
        int32_t j = (int32_t)pk_random_below(stream, (uint64_t)i, (uint32_t)i + 1);
        out[i] = out[j];
        out[j] = i;
    }
}

void pk_manual_seed(uint64_t seed) {
    const uint64_t state[2] = {seed, 0};
    pk_random_set_state(state);
}

uint64_t pk_random_stream(void) {
    pthread_mutex_lock(&lock);
    uint64_t stream = pk_random_bits(generator_seed, generator_count++);
    pthread_mutex_unlock(&lock);
    return stream;
}

void pk_random_get_state(uint64_t state[2]) {
    pthread_mutex_lock(&lock);
    state[0] = generator_seed;
    state[1] = generator_count;
    pthread_mutex_unlock(&lock);
}

void pk_random_set_state(const uint64_t state[2]) {
    pthread_mutex_lock(&lock);
    generator_seed = state[0];
    generator_count = state[1];
    pthread_mutex_unlock(&lock);
}
