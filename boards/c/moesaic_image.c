/* Images to the bytes that the accelerator reads, and tokens from those that it writes. */
#include <string.h>

#include "moesaic_internal.h"

/* The stream of all ports: beat k of port p is the stream's beat k * ports + p. */
typedef struct moesaic_writer {
    const moesaic_program *program;
    uint8_t *parts;
    uint32_t within, port;
    uint64_t beat;
} moesaic_writer;

static void put(moesaic_writer *writer, uint8_t value)
{
    const moesaic_program *p = writer->program;

    writer->parts[writer->port * p->image_bytes + writer->beat * p->beat_bytes + writer->within] = value;
    if (++writer->within < p->beat_bytes)
        return;
    writer->within = 0;
    if (++writer->port == p->ports) {
        writer->port = 0;
        ++writer->beat;
    }
}

static uint8_t pixel(const moesaic_image *image, uint32_t channel, uint32_t row, uint32_t column)
{
    return image->data[channel * image->channel + row * image->row + column * image->pixel];
}

static void put_patch(moesaic_writer *writer, const moesaic_image *image, uint32_t row, uint32_t column)
{
    const moesaic_program *p = writer->program;
    moesaic_norm norm = {0, 1};

    if (p->norm != 0)
        norm = moesaic_norm_of(p, image, row, column);
    for (uint32_t c = 0; c < p->channels; ++c)
        for (uint32_t y = row; y < row + p->patch_height; ++y)
            for (uint32_t x = column; x < column + p->patch_width; ++x) {
                uint8_t value = pixel(image, c, y, x);
                put(writer, p->norm != 0 ? (uint8_t)moesaic_normalised(p, norm, c, value) : (uint8_t)(value ^ 0x80));
            }
}

moesaic_image moesaic_interleaved(const moesaic_program *program, const uint8_t *data)
{
    moesaic_image image = {data, 1, (size_t)program->width * program->channels, program->channels};

    return image;
}

moesaic_image moesaic_planar(const moesaic_program *program, const uint8_t *data)
{
    moesaic_image image = {data, (size_t)program->height * program->width, program->width, 1};

    return image;
}

void moesaic_pack(const moesaic_program *program, const moesaic_image *images, uint8_t *parts)
{
    moesaic_writer writer = {program, parts, 0, 0, 0};
    uint64_t row = moesaic_image_row(program), values = (uint64_t)program->channels * program->patch_height * program->patch_width;

    memset(parts, 0, (size_t)(program->ports * program->image_bytes));
    for (uint32_t n = 0; n < program->images; ++n) {
        for (uint64_t k = 0; k < program->prefix_tokens * row; ++k)
            put(&writer, 0);
        for (uint32_t y = 0; y < program->height; y += program->patch_height)
            for (uint32_t x = 0; x < program->width; x += program->patch_width) {
                put_patch(&writer, &images[n], y, x);
                for (uint64_t k = values; k < row; ++k)
                    put(&writer, 0);
            }
    }
}

void moesaic_tokens(const moesaic_program *program, unsigned number, unsigned item, const uint8_t *result, int16_t *tokens)
{
    uint64_t row = moesaic_token_bytes(program);
    const uint8_t *from = result + moesaic_item_at(program, number, item).place * moesaic_item_bytes(program);

    for (uint32_t t = 0; t < program->tokens; ++t, from += row)
        for (uint32_t d = 0; d < program->dim; ++d)
            *tokens++ = (int16_t)(from[2 * d] | from[2 * d + 1] << 8);
}
