/* What the files of the library share with each other, and with nobody else. */
#ifndef MOESAIC_INTERNAL_H
#define MOESAIC_INTERNAL_H

#include "moesaic.h"

#if defined(__GNUC__)
#define MOESAIC_FORMAT(text, values) __attribute__((format(printf, text, values)))
#else
#define MOESAIC_FORMAT(text, values)
#endif

typedef struct moesaic_stream {
    uint64_t offset, count; /* of its first instruction, and of instructions */
} moesaic_stream;

uint32_t moesaic_le32(const uint8_t *bytes);
uint64_t moesaic_le64(const uint8_t *bytes);
double moesaic_le_double(const uint8_t *bytes);
void moesaic_say(char *message, size_t bytes, const char *format, ...) MOESAIC_FORMAT(3, 4);

moesaic_stream moesaic_stream_at(const moesaic_program *program, unsigned number, unsigned stream);
uint32_t moesaic_marks(const moesaic_program *program, unsigned number);
uint64_t moesaic_port_offset(const moesaic_program *program, unsigned port, bool image);
/* The port in whose channel a byte of memory.bin lies, or the number of ports; *end: the next byte of another region. */
unsigned moesaic_port_of(const moesaic_program *program, uint64_t offset, uint64_t *end);
/* Where the accelerator sees an offset, in the channel of a port or behind that of the last one. */
uint64_t moesaic_address(const moesaic *device, uint64_t offset, unsigned port);
uint64_t moesaic_slot_bytes(const moesaic_program *program);
uint64_t moesaic_image_offset(const moesaic_program *program, unsigned slot, unsigned port);
uint64_t moesaic_result_offset(const moesaic_program *program, unsigned slot);
uint64_t moesaic_image_row(const moesaic_program *program); /* bytes of a token's patch, with padding */
uint64_t moesaic_token_bytes(const moesaic_program *program);
uint64_t moesaic_item_bytes(const moesaic_program *program);
const uint8_t *moesaic_channel(const moesaic_program *program, unsigned channel); /* mean and deviation of its pixels */
bool moesaic_works_for(const moesaic_program *program, unsigned number, uint32_t instruction, unsigned item);

/* The norm of a patch's pixels: what is subtracted, and what is divided by. */
typedef struct moesaic_norm {
    double centre, unit;
} moesaic_norm;

moesaic_norm moesaic_norm_of(const moesaic_program *program, const moesaic_image *image, uint32_t row, uint32_t column);
int8_t moesaic_normalised(const moesaic_program *program, moesaic_norm norm, unsigned channel, uint8_t pixel);

#endif
