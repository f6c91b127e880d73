#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "moesaic_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "moesaic_copy.h"
#include "moesaic_internal.h"

#define POLL_NS UINT64_C(500000)      /* between two looks at STATUS without an interrupt */
#define PATIENCE_NS UINT64_C(50000000) /* with one */
#define REGISTERS_BYTES 0x10000u

enum { PATH = 256, NODES = 64, PART = 96 };

/* --- the port's functions ---------------------------------------------------------------------------------------- */

static volatile uint32_t *at(const moesaic_linux *l, uint32_t offset)
{
    return (volatile uint32_t *)(volatile void *)(l->registers + offset);
}

static int read_register(void *context, uint32_t offset, uint32_t *value)
{
    *value = *at(context, offset);
    return 0;
}

static int write_register(void *context, uint32_t offset, uint32_t value)
{
    *at(context, offset) = value;
    return 0;
}

static bool inside(const moesaic_linux *l, uint64_t address, size_t bytes)
{
    return address >= l->memory_address && address - l->memory_address <= l->memory_bytes &&
           bytes <= l->memory_bytes - (address - l->memory_address);
}

static int write_memory(void *context, uint64_t address, const void *data, size_t bytes)
{
    const moesaic_linux *l = context;

    if (!inside(l, address, bytes))
        return -1;
    moesaic_copy_to(l->memory + (address - l->memory_address), data, bytes);
    __sync_synchronize(); /* memory before the register that starts the accelerator */
    return 0;
}

static int read_memory(void *context, uint64_t address, void *data, size_t bytes)
{
    const moesaic_linux *l = context;

    if (!inside(l, address, bytes))
        return -1;
    __sync_synchronize();
    moesaic_copy_from(data, l->memory + (address - l->memory_address), bytes);
    return 0;
}

static uint64_t now_ns(void *context)
{
    struct timespec time;

    (void)context;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static int wait_interrupt(void *context, uint64_t ns)
{
    const moesaic_linux *l = context;
    struct pollfd ready = {l->uio, POLLIN, 0};
    uint32_t enable = 1, count;
    int found;

    if (l->polls) {
        uint64_t time = ns < POLL_NS ? ns : POLL_NS;
        struct timespec pause = {0, (long)time};
        (void)nanosleep(&pause, NULL);
        return 0;
    }
    if (write(l->uio, &enable, sizeof enable) != (ssize_t)sizeof enable)
        return -1;
    found = poll(&ready, 1, (int)((ns + 999999) / 1000000));
    if (found < 0)
        return errno == EINTR ? 0 : -1;
    if (found == 0)
        return 0;
    return read(l->uio, &count, sizeof count) == (ssize_t)sizeof count ? 1 : -1;
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static bool read_line(const char *path, char *line, size_t bytes)
{
    FILE *file = fopen(path, "r");
    bool read = file != NULL && fgets(line, (int)bytes, file) != NULL;

    if (file != NULL)
        (void)fclose(file);
    if (read)
        line[strcspn(line, "\n")] = 0;
    return read;
}

static bool read_number(const char *path, uint64_t *number)
{
    char line[64], *end;

    if (!read_line(path, line, sizeof line))
        return false;
    *number = strtoull(line, &end, 0);
    return end != line && *end == 0;
}

/* The number of a UIO device, from `uio3`, or from the name of its node. */
static bool find_uio(const moesaic_linux *l, const char *name, unsigned *number)
{
    char path[PATH], found[PART], *end;

    if (strncmp(name, "uio", 3) == 0) {
        *number = (unsigned)strtoul(name + 3, &end, 10);
        if (end != name + 3 && *end == 0)
            return true;
    }
    for (*number = 0; *number < NODES; ++*number) {
        moesaic_say(path, sizeof path, "%s/uio/uio%u/name", l->sys, *number);
        if (read_line(path, found, sizeof found) && strcmp(found, name) == 0)
            return true;
    }
    return false;
}

static volatile uint8_t *map(int file, uint64_t offset, uint64_t bytes)
{
    void *mapped = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)offset);

    return mapped == MAP_FAILED ? NULL : mapped;
}

