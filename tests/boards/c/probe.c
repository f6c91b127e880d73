/* Parts of the library by themselves:
 *
 *     probe pack PROGRAM IMAGES PARTS          packs images [channels][height][width], and the same interleaved
 *     probe damage PROGRAM COUNT               opens COUNT files that differ from PROGRAM, with digests that fit
 *     probe linux WHERE DEV SYS                the port of Linux on files that stand for devices
 *     probe bare                               the port without an operating system on arrays
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moesaic_bare.h"
#include "moesaic_internal.h"
#include "moesaic_linux.h"
#include "moesaic_sha256.h"

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "probe.c:%d: %s (%s)\n", __LINE__, #what, message);                                        \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static char message[MOESAIC_MESSAGE_BYTES];

static uint8_t *contents(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data;

    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    *bytes = (size_t)ftell(file);
    rewind(file);
    data = malloc(*bytes);
    CHECK(data != NULL && fread(data, 1, *bytes, file) == *bytes);
    (void)fclose(file);
    return data;
}

static int pack(char **argv)
{
    moesaic_program p;
    moesaic_image images[MOESAIC_MAX_IMAGES];
    size_t index_bytes, bytes, size, area;
    uint8_t *index = contents(argv[0], &index_bytes), *pixels = contents(argv[1], &bytes), *turned, *parts, *again;
    FILE *file;

    CHECK(moesaic_program_open(&p, index, index_bytes, message, sizeof message) == MOESAIC_E_OK);
    area = (size_t)p.height * p.width;
    size = p.channels * area;
    CHECK(bytes == p.images * size);
    parts = malloc((size_t)(p.ports * p.image_bytes));
    again = malloc((size_t)(p.ports * p.image_bytes));
    turned = malloc(bytes);
    for (unsigned n = 0; n < p.images; ++n) {
        for (size_t k = 0; k < area; ++k)
            for (unsigned c = 0; c < p.channels; ++c)
                turned[n * size + k * p.channels + c] = pixels[n * size + c * area + k];
        images[n] = moesaic_planar(&p, pixels + n * size);
    }
    moesaic_pack(&p, images, parts);
    for (unsigned n = 0; n < p.images; ++n)
        images[n] = moesaic_interleaved(&p, turned + n * size);
    moesaic_pack(&p, images, again);
    CHECK(memcmp(parts, again, (size_t)(p.ports * p.image_bytes)) == 0);
    file = fopen(argv[2], "wb");
    CHECK(file != NULL && fwrite(parts, 1, (size_t)(p.ports * p.image_bytes), file) == p.ports * p.image_bytes);
    (void)fclose(file);
    free(index);
    free(pixels);
    free(turned);
    free(parts);
    free(again);
    return 0;
}

/* All that can be asked of a program: with sizes that contradict each other, some access would leave the file. */
static uint64_t use(const moesaic_program *p)
{
    uint64_t sum = moesaic_workspace_bytes(p) + moesaic_memory_bytes(p, 2) + moesaic_result_offset(p, 1);

    for (unsigned k = 0; k < p->programs; ++k) {
        sum += strlen(moesaic_program_name(p, k)) + moesaic_marks(p, k) + (unsigned)moesaic_find(p, "x");
        for (unsigned n = 0; n < moesaic_items(p, k) && n < 600; ++n) {
            moesaic_item item = moesaic_item_at(p, k, n);
            sum += strlen(moesaic_task_name(p, item.task)) + moesaic_works_for(p, k, 7, n);
            if ((item.place + 1) * moesaic_item_bytes(p) > p->result_bytes)
                abort();
        }
    }
    return sum;
}

static int damage(char **argv)
{
    size_t bytes;
    uint8_t *good = contents(argv[0], &bytes), *bad = malloc(bytes);
    unsigned accepted = 0;
    uint64_t sum = 0;

    srand(7);
    for (long k = 0; k < atol(argv[1]); ++k) {
        moesaic_program p;
        moesaic_sha256 hash;
        size_t size = rand() % 4 == 0 ? (size_t)rand() % bytes : bytes;
        memcpy(bad, good, bytes);
        for (int n = rand() % 3; n >= 0; --n) { /* one to three fields; small offsets are the fixed ones */
            size_t at = (size_t)rand() % (rand() % 2 == 0 ? bytes : 200);
            bad[at] = rand() % 2 == 0 ? (uint8_t)rand() : (uint8_t)(bad[at] + (rand() % 3 - 1));
        }
        if (size > 48) {
            bad[12] = (uint8_t)size;
            bad[13] = (uint8_t)(size >> 8);
            bad[14] = (uint8_t)(size >> 16);
            moesaic_sha256_start(&hash);
            moesaic_sha256_add(&hash, bad, size - 32);
            moesaic_sha256_end(&hash, bad + size - 32);
        }
        if (moesaic_program_open(&p, bad, size, message, sizeof message) == MOESAIC_E_OK) {
            ++accepted;
            sum += use(&p);
        } else {
            CHECK(message[0] != 0);
        }
    }
    printf("%u %u\n", accepted, (unsigned)(sum != 0));
    free(good);
    free(bad);
    return 0;
}

