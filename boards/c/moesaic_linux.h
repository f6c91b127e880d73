/* The port for Linux: registers and interrupt through UIO, memory through UIO, u-dma-buf or /dev/mem.
 *
 * Where the accelerator is, as text, parts joined by commas:
 *
 *     uio0                       the device /dev/uio0: registers, interrupt, and memory as its second map
 *     uio0,udmabuf=NAME          the same with the memory of the u-dma-buf device NAME
 *     uio0,memory=ADDRESS:BYTES  the same with memory that is kept free of Linux, through /dev/mem
 *     registers=ADDRESS,...      without UIO: registers through /dev/mem, STATUS is polled
 *     poll                       UIO without its interrupt
 *
 * `uio0` may also be the name that the device tree gives the node: `moesaic`.
 */
#ifndef MOESAIC_LINUX_H
#define MOESAIC_LINUX_H

#include "moesaic.h"

typedef struct moesaic_linux {
    int uio, memory_file, memory_device;
    volatile uint8_t *registers, *memory;
    size_t registers_bytes;
    uint64_t memory_address, memory_bytes;
    bool polls;
    const char *dev, *sys; /* "/dev" and "/sys/class", unless the caller of moesaic_linux_open_at says otherwise */
} moesaic_linux;

moesaic_outcome moesaic_linux_open(moesaic_linux *linux_port, const char *where, moesaic_port *port, char *message,
                                   size_t message_bytes);
moesaic_outcome moesaic_linux_open_at(moesaic_linux *linux_port, const char *where, const char *dev, const char *sys,
                                      moesaic_port *port, char *message, size_t message_bytes);
void moesaic_linux_close(moesaic_linux *linux_port);

#endif
