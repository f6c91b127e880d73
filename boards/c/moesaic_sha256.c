#include "moesaic_sha256.h"

#include <string.h>

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turned(uint32_t word, unsigned by)
{
    return word >> by | word << (32 - by);
}

static void mix(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[64], v[8];

    for (unsigned k = 0; k < 16; ++k)
        w[k] = (uint32_t)block[4 * k] << 24 | (uint32_t)block[4 * k + 1] << 16 | (uint32_t)block[4 * k + 2] << 8 |
               block[4 * k + 3];
    for (unsigned k = 16; k < 64; ++k) {
        uint32_t low = turned(w[k - 15], 7) ^ turned(w[k - 15], 18) ^ w[k - 15] >> 3;
        uint32_t high = turned(w[k - 2], 17) ^ turned(w[k - 2], 19) ^ w[k - 2] >> 10;
        w[k] = w[k - 16] + low + w[k - 7] + high;
    }
    memcpy(v, state, sizeof v);
    for (unsigned k = 0; k < 64; ++k) {
        uint32_t high = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25);
        uint32_t first = v[7] + high + ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[k] + w[k];
        uint32_t low = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22);
        uint32_t second = low + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += first;
        v[0] = first + second;
    }
    for (unsigned k = 0; k < 8; ++k)
        state[k] += v[k];
}

void moesaic_sha256_start(moesaic_sha256 *hash)
{
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    memcpy(hash->state, first, sizeof first);
    hash->bytes = 0;
}

void moesaic_sha256_add(moesaic_sha256 *hash, const void *data, size_t bytes)
{
    const uint8_t *next = data;

    while (bytes > 0) {
        size_t held = (size_t)(hash->bytes % sizeof hash->block);
        size_t taken = sizeof hash->block - held;
        if (taken > bytes)
            taken = bytes;
        memcpy(hash->block + held, next, taken);
        hash->bytes += taken;
        next += taken;
        bytes -= taken;
        if (held + taken == sizeof hash->block)
            mix(hash->state, hash->block);
    }
}

void moesaic_sha256_end(moesaic_sha256 *hash, uint8_t digest[32])
{
    uint64_t bits = 8 * hash->bytes;
    uint8_t length[8], one = 0x80, zero = 0;

    for (unsigned k = 0; k < 8; ++k)
        length[k] = (uint8_t)(bits >> (56 - 8 * k));
    moesaic_sha256_add(hash, &one, 1);
    while (hash->bytes % sizeof hash->block != 56)
        moesaic_sha256_add(hash, &zero, 1);
    moesaic_sha256_add(hash, length, sizeof length);
    for (unsigned k = 0; k < 32; ++k)
        digest[k] = (uint8_t)(hash->state[k / 4] >> (24 - 8 * (k % 4)));
}
