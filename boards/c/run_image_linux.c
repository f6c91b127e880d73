#include <string.h>

#include "moesaic_linux.h"
#include "moesaic_xdma.h"
#include "run_image.h"

moesaic_outcome run_image_port(const char *where, moesaic_port *port, char *message, size_t message_bytes)
{
    static moesaic_linux linux_port;
    static moesaic_xdma xdma_port;

    if (strncmp(where, "xdma=", 5) == 0)
        return moesaic_xdma_open(&xdma_port, where + 5, port, message, message_bytes);
    return moesaic_linux_open(&linux_port, where, port, message, message_bytes);
}
