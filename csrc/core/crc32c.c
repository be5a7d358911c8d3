/* Bit by bit: records are small. */
#include "core/crc32c.h"

uint32_t pk_crc32c(const void *data, size_t bytes) {
    uint32_t crc = 0xffffffffu;
    for (const uint8_t *p = data, *end = p + bytes; p < end; p++) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}
