/* The library's port to a simulated accelerator behind a socket, and what a test can do to it: tests/cocotb/tb_clib.py
 * answers. */
#ifndef PORT_SOCKET_H
#define PORT_SOCKET_H

#include "moesaic.h"

extern unsigned socket_interrupts; /* that were waited for and came */

/* The port over an open socket. */
moesaic_port socket_port(int file);
/* Sets a variable of the memory's model, by its name. */
void socket_set(const char *name, int64_t value);
/* After so many cycles, writes a register; offset ~0 is the reset input. */
void socket_later(uint64_t cycles, uint32_t offset, uint32_t value);
/* Resets the accelerator now. */
void socket_reset(void);
/* Ends the test bench's side. */
void socket_quit(void);

#endif
