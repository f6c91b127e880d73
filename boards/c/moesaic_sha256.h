/* SHA-256 (FIPS 180-4), piece by piece. */
#ifndef MOESAIC_SHA256_H
#define MOESAIC_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct moesaic_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} moesaic_sha256;

void moesaic_sha256_start(moesaic_sha256 *hash);
void moesaic_sha256_add(moesaic_sha256 *hash, const void *data, size_t bytes);
void moesaic_sha256_end(moesaic_sha256 *hash, uint8_t digest[32]);

#endif
