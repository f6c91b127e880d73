#define _POSIX_C_SOURCE 200809L

#include "port_socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A request: what, two numbers, bytes that follow. An answer: 0 or the error, a number, bytes that follow. */
typedef struct request {
    uint64_t what, first, second, bytes;
} request;
typedef struct answer {
    uint64_t error, value, bytes;
} answer;

unsigned socket_interrupts;
static int connection = -1;

static void all(ssize_t (*step)(uint8_t *, size_t), uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t done = step(data, bytes);
        if (done <= 0) {
            fprintf(stderr, "the test bench has gone\n");
            exit(3);
        }
        data += done;
        bytes -= (size_t)done;
    }
}

static ssize_t sent(uint8_t *data, size_t bytes)
{
    return write(connection, data, bytes);
}

static ssize_t received(uint8_t *data, size_t bytes)
{
    return read(connection, data, bytes);
}

static answer ask(char what, uint64_t first, uint64_t second, const void *data, size_t bytes, void *back)
{
    request question = {(uint64_t)what, first, second, bytes};
    answer found;

    all(sent, (uint8_t *)&question, sizeof question);
    if (bytes > 0)
        all(sent, (uint8_t *)(uintptr_t)data, bytes);
    all(received, (uint8_t *)&found, sizeof found);
    if (found.bytes > 0)
        all(received, back, (size_t)found.bytes);
    return found;
}

static int read_register(void *context, uint32_t offset, uint32_t *value)
{
    answer found = ask('r', offset, 0, NULL, 0, NULL);

    (void)context;
    *value = (uint32_t)found.value;
    return (int)found.error;
}

static int write_register(void *context, uint32_t offset, uint32_t value)
{
    (void)context;
    return (int)ask('w', offset, value, NULL, 0, NULL).error;
}

static int write_memory(void *context, uint64_t address, const void *data, size_t bytes)
{
    (void)context;
    return (int)ask('M', address, 0, data, bytes, NULL).error;
}

static int read_memory(void *context, uint64_t address, void *data, size_t bytes)
{
    (void)context;
    return (int)ask('m', address, bytes, NULL, 0, data).error;
}

static int wait_interrupt(void *context, uint64_t ns)
{
    int raised = (int)ask('i', ns, 0, NULL, 0, NULL).value;

    (void)context;
    socket_interrupts += (unsigned)raised;
    return raised;
}

static uint64_t now_ns(void *context)
{
    (void)context;
    return ask('n', 0, 0, NULL, 0, NULL).value;
}

moesaic_port socket_port(int file)
{
    moesaic_port port = {0};

    connection = file;
    port.read = read_register;
    port.write = write_register;
    port.write_memory = write_memory;
    port.read_memory = read_memory;
    port.wait_interrupt = wait_interrupt;
    port.now_ns = now_ns;
    port.patience_ns = ask('p', 0, 0, NULL, 0, NULL).value;
    port.memory_address = ask('a', 0, 0, NULL, 0, NULL).value;
    port.memory_bytes = ask('b', 0, 0, NULL, 0, NULL).value;
    return port;
}

void socket_set(const char *name, int64_t value)
{
    (void)ask('v', (uint64_t)value, 0, name, strlen(name), NULL);
}

void socket_later(uint64_t cycles, uint32_t offset, uint32_t value)
{
    (void)ask('l', cycles, (uint64_t)offset << 32 | value, NULL, 0, NULL);
}

void socket_reset(void)
{
    (void)ask('R', 0, 0, NULL, 0, NULL);
}

void socket_quit(void)
{
    (void)ask('q', 0, 0, NULL, 0, NULL);
}
