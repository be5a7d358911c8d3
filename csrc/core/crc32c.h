/* CRC-32C (Castagnoli, reflected polynomial 0x82f63b78): the checksum of TensorBoard's records. */
#ifndef PK_CORE_CRC32C_H
#define PK_CORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t pk_crc32c(const void *data, size_t bytes);

#endif