static bool open_uio(moesaic_linux *l, const char *name, bool memory, char *message, size_t bytes)
{
    char path[PATH];
    unsigned number = 0;
    uint64_t size = 0;

    if (!find_uio(l, name, &number)) {
        moesaic_say(message, bytes, "no UIO device is called '%s': is the device tree's overlay loaded?", name);
        return false;
    }
    moesaic_say(path, sizeof path, "%s/uio%u", l->dev, number);
    l->uio = open(path, O_RDWR | O_SYNC);
    if (l->uio < 0) {
        moesaic_say(message, bytes, "%s could not be opened: %s", path, strerror(errno));
        return false;
    }
    moesaic_say(path, sizeof path, "%s/uio/uio%u/maps/map0/size", l->sys, number);
    if (!read_number(path, &size) || size < MOESAIC_MAP_BYTES || (l->registers = map(l->uio, 0, size)) == NULL) {
        moesaic_say(message, bytes, "registers of uio%u could not be mapped", number);
        return false;
    }
    l->registers_bytes = (size_t)size;
    if (!memory)
        return true;
    moesaic_say(path, sizeof path, "%s/uio/uio%u/maps/map1/addr", l->sys, number);
    if (!read_number(path, &l->memory_address)) {
        moesaic_say(message, bytes, "uio%u must have its memory as second map; or add udmabuf=NAME or memory=ADDRESS:BYTES",
                    number);
        return false;
    }
    moesaic_say(path, sizeof path, "%s/uio/uio%u/maps/map1/size", l->sys, number);
    if (!read_number(path, &l->memory_bytes) ||
        (l->memory = map(l->uio, (uint64_t)sysconf(_SC_PAGESIZE), l->memory_bytes)) == NULL) {
        moesaic_say(message, bytes, "memory of uio%u could not be mapped", number);
        return false;
    }
    return true;
}

static bool open_udmabuf(moesaic_linux *l, const char *name, char *message, size_t bytes)
{
    char path[PATH];

    moesaic_say(path, sizeof path, "%s/u-dma-buf/%s/phys_addr", l->sys, name);
    if (!read_number(path, &l->memory_address)) {
        moesaic_say(message, bytes, "no u-dma-buf is called '%s'", name);
        return false;
    }
    moesaic_say(path, sizeof path, "%s/u-dma-buf/%s/size", l->sys, name);
    if (!read_number(path, &l->memory_bytes))
        l->memory_bytes = 0;
    moesaic_say(path, sizeof path, "%s/%s", l->dev, name);
    l->memory_file = open(path, O_RDWR | O_SYNC); /* O_SYNC: not cached */
    if (l->memory_file < 0 || (l->memory = map(l->memory_file, 0, l->memory_bytes)) == NULL) {
        moesaic_say(message, bytes, "%s could not be mapped: %s", path, strerror(errno));
        return false;
    }
    return true;
}

static bool open_mem(moesaic_linux *l, uint64_t address, uint64_t size, volatile uint8_t **mapped, char *message,
                     size_t bytes)
{
    char path[PATH];

    moesaic_say(path, sizeof path, "%s/mem", l->dev);
    if (l->memory_device < 0)
        l->memory_device = open(path, O_RDWR | O_SYNC);
    if (l->memory_device < 0 || (*mapped = map(l->memory_device, address, size)) == NULL) {
        moesaic_say(message, bytes, "0x%" PRIx64 " of %s could not be mapped: %s", address, path, strerror(errno));
        return false;
    }
    return true;
}

