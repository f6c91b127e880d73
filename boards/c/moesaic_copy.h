/* Copies to and from memory that a processor does not cache: whole aligned words, one access each. Memory of a device may
 * not be read or written in any other way on 64-bit processors of Arm, so `memcpy` will not do. */
#ifndef MOESAIC_COPY_H
#define MOESAIC_COPY_H

#include <stdint.h>
#include <string.h>

static inline void moesaic_copy_to(volatile uint8_t *to, const uint8_t *from, size_t bytes)
{
    while (bytes > 0) {
        if ((uintptr_t)to % sizeof(uint64_t) == 0 && bytes >= sizeof(uint64_t)) {
            uint64_t word;
            memcpy(&word, from, sizeof word);
            *(volatile uint64_t *)(volatile void *)to = word;
            to += sizeof word;
            from += sizeof word;
            bytes -= sizeof word;
        } else {
            *to++ = *from++;
            --bytes;
        }
    }
}

static inline void moesaic_copy_from(uint8_t *to, const volatile uint8_t *from, size_t bytes)
{
    while (bytes > 0) {
        if ((uintptr_t)from % sizeof(uint64_t) == 0 && bytes >= sizeof(uint64_t)) {
            uint64_t word = *(const volatile uint64_t *)(const volatile void *)from;
            memcpy(to, &word, sizeof word);
            to += sizeof word;
            from += sizeof word;
            bytes -= sizeof word;
        } else {
            *to++ = *from++;
            --bytes;
        }
    }
}

#endif