static void copies(const moesaic_port *port)
{
    uint8_t data[103], back[103];

    for (unsigned k = 0; k < sizeof data; ++k)
        data[k] = (uint8_t)(k * 7 + 1);
    for (unsigned at = 0; at < 9; ++at)
        for (size_t bytes = 0; bytes <= sizeof data; bytes += 17) {
            memset(back, 0, sizeof back);
            CHECK(port->write_memory(port->context, port->memory_address + 4096 + at, data, bytes) == 0);
            CHECK(port->read_memory(port->context, port->memory_address + 4096 + at, back, bytes) == 0);
            CHECK(memcmp(data, back, bytes) == 0);
        }
}

static int on_linux(char **argv)
{
    static moesaic_linux linux_port;
    moesaic_port port;
    uint32_t value = 0;
    uint8_t byte = 0;

    if (moesaic_linux_open_at(&linux_port, argv[0], argv[1], argv[2], &port, message, sizeof message) != MOESAIC_E_OK) {
        printf("%s\n", message);
        return 1;
    }
    CHECK(port.write(port.context, MOESAIC_WATCHDOG, 12345) == 0);
    CHECK(port.read(port.context, MOESAIC_WATCHDOG, &value) == 0 && value == 12345);
    copies(&port);
    CHECK(port.write_memory(port.context, port.memory_address + port.memory_bytes, &byte, 1) != 0);
    CHECK(port.write_memory(port.context, port.memory_address - 1, &byte, 1) != 0);
    CHECK(port.write_memory(port.context, port.memory_address + port.memory_bytes - 1, &byte, 1) == 0);
    CHECK(port.wait_interrupt(port.context, 1000) == (linux_port.polls ? 0 : 1)); /* a file is always ready */
    CHECK(port.now_ns(port.context) <= port.now_ns(port.context));
    printf("0x%llx %llu\n", (unsigned long long)port.memory_address, (unsigned long long)port.memory_bytes);
    moesaic_linux_close(&linux_port);
    return 0;
}

static uint64_t ticks;
static unsigned flushed, dropped;

static uint64_t tick(void)
{
    return ticks += 10;
}

static bool after_a_while(void)
{
    return ticks > 300;
}

static void flush(uintptr_t address, size_t bytes)
{
    (void)address;
    flushed += bytes > 0;
}

static void drop(uintptr_t address, size_t bytes)
{
    (void)address;
    dropped += bytes > 0;
}

static int bare(void)
{
    static uint32_t registers[1024];
    static uint64_t memory[1024];
    moesaic_bare place = {(uintptr_t)registers, (uintptr_t)memory, 0x10000000, sizeof memory, tick, NULL, NULL, NULL};
    moesaic_port port = moesaic_bare_port(&place);
    uint32_t value = 0;

    CHECK(port.write(port.context, MOESAIC_WATCHDOG, 99) == 0 && registers[MOESAIC_WATCHDOG / 4] == 99);
    CHECK(port.read(port.context, MOESAIC_WATCHDOG, &value) == 0 && value == 99);
    copies(&port);
    CHECK(port.wait_interrupt(port.context, 50) == 0);
    place.interrupt = after_a_while;
    place.flush = flush;
    place.invalidate = drop;
    copies(&port);
    CHECK(flushed > 0 && dropped == flushed);
    CHECK(port.wait_interrupt(port.context, 50) == 0 && port.wait_interrupt(port.context, 1000) == 1);
    return 0;
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    if (strcmp(argv[1], "pack") == 0 && argc == 5)
        return pack(argv + 2);
    if (strcmp(argv[1], "damage") == 0 && argc == 4)
        return damage(argv + 2);
    if (strcmp(argv[1], "linux") == 0 && argc == 5)
        return on_linux(argv + 2);
    CHECK(strcmp(argv[1], "bare") == 0);
    return bare();
}
