#include "moesaic_bare.h"

#include "moesaic_copy.h"

#define PATIENCE_NS UINT64_C(100000)

static int read_register(void *context, uint32_t offset, uint32_t *value)
{
    const moesaic_bare *b = context;

    *value = *(volatile uint32_t *)(b->registers + offset);
    return 0;
}

static int write_register(void *context, uint32_t offset, uint32_t value)
{
    const moesaic_bare *b = context;

    *(volatile uint32_t *)(b->registers + offset) = value;
    return 0;
}

static int write_memory(void *context, uint64_t address, const void *data, size_t bytes)
{
    const moesaic_bare *b = context;
    uintptr_t to = b->memory + (uintptr_t)(address - b->memory_address);

    moesaic_copy_to((volatile uint8_t *)to, data, bytes);
    if (b->flush != NULL)
        b->flush(to, bytes);
    return 0;
}

static int read_memory(void *context, uint64_t address, void *data, size_t bytes)
{
    const moesaic_bare *b = context;
    uintptr_t from = b->memory + (uintptr_t)(address - b->memory_address);

    if (b->invalidate != NULL)
        b->invalidate(from, bytes);
    moesaic_copy_from(data, (const volatile uint8_t *)from, bytes);
    return 0;
}

static uint64_t now_ns(void *context)
{
    const moesaic_bare *b = context;

    return b->now_ns();
}

static int wait_interrupt(void *context, uint64_t ns)
{
    const moesaic_bare *b = context;
    uint64_t begun = b->now_ns();

    if (b->interrupt == NULL)
        return 0;
    while (!b->interrupt())
        if (b->now_ns() - begun >= ns)
            return 0;
    return 1;
}

moesaic_port moesaic_bare_port(moesaic_bare *bare)
{
    moesaic_port port = {bare,           read_register, write_register, write_memory,         read_memory,
                         wait_interrupt, now_ns,        PATIENCE_NS,    bare->memory_address, bare->memory_bytes,
                         0};

    return port;
}
