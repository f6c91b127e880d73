#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "moesaic_xdma.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "moesaic_internal.h"

#define POLL_NS UINT64_C(500000)       /* between two looks at STATUS without an interrupt */
#define PATIENCE_NS UINT64_C(50000000) /* with one */
#define WINDOW UINT64_C(0x10000000)    /* the channel behind the first weight port of an Alveo U280 */
#define MEMORY UINT64_C(0x200000000)   /* bytes of its HBM */

enum { USER, TO_CARD, FROM_CARD, EVENTS, FILES, PATH = 256 };

static int read_register(void *context, uint32_t offset, uint32_t *value)
{
    const moesaic_xdma *x = context;
    uint32_t identity = 0;

    if (pread(x->files[USER], value, sizeof *value, (off_t)offset) != (ssize_t)sizeof *value)
        return -1;
    if (*value != UINT32_MAX) /* what a host reads where no device answers */
        return 0;
    if (pread(x->files[USER], &identity, sizeof identity, MOESAIC_ID) != (ssize_t)sizeof identity)
        return -1;
    return identity == UINT32_MAX ? -1 : 0;
}

static int write_register(void *context, uint32_t offset, uint32_t value)
{
    const moesaic_xdma *x = context;

    return pwrite(x->files[USER], &value, sizeof value, (off_t)offset) == (ssize_t)sizeof value ? 0 : -1;
}

static int write_memory(void *context, uint64_t address, const void *data, size_t bytes)
{
    moesaic_xdma *x = context;
    const uint8_t *next = data;

    while (bytes > 0) {
        size_t part = bytes < MOESAIC_XDMA_PART ? bytes : MOESAIC_XDMA_PART;
        uint8_t *aligned = x->buffer + address % MOESAIC_XDMA_PAGE;
        memcpy(aligned, next, part);
        if (lseek(x->files[TO_CARD], (off_t)address, SEEK_SET) < 0 ||
            write(x->files[TO_CARD], aligned, part) != (ssize_t)part)
            return -1;
        next += part;
        address += part;
        bytes -= part;
    }
    return 0;
}

static int read_memory(void *context, uint64_t address, void *data, size_t bytes)
{
    moesaic_xdma *x = context;
    uint8_t *next = data;

    while (bytes > 0) {
        size_t part = bytes < MOESAIC_XDMA_PART ? bytes : MOESAIC_XDMA_PART;
        uint8_t *aligned = x->buffer + address % MOESAIC_XDMA_PAGE;
        if (lseek(x->files[FROM_CARD], (off_t)address, SEEK_SET) < 0 ||
            read(x->files[FROM_CARD], aligned, part) != (ssize_t)part)
            return -1;
        memcpy(next, aligned, part);
        next += part;
        address += part;
        bytes -= part;
    }
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
    const moesaic_xdma *x = context;
    struct pollfd ready = {x->files[EVENTS], POLLIN, 0};
    struct timespec pause = {0, (long)(ns < POLL_NS ? ns : POLL_NS)};
    uint32_t event;
    int found;

    if (x->polls)
        return nanosleep(&pause, NULL) == 0 || errno == EINTR ? 0 : -1;
    found = poll(&ready, 1, (int)((ns + 999999) / 1000000));
    if (found <= 0)
        return found == 0 || errno == EINTR ? 0 : -1;
    return read(x->files[EVENTS], &event, sizeof event) == (ssize_t)sizeof event ? 1 : -1;
}

moesaic_outcome moesaic_xdma_open(moesaic_xdma *xdma, const char *where, moesaic_port *port, char *message,
                                  size_t message_bytes)
{
    static const char *const names[FILES] = {"user", "h2c_0", "c2h_0", "events_0"};
    static const int modes[FILES] = {O_RDWR, O_WRONLY, O_RDONLY, O_RDONLY};
    const char *channel = strstr(where, ",channel=");
    int length = (int)strcspn(where, ",");
    moesaic_port found = {xdma,           read_register, write_register, write_memory, read_memory,
                          wait_interrupt, now_ns,        PATIENCE_NS,    WINDOW,       MEMORY - WINDOW,
                          WINDOW};

    memset(xdma->files, -1, sizeof xdma->files);
    xdma->polls = strstr(where, ",poll") != NULL;
    for (unsigned k = 0; k < (unsigned)(xdma->polls ? EVENTS : FILES); ++k) {
        char path[PATH];
        moesaic_say(path, sizeof path, "%.*s_%s", length, where, names[k]);
        xdma->files[k] = open(path, modes[k]);
        if (xdma->files[k] < 0) {
            moesaic_say(message, message_bytes, "%s could not be opened: %s; is AMD's XDMA driver loaded?", path,
                        strerror(errno));
            moesaic_xdma_close(xdma);
            return MOESAIC_E_ARGUMENT;
        }
    }
    if (channel != NULL)
        found.channel_bytes = strtoull(channel + strlen(",channel="), NULL, 0);
    if (xdma->polls)
        found.patience_ns = POLL_NS;
    *port = found;
    return MOESAIC_E_OK;
}

void moesaic_xdma_close(moesaic_xdma *xdma)
{
    for (unsigned k = 0; k < FILES; ++k)
        if (xdma->files[k] >= 0)
            (void)close(xdma->files[k]);
    memset(xdma->files, -1, sizeof xdma->files);
}
