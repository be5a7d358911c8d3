/* Selection by radix: three counts of 11, 11 and 10 bits narrow the threshold down; no sorting, no extra memory. */
#include "train/select.h"

enum { BITS = 11, BINS = 1 << BITS };

/* How many keys whose bits above shift + width are those of prefix have each value in the next width bits. */
static void count_bins(const uint32_t *key, int64_t n, uint32_t prefix, int shift, int width, int64_t *bin) {
    const uint32_t low = ((uint32_t)1 << width) - 1;
    const uint64_t want = (uint64_t)prefix >> (shift + width);
    memset(bin, 0, BINS * sizeof *bin);
    for (int64_t i = 0; i < n; i++)
        if ((uint64_t)key[i] >> (shift + width) == want) bin[(key[i] >> shift) & low]++;
}

void pk_select(const uint32_t *key, int64_t n, int64_t k, uint32_t *threshold, int64_t *ties) {
    static const int shifts[] = {21, 10, 0}, widths[] = {11, 11, 10};
    int64_t bin[BINS];
    uint32_t found = 0;
    *threshold = UINT32_MAX;
    *ties = 0;
    if (k <= 0) return;
    for (int pass = 0; pass < 3; pass++) {
        count_bins(key, n, found, shifts[pass], widths[pass], bin);
        int b = (1 << widths[pass]) - 1;
        while (b > 0 && bin[b] < k) k -= bin[b--];
        found |= (uint32_t)b << shifts[pass];
    }
    *threshold = found;
    *ties = k;
}
