/* run_image on the socket whose number -d gives. */
#include <stdlib.h>

#include "port_socket.h"
#include "run_image.h"

moesaic_outcome run_image_port(const char *where, moesaic_port *port, char *message, size_t message_bytes)
{
    (void)message;
    (void)message_bytes;
    *port = socket_port(atoi(where));
    (void)atexit(socket_quit);
    return MOESAIC_E_OK;
}
