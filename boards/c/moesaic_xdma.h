/* The port to a PCI Express card, through AMD's XDMA driver for Linux: the same steps as boards/xdma.py.
 *
 * Where the card is, as text, parts joined by commas:
 *
 *     /dev/xdma0     what the names of its devices begin with: _user, _h2c_0, _c2h_0, _events_0
 *     channel=BYTES  from the memory channel of a weight port to the next one's: 0x10000000 unless it is given
 *     poll           STATUS is polled, without _events_0
 */
#ifndef MOESAIC_XDMA_H
#define MOESAIC_XDMA_H

#include "moesaic.h"

#define MOESAIC_XDMA_PART (1u << 18) /* bytes of one transfer */
#define MOESAIC_XDMA_PAGE 4096u

typedef struct moesaic_xdma {
    /* A transfer's buffer must be aligned as its address is: here is room for any. */
    _Alignas(MOESAIC_XDMA_PAGE) uint8_t buffer[MOESAIC_XDMA_PART + MOESAIC_XDMA_PAGE];
    int files[4]; /* registers, to the card, from the card, events */
    bool polls;
} moesaic_xdma;

moesaic_outcome moesaic_xdma_open(moesaic_xdma *xdma, const char *where, moesaic_port *port, char *message,
                                  size_t message_bytes);
void moesaic_xdma_close(moesaic_xdma *xdma);

#endif