static bool open_part(moesaic_linux *l, const char *part, bool last, char *message, size_t bytes)
{
    char *end;

    if (strcmp(part, "poll") == 0)
        return l->polls = true;
    if (strncmp(part, "udmabuf=", 8) == 0)
        return open_udmabuf(l, part + 8, message, bytes);
    if (strncmp(part, "registers=", 10) == 0) {
        uint64_t address = strtoull(part + 10, &end, 0);
        if (end != part + 10 && *end == 0) {
            l->polls = true;
            l->registers_bytes = REGISTERS_BYTES;
            return open_mem(l, address, REGISTERS_BYTES, &l->registers, message, bytes);
        }
    } else if (strncmp(part, "memory=", 7) == 0) {
        l->memory_address = strtoull(part + 7, &end, 0);
        if (end != part + 7 && *end == ':') {
            l->memory_bytes = strtoull(end + 1, &end, 0);
            if (*end == 0 && l->memory_bytes > 0)
                return open_mem(l, l->memory_address, l->memory_bytes, &l->memory, message, bytes);
        }
    } else if (strchr(part, '=') == NULL && l->uio < 0) {
        return open_uio(l, part, last, message, bytes);
    }
    moesaic_say(message, bytes, "'%s' must be uioN, udmabuf=NAME, memory=ADDRESS:BYTES, registers=ADDRESS or poll", part);
    return false;
}

moesaic_outcome moesaic_linux_open_at(moesaic_linux *linux_port, const char *where, const char *dev, const char *sys,
                                      moesaic_port *port, char *message, size_t message_bytes)
{
    moesaic_linux *l = linux_port;
    bool memory = strstr(where, "memory=") != NULL || strstr(where, "udmabuf=") != NULL;

    memset(l, 0, sizeof *l);
    l->uio = l->memory_file = l->memory_device = -1;
    l->dev = dev;
    l->sys = sys;
    while (*where != 0) {
        char part[PART];
        size_t bytes = strcspn(where, ",");
        moesaic_say(part, sizeof part, "%.*s", (int)(bytes < PART ? bytes : PART - 1), where);
        if (!open_part(l, part, !memory, message, message_bytes)) {
            moesaic_linux_close(l);
            return MOESAIC_E_ARGUMENT;
        }
        where += bytes + (where[bytes] == ',');
    }
    if (l->registers == NULL || l->memory == NULL) {
        moesaic_say(message, message_bytes, "an accelerator must have registers and memory: uio0, for instance");
        moesaic_linux_close(l);
        return MOESAIC_E_ARGUMENT;
    }
    port->context = l;
    port->read = read_register;
    port->write = write_register;
    port->write_memory = write_memory;
    port->read_memory = read_memory;
    port->wait_interrupt = wait_interrupt;
    port->now_ns = now_ns;
    port->patience_ns = l->polls ? POLL_NS : PATIENCE_NS;
    port->memory_address = l->memory_address;
    port->memory_bytes = l->memory_bytes;
    port->channel_bytes = 0;
    return MOESAIC_E_OK;
}

moesaic_outcome moesaic_linux_open(moesaic_linux *linux_port, const char *where, moesaic_port *port, char *message,
                                   size_t message_bytes)
{
    return moesaic_linux_open_at(linux_port, where, "/dev", "/sys/class", port, message, message_bytes);
}

static void unmap(volatile uint8_t *mapped, uint64_t bytes)
{
    if (mapped != NULL)
        (void)munmap((void *)(uintptr_t)mapped, (size_t)bytes);
}

void moesaic_linux_close(moesaic_linux *linux_port)
{
    int files[3] = {linux_port->uio, linux_port->memory_file, linux_port->memory_device};

    unmap(linux_port->registers, linux_port->registers_bytes);
    unmap(linux_port->memory, linux_port->memory_bytes);
    for (unsigned k = 0; k < 3; ++k)
        if (files[k] >= 0)
            (void)close(files[k]);
    memset(linux_port, 0, sizeof *linux_port);
    linux_port->uio = linux_port->memory_file = linux_port->memory_device = -1;
}
