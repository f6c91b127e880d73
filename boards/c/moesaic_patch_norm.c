/* The norm of a patch's pixels. Every operation is one of IEEE 754's on doubles, in the order of golden/patch_norm.py, so
 * that the bits are the same: compile this file without contraction (-std=c11, or -ffp-contract=off), and without
 * -ffast-math. It is the only one that needs the mathematics library (sqrt, rint). */
#include <math.h>

#include "moesaic_internal.h"

static const double step = 1.0 / 16;

typedef struct scaled {
    double scale, offset; /* a pixel is value * scale + offset */
} scaled;

static scaled scale_of(const moesaic_program *program, unsigned channel)
{
    const uint8_t *entry = moesaic_channel(program, channel);
    double mean = moesaic_le_double(entry), std = moesaic_le_double(entry + 8);
    scaled found = {1 / (255 * std), (128.0 / 255 - mean) / std};

    return found;
}

moesaic_norm moesaic_norm_of(const moesaic_program *program, const moesaic_image *image, uint32_t row, uint32_t column)
{
    const moesaic_program *p = program;
    double area = (double)p->patch_height * p->patch_width, count = p->channels * area, mean = 0, square = 0;
    double variance, deviation;
    moesaic_norm norm;

    for (uint32_t c = 0; c < p->channels; ++c) {
        scaled channel = scale_of(p, c);
        double scale = channel.scale, offset = channel.offset, second;
        int64_t total = 0, squares = 0;
        for (uint32_t y = row; y < row + p->patch_height; ++y)
            for (uint32_t x = column; x < column + p->patch_width; ++x) {
                int value = image->data[c * image->channel + y * image->row + x * image->pixel] - 128;
                total += value;
                squares += value * value;
            }
        mean += ((double)total * scale + area * offset) / count;
        second = (double)squares * (scale * scale) + (double)total * (2 * scale * offset);
        square += (second + area * (offset * offset)) / count;
    }
    variance = square;
    norm.centre = 0;
    if (p->norm == 1) {
        norm.centre = mean;
        variance = square - mean * mean;
        if (!(variance > 0))
            variance = 0;
    }
    deviation = sqrt(variance + p->eps);
    norm.unit = (deviation == 0 ? 1.0 : deviation) * step;
    return norm;
}

int8_t moesaic_normalised(const moesaic_program *program, moesaic_norm norm, unsigned channel, uint8_t pixel)
{
    scaled scale = scale_of(program, channel);
    double value = rint(((double)(pixel - 128) * scale.scale + scale.offset - norm.centre) / norm.unit);

    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}
