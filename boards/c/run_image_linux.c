#include "moesaic_linux.h"
#include "run_image.h"

moesaic_outcome run_image_port(const char *where, moesaic_port *port, char *message, size_t message_bytes)
{
    static moesaic_linux linux_port;

    return moesaic_linux_open(&linux_port, where, port, message, message_bytes);
}
