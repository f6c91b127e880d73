/* The port without an operating system: registers and memory at their addresses. */
#ifndef MOESAIC_BARE_H
#define MOESAIC_BARE_H

#include "moesaic.h"

typedef struct moesaic_bare {
    uintptr_t registers; /* where the processor sees them: MOESAIC_REGISTERS_BASE */
    uintptr_t memory;    /* and where it sees the accelerator's memory */
    uint64_t memory_address, memory_bytes; /* the same as the accelerator sees it: MOESAIC_WINDOW_BASE, ..._BYTES */
    uint64_t (*now_ns)(void);              /* from a timer */
    /* True while the interrupt is raised, from a flag that your handler sets; NULL: STATUS is polled. */
    bool (*interrupt)(void);
    /* What the processor has written goes to memory, and what it holds is dropped; NULL for memory that is not cached. */
    void (*flush)(uintptr_t address, size_t bytes);
    void (*invalidate)(uintptr_t address, size_t bytes);
} moesaic_bare;

/* A port over `bare`, which must stay where it is. */
moesaic_port moesaic_bare_port(moesaic_bare *bare);

#endif
