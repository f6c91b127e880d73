/* More bytes than one transfer moves, at an address that no buffer is aligned to: written by the port to a card, and read. */
#include <stdio.h>
#include <string.h>

#include "moesaic_xdma.h"

int main(int count, char **arguments)
{
    static uint8_t data[MOESAIC_XDMA_PART + 10000], back[sizeof data];
    static moesaic_xdma xdma;
    char message[200] = "";
    moesaic_port port;

    for (size_t k = 0; k < sizeof data; ++k)
        data[k] = (uint8_t)(k * 7);
    if (count != 2 || moesaic_xdma_open(&xdma, arguments[1], &port, message, sizeof message) != MOESAIC_E_OK)
        return fputs(message, stderr), 1;
    if (port.write_memory(port.context, port.memory_address + 13, data, sizeof data) != 0)
        return fputs("not written\n", stderr), 1;
    if (port.read_memory(port.context, port.memory_address + 13, back, sizeof back) != 0)
        return fputs("not read\n", stderr), 1;
    moesaic_xdma_close(&xdma);
    puts(memcmp(data, back, sizeof data) == 0 ? "equal" : "not equal");
    return 0;
}
