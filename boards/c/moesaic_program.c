/* Reads program.bin: fixed fields, tables, and a digest of all that is before it. compiler/program_file.py writes it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "moesaic_internal.h"
#include "moesaic_sha256.h"

enum {
    FORMAT = 1,
    NAME = 72,
    DIGEST = 32,
    HEAD = 16,
    WORDS = 23,
    FIXED = HEAD + DIGEST + 4 * WORDS + 8 * 7 + 2 * NAME,
    PORT = 16,
    CHANNEL = 16,
    STREAMS = 3,
    PROGRAM = NAME + STREAMS * 16 + 4 * 5,
    ITEM = 12,
    OWN = 16,
    MEMBER = 4,
    PAGE = 4096,
    MOST = 1 << 24, /* of any size in the file: products of two fit 64 bits */
    MOST_MEMORY = 1 << 30,
    CHUNK = 1 << 16 /* bytes of memory.bin at a time */
};

uint32_t moesaic_le32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

uint64_t moesaic_le64(const uint8_t *bytes)
{
    return moesaic_le32(bytes) | (uint64_t)moesaic_le32(bytes + 4) << 32;
}

double moesaic_le_double(const uint8_t *bytes)
{
    uint64_t bits = moesaic_le64(bytes);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

void moesaic_say(char *message, size_t bytes, const char *format, ...)
{
    va_list values;

    if (message == NULL || bytes == 0)
        return;
    va_start(values, format);
    (void)vsnprintf(message, bytes, format, values);
    va_end(values);
}

static uint64_t pages(uint64_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* The fixed fields. */
static void read_fields(moesaic_program *p)
{
    uint32_t *words[WORDS] = {
        &p->version,  &p->config_hash,   &p->ports,    &p->beat_bytes, &p->lanes,  &p->word_bytes,
        &p->max_burst, &p->addr_bits,    &p->images,   &p->tokens,     &p->prefix_tokens, &p->dim,
        &p->channels, &p->height,        &p->width,    &p->patch_height, &p->patch_width, &p->norm,
        &p->tasks,    &p->programs,      &p->items,    &p->own,        &p->members,
    };
    uint64_t *wide[5] = {&p->address, &p->memory_bytes, &p->result_offset, &p->result_bytes, &p->image_bytes};
    const uint8_t *next = p->index + HEAD;

    p->memory_sha256 = next;
    next += DIGEST;
    for (unsigned k = 0; k < WORDS; ++k, next += 4)
        *words[k] = moesaic_le32(next);
    for (unsigned k = 0; k < 5; ++k, next += 8)
        *wide[k] = moesaic_le64(next);
    p->eps = moesaic_le_double(next);
    p->step = moesaic_le_double(next + 8);
    p->network = (const char *)next + 16;
    p->accelerator = p->network + NAME;
}

/* The tables, one behind the other; whether they end where the digest begins. */
static bool place_tables(moesaic_program *p)
{
    struct {
        const uint8_t **table;
        uint64_t bytes;
    } const parts[] = {
        {&p->port_table, (uint64_t)PORT * p->ports},
        {&p->channel_table, (uint64_t)CHANNEL * p->channels},
        {&p->task_table, (uint64_t)NAME * p->tasks},
        {&p->program_table, (uint64_t)PROGRAM * p->programs},
        {&p->item_table, (uint64_t)ITEM * p->items},
        {&p->own_table, (uint64_t)OWN * p->own},
        {&p->member_table, (uint64_t)MEMBER * p->members},
    };
    uint64_t offset = FIXED, end = p->index_bytes - DIGEST;

    for (size_t k = 0; k < sizeof parts / sizeof *parts; ++k) {
        if (parts[k].bytes > end - offset)
            return false;
        *parts[k].table = p->index + offset;
        offset += parts[k].bytes;
    }
    return offset == end;
}

/* Sizes that fit each other: what is computed from them later cannot leave any memory. */
static const char *wrong_size(const moesaic_program *p)
{
    uint64_t grid = (uint64_t)p->height * p->width, stream;
    const uint32_t sizes[] = {p->ports,  p->beat_bytes, p->lanes,    p->word_bytes, p->max_burst,    p->images,
                              p->tokens, p->dim,        p->channels, p->height,     p->patch_height, p->width,
                              p->patch_width, p->tasks, p->programs, p->items};

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; ++k)
        if (sizes[k] == 0 || sizes[k] > MOST)
            return "a size is zero or too large";
    if (p->ports > MOESAIC_MAX_PORTS || p->norm > 2 || p->addr_bits < 1 || p->addr_bits > 64 || p->images > MOESAIC_MAX_IMAGES)
        return "ports, norm, address bits or images";
    if (p->beat_bytes > 4096 || p->word_bytes > 1 << 16 || p->lanes > 1 << 16 || p->channels > 1 << 12)
        return "widths";
    if (p->height % p->patch_height || p->width % p->patch_width || grid > MOST)
        return "the patches do not tile the image";
    if (p->tokens != grid / p->patch_height / p->patch_width + p->prefix_tokens || p->prefix_tokens > MOST)
        return "tokens are not patches and learnt tokens";
    if (p->memory_bytes == 0 || p->memory_bytes > MOST_MEMORY || p->memory_bytes % PAGE)
        return "the memory is not whole pages";
    if (p->image_bytes > p->memory_bytes || p->result_bytes > p->memory_bytes ||
        p->result_offset > p->memory_bytes - p->result_bytes)
        return "the result does not lie in the memory";
    stream = (uint64_t)p->images * p->tokens * moesaic_image_row(p);
    if ((stream + p->word_bytes - 1) / p->word_bytes * p->word_bytes != p->image_bytes * p->ports ||
        p->image_bytes % p->beat_bytes)
        return "the image's region does not hold the images";
    return NULL;
}

static bool is_name(const uint8_t *name)
{
    return name[0] != 0 && memchr(name, 0, NAME) != NULL;
}

static const char *wrong_program(const moesaic_program *p, unsigned number)
{
    const uint8_t *entry = p->program_table + (size_t)PROGRAM * number, *words = entry + NAME + STREAMS * 16;
    uint32_t first = moesaic_le32(words + 4), count = moesaic_le32(words + 8);
    uint32_t own = moesaic_le32(words + 12), owns = moesaic_le32(words + 16);

    if (!is_name(entry))
        return "the name of a program";
    for (unsigned s = 0; s < STREAMS; ++s) {
        moesaic_stream stream = moesaic_stream_at(p, number, s);
        if (stream.count > MOST || stream.offset > p->memory_bytes ||
            stream.count * MOESAIC_INSTRUCTION_BYTES > p->memory_bytes - stream.offset)
            return "instructions do not lie in the memory";
    }
    if (count == 0 || first > p->items || count > p->items - first || own > p->own || owns > p->own - own)
        return "items of a program";
    for (unsigned k = first; k < first + count; ++k) {
        const uint8_t *item = p->item_table + (size_t)ITEM * k;
        uint64_t place = moesaic_le32(item + 8);
        if (moesaic_le32(item) >= p->images || moesaic_le32(item + 4) >= p->tasks ||
            (place + 1) * moesaic_item_bytes(p) > p->result_bytes)
            return "an item";
    }
    for (unsigned k = own; k < own + owns; ++k) {
        const uint8_t *run = p->own_table + (size_t)OWN * k;
        uint32_t at = moesaic_le32(run + 8), members = moesaic_le32(run + 12);
        if (at > p->members || members > p->members - at)
            return "items of an instruction";
    }
    return NULL;
}

static const char *wrong_tables(const moesaic_program *p)
{
    for (unsigned k = 0; k < p->ports; ++k)
        if (moesaic_port_offset(p, k, false) > p->memory_bytes ||
            moesaic_port_offset(p, k, true) > p->memory_bytes - p->image_bytes)
            return "a port's regions do not lie in the memory";
    for (unsigned k = 0; k < p->tasks; ++k)
        if (!is_name(p->task_table + (size_t)NAME * k))
            return "the name of a task";
    for (unsigned k = 0; k < p->programs; ++k) {
        const char *wrong = wrong_program(p, k);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

moesaic_outcome moesaic_program_open(moesaic_program *program, const void *index, size_t bytes, char *message,
                                     size_t message_bytes)
{
    static const uint8_t magic[8] = "MOESAIC";
    moesaic_sha256 hash;
    uint8_t digest[DIGEST];
    const char *wrong;

    memset(program, 0, sizeof *program);
    program->index = index;
    program->index_bytes = bytes;
    if (index == NULL || bytes < FIXED + DIGEST || memcmp(index, magic, sizeof magic) != 0) {
        moesaic_say(message, message_bytes, "program.bin must be a file that `moesaic compile` wrote");
        return MOESAIC_E_PROGRAM;
    }
    if (moesaic_le32(program->index + 8) != FORMAT) {
        moesaic_say(message, message_bytes, "program.bin must be of format %d, not %" PRIu32 ": compile again", FORMAT,
                    moesaic_le32(program->index + 8));
        return MOESAIC_E_PROGRAM;
    }
    moesaic_sha256_start(&hash);
    moesaic_sha256_add(&hash, index, bytes - DIGEST);
    moesaic_sha256_end(&hash, digest);
    if (moesaic_le32(program->index + 12) != bytes || memcmp(digest, program->index + bytes - DIGEST, DIGEST) != 0) {
        moesaic_say(message, message_bytes, "program.bin is damaged: its SHA-256 is not the one it ends with");
        return MOESAIC_E_PROGRAM;
    }
    read_fields(program);
    wrong = wrong_size(program);
    if (wrong == NULL && (!is_name((const uint8_t *)program->network) || !is_name((const uint8_t *)program->accelerator)))
        wrong = "names";
    if (wrong == NULL && !place_tables(program))
        wrong = "its tables are not as long as it says";
    if (wrong == NULL)
        wrong = wrong_tables(program);
    if (wrong != NULL) {
        moesaic_say(message, message_bytes, "program.bin contradicts itself: %s", wrong);
        return MOESAIC_E_PROGRAM;
    }
    return MOESAIC_E_OK;
}

size_t moesaic_workspace_bytes(const moesaic_program *program)
{
    uint64_t parts = program->image_bytes * program->ports;

    return (size_t)(parts > CHUNK ? parts : CHUNK);
}

uint64_t moesaic_slot_bytes(const moesaic_program *program)
{
    return program->ports * pages(program->image_bytes) + pages(program->result_bytes);
}

uint64_t moesaic_memory_bytes(const moesaic_program *program, unsigned slots)
{
    return program->memory_bytes + (slots > 1 ? slots - 1 : 0) * moesaic_slot_bytes(program);
}

uint64_t moesaic_image_offset(const moesaic_program *program, unsigned slot, unsigned port)
{
    if (slot == 0)
        return moesaic_port_offset(program, port, true);
    return program->memory_bytes + (slot - 1) * moesaic_slot_bytes(program) + port * pages(program->image_bytes);
}

uint64_t moesaic_result_offset(const moesaic_program *program, unsigned slot)
{
    return slot == 0 ? program->result_offset : moesaic_image_offset(program, slot, program->ports);
}

uint64_t moesaic_port_offset(const moesaic_program *program, unsigned port, bool image)
{
    return moesaic_le64(program->port_table + (size_t)PORT * port + (image ? 8 : 0));
}

unsigned moesaic_port_of(const moesaic_program *program, uint64_t offset, uint64_t *end)
{
    unsigned ports = program->ports, found = ports, streams = STREAMS * program->programs;
    uint64_t start = 0;

    *end = program->memory_bytes;
    for (unsigned k = 0; k < 2 * ports + streams + 1; ++k) { /* weights, images, instructions, result */
        uint64_t first = k < 2 * ports ? moesaic_port_offset(program, k / 2, k % 2)
                         : k < 2 * ports + streams
                             ? moesaic_stream_at(program, (k - 2 * ports) / STREAMS, (k - 2 * ports) % STREAMS).offset
                             : program->result_offset;
        if (first <= offset && first >= start) {
            start = first;
            found = k < 2 * ports ? k / 2 : ports;
        } else if (first > offset && first < *end) {
            *end = first;
        }
    }
    return found;
}

const uint8_t *moesaic_channel(const moesaic_program *program, unsigned channel)
{
    return program->channel_table + (size_t)CHANNEL * channel;
}

moesaic_stream moesaic_stream_at(const moesaic_program *program, unsigned number, unsigned stream)
{
    const uint8_t *entry = program->program_table + (size_t)PROGRAM * number + NAME + 16 * stream;
    moesaic_stream found = {moesaic_le64(entry), moesaic_le64(entry + 8)};

    return found;
}

static const uint8_t *program_words(const moesaic_program *program, unsigned number)
{
    return program->program_table + (size_t)PROGRAM * number + NAME + STREAMS * 16;
}

uint32_t moesaic_marks(const moesaic_program *program, unsigned number)
{
    return moesaic_le32(program_words(program, number));
}

uint64_t moesaic_image_row(const moesaic_program *program)
{
    uint64_t values = (uint64_t)program->channels * program->patch_height * program->patch_width;

    return (values + program->lanes - 1) / program->lanes * program->lanes;
}

uint64_t moesaic_token_bytes(const moesaic_program *program)
{
    return ((uint64_t)program->dim + program->lanes - 1) / program->lanes * program->lanes * 2;
}

uint64_t moesaic_item_bytes(const moesaic_program *program)
{
    return program->tokens * moesaic_token_bytes(program);
}

int moesaic_find(const moesaic_program *program, const char *name)
{
    for (unsigned k = 0; k < program->programs; ++k)
        if (strcmp(moesaic_program_name(program, k), name) == 0)
            return (int)k;
    return -1;
}

const char *moesaic_program_name(const moesaic_program *program, unsigned number)
{
    return number < program->programs ? (const char *)program->program_table + (size_t)PROGRAM * number : "";
}

const char *moesaic_task_name(const moesaic_program *program, unsigned task)
{
    return task < program->tasks ? (const char *)program->task_table + (size_t)NAME * task : "";
}

unsigned moesaic_items(const moesaic_program *program, unsigned number)
{
    return moesaic_le32(program_words(program, number) + 8);
}

moesaic_item moesaic_item_at(const moesaic_program *program, unsigned number, unsigned item)
{
    const uint8_t *entry = program->item_table + (size_t)ITEM * (moesaic_le32(program_words(program, number) + 4) + item);
    moesaic_item found = {moesaic_le32(entry), moesaic_le32(entry + 4), moesaic_le32(entry + 8)};

    return found;
}

bool moesaic_works_for(const moesaic_program *program, unsigned number, uint32_t instruction, unsigned item)
{
    const uint8_t *words = program_words(program, number);
    const uint8_t *run = program->own_table + (size_t)OWN * moesaic_le32(words + 12);

    for (uint32_t k = 0; k < moesaic_le32(words + 16); ++k, run += OWN) {
        uint32_t first = moesaic_le32(run);
        if (instruction < first || instruction - first >= moesaic_le32(run + 4))
            continue;
        for (uint32_t m = 0; m < moesaic_le32(run + 12); ++m)
            if (moesaic_le32(program->member_table + (size_t)MEMBER * (moesaic_le32(run + 8) + m)) == item)
                return true;
        return false;
    }
    return true;
}
