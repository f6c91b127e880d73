/* The command of run_image.c, on whatever port. */
#ifndef MOESAIC_RUN_IMAGE_H
#define MOESAIC_RUN_IMAGE_H

#include "moesaic.h"

/* Opens the port that `where` names, for as long as the command runs. */
moesaic_outcome run_image_port(const char *where, moesaic_port *port, char *message, size_t message_bytes);

#endif
