/* Cases of the library on a simulated accelerator: cases CASE SOCKET FOLDER RUN_NS CYCLE_NS COUNT
 *
 * FOLDER holds the program and images.raw, images [channels][height][width] one behind the other; the tokens of every
 * good run go to results/NAME-NUMBER-TASK.i16, for the test to compare. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moesaic_internal.h"
#include "port_socket.h"

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "cases.c:%d: %s (%s)\n", __LINE__, #what, device.message);                                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#define GOOD(call) CHECK((call) == MOESAIC_E_OK)

static moesaic device;
static moesaic_program program;
static moesaic_port port;
static moesaic_options options;
static moesaic_run_report report;
static moesaic_image images[64];
static FILE *memory_file;
static uint8_t *index_data, *pixels, *result;
static int16_t *tokens;
static unsigned count; /* images that the case runs */
static bool damage;    /* memory.bin is read with a mistake */

static void *contents(const char *folder, const char *name, size_t *bytes)
{
    char path[512];
    FILE *file;
    void *data;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    *bytes = (size_t)ftell(file);
    data = malloc(*bytes); /* exactly: the sanitizer sees one byte more */
    rewind(file);
    CHECK(data != NULL && fread(data, 1, *bytes, file) == *bytes);
    (void)fclose(file);
    return data;
}

static int reader(void *context, uint64_t offset, void *data, size_t bytes)
{
    FILE *file = context;

    if (fseek(file, (long)offset, SEEK_SET) != 0 || fread(data, 1, bytes, file) != bytes)
        return 1;
    if (damage && offset == 0)
        ((uint8_t *)data)[5] ^= 4;
    return 0;
}

/* Saves the tokens of the report's run on the images from `first` on. */
static void keep(const char *name, unsigned first, unsigned images_in)
{
    for (unsigned k = 0; k < moesaic_items(&program, report.program); ++k) {
        moesaic_item item = moesaic_item_at(&program, report.program, k);
        char path[256];
        FILE *file;
        if (item.image >= images_in)
            continue;
        moesaic_tokens(&program, report.program, k, result, tokens);
        (void)snprintf(path, sizeof path, "results/%s-%u-%s.i16", name, first + item.image,
                       moesaic_task_name(&program, item.task));
        file = fopen(path, "wb");
        CHECK(file != NULL);
        CHECK(fwrite(tokens, 2, (size_t)program.tokens * program.dim, file) == (size_t)program.tokens * program.dim);
        (void)fclose(file);
    }
    CHECK(report.counters[MOESAIC_COUNTER_CYCLES] > 0 && report.run_ns > 0);
}

static void open_device(void)
{
    GOOD(moesaic_open(&device, &port, &program, &options));
    GOOD(moesaic_load(&device, reader, memory_file));
}

static void good(const char *name, unsigned number)
{
    GOOD(moesaic_run(&device, number % program.programs, &images[number], 1, result, &report));
    CHECK(report.failures == 0);
    keep(name, number, 1);
}

static moesaic_outcome fails(void)
{
    moesaic_outcome outcome = moesaic_run(&device, 0, images, 1, result, &report);

    CHECK(outcome != MOESAIC_E_OK);
    return outcome;
}

static bool is_error(moesaic_outcome outcome, uint32_t code, uint32_t unit, uint32_t number, uint64_t address)
{
    const moesaic_error *error = &device.error;

    return outcome == MOESAIC_E_ACCELERATOR && error->code == code && error->unit == unit && error->index == number &&
           error->address == address && strncmp(device.message, moesaic_error_name(code), 4) == 0;
}

/* Tasks alternating, by interrupt, two slots: the next image is written while the one before runs. */
static void queue(void)
{
    bool done, slots[MOESAIC_MAX_SLOTS] = {false};
    unsigned taken = 0;

    open_device();
    for (unsigned k = 0; k < count; ++k) {
        GOOD(moesaic_submit(&device, k % program.programs, &images[k], 1, result, &report, &done));
        CHECK(done == (k > 0));
        slots[device.flight.slot] = true;
        if (done)
            keep("queue", taken++, 1);
    }
    GOOD(moesaic_collect(&device, result, &report, &done));
    CHECK(done);
    keep("queue", taken++, 1);
    GOOD(moesaic_collect(&device, result, &report, &done));
    CHECK(!done && taken == count && slots[0] && (slots[1] || options.slots == 1));
    CHECK(socket_interrupts == count);
}

static void one_slot(void)
{
    options.slots = 1;
    count = 2;
    queue();
}

static void bus_error(void)
{
    uint64_t address = port.memory_address + moesaic_port_offset(&program, 0, false) + 1600;
    uint32_t index;

    open_device();
    socket_set("err_addr", (int64_t)address);
    socket_set("err_resp", 2);
    CHECK(fails() == MOESAIC_E_ACCELERATOR);
    index = device.error.index;
    CHECK(is_error(MOESAIC_E_ACCELERATOR, MOESAIC_ERROR_READ_SLVERR, MOESAIC_UNIT_LOAD, index, address));
    socket_set("err_resp", 0);
    good("after_bus_error", 0);
}

static void corrupt(void)
{
    uint64_t address = port.memory_address + moesaic_stream_at(&program, 0, 1).offset + UINT64_C(3) * MOESAIC_INSTRUCTION_BYTES;
    uint8_t instruction[MOESAIC_INSTRUCTION_BYTES];

    open_device();
    CHECK(port.read_memory(port.context, address, instruction, sizeof instruction) == 0);
    instruction[0] |= 15;
    CHECK(port.write_memory(port.context, address, instruction, sizeof instruction) == 0);
    CHECK(is_error(fails(), MOESAIC_ERROR_BAD_OPCODE, MOESAIC_UNIT_COMPUTE, 3, 0));
    /* A second attempt writes the program again, so that this one is good. */
    device.options.retries = 1;
    GOOD(moesaic_run(&device, 0, images, 1, result, &report));
    CHECK(report.failures == 1);
    keep("after_corrupt_instruction", 0, 1);
}

static void soft_reset(void)
{
    open_device();
    socket_later(1500, MOESAIC_CTRL, MOESAIC_CTRL_SOFT_RESET_MASK);
    CHECK(fails() == MOESAIC_E_SOFT_RESET && strncmp(device.message, "SOFT_RESET: ", 12) == 0);
    good("after_soft_reset", 0);
}

static void hardware_reset(void)
{
    open_device();
    socket_later(1500, UINT32_MAX, 0);
    CHECK(fails() == MOESAIC_E_HARDWARE_RESET);
    good("after_hardware_reset", 1);
    socket_reset(); /* between two runs: nothing is lost but the registers */
    good("after_idle_reset", 1);
}

static void abort_run(void)
{
    open_device();
    socket_later(1500, MOESAIC_CTRL, MOESAIC_CTRL_ABORT_MASK);
    CHECK(is_error(fails(), MOESAIC_ERROR_HOST_ABORT, MOESAIC_UNIT_CONTROL, 0, 0));
    good("after_abort", 0);
}

/* A bus that is silent: with the watchdog its error, without it the time-out. */
static void silent(uint64_t cycle_ns)
{
    open_device();
    socket_set("dead_port", 0);
    socket_set("dead_after", 5);
    CHECK(is_error(fails(), MOESAIC_ERROR_WATCHDOG, MOESAIC_UNIT_CONTROL, 0, 0) && device.error.draining);
    CHECK(moesaic_start(&device, 0, 0) == MOESAIC_E_BUSY && strstr(device.message, "draining") != NULL);
    socket_set("dead_after", -1);
    good("after_watchdog", 0);
    socket_set("dead_after", 5);
    device.options.watchdog = 0;
    device.options.timeout_ns = 5000 * cycle_ns;
    CHECK(fails() == MOESAIC_E_TIMEOUT && strstr(device.message, "STATUS busy") != NULL);
    CHECK(strstr(device.message, "the bus owes responses") != NULL);
    socket_set("dead_after", -1);
    device.options = options;
    good("after_timeout", 1);
}

/* Nothing is written while a run lasts, and an interrupted queue costs an attempt and no result. */
static void busy(void)
{
    bool done;

    open_device();
    GOOD(moesaic_write_images(&device, images, 1, 0));
    GOOD(moesaic_start(&device, 0, 0));
    for (int k = 0; k < 3; ++k)
        CHECK(moesaic_start(&device, 1 % program.programs, 0) == MOESAIC_E_BUSY);
    CHECK(strstr(device.message, "STATUS busy") != NULL);
    GOOD(moesaic_wait(&device, report.counters));
    GOOD(moesaic_read_result(&device, 0, result));
    report.program = 0;
    report.run_ns = 1;
    keep("after_busy", 0, 1);
    device.options.retries = 2;
    GOOD(moesaic_submit(&device, 0, &images[0], 1, result, &report, &done));
    CHECK(!done && moesaic_run(&device, 0, images, 1, result, &report) == MOESAIC_E_ARGUMENT);
    CHECK(port.write(port.context, MOESAIC_CTRL, MOESAIC_CTRL_ABORT_MASK) == 0);
    GOOD(moesaic_submit(&device, 1 % program.programs, &images[1], 1, result, &report, &done));
    CHECK(done && report.failures == 1);
    keep("retried", 0, 1);
    GOOD(moesaic_collect(&device, result, &report, &done));
    CHECK(done && report.failures == 0);
    keep("retried", 1, 1);
}

/* What is refused before anything runs, and a run that did less than its program. */
static void refused(void)
{
    moesaic_options small = options;
    uint8_t *marks = (uint8_t *)(uintptr_t)program.program_table + 72 + 48;
    uint32_t value;

    small.workspace_bytes = moesaic_workspace_bytes(&program) - 1;
    CHECK(moesaic_open(&device, &port, &program, &small) == MOESAIC_E_NO_MEMORY);
    small = options;
    small.slots = 0;
    CHECK(moesaic_open(&device, &port, &program, &small) == MOESAIC_E_ARGUMENT);
    port.memory_bytes = moesaic_memory_bytes(&program, 2) - 1;
    CHECK(moesaic_open(&device, &port, &program, &options) == MOESAIC_E_NO_MEMORY);
    ++port.memory_bytes;
    program.config_hash ^= 1;
    CHECK(moesaic_open(&device, &port, &program, &options) == MOESAIC_E_WRONG_ACCELERATOR);
    program.config_hash ^= 1;
    damage = true;
    GOOD(moesaic_open(&device, &port, &program, &options));
    CHECK(moesaic_load(&device, reader, memory_file) == MOESAIC_E_PROGRAM);
    CHECK(moesaic_start(&device, 0, 0) == MOESAIC_E_ARGUMENT);
    damage = false;
    open_device();
    CHECK(port.write(port.context, MOESAIC_ID, 1) != 0 && port.read(port.context, 0x7FC, &value) != 0);
    CHECK(moesaic_run(&device, program.programs, images, 1, result, &report) == MOESAIC_E_ARGUMENT);
    CHECK(moesaic_run(&device, 0, images, program.images + 1, result, &report) == MOESAIC_E_ARGUMENT);
    ++*marks; /* as if the program had a block more */
    CHECK(fails() == MOESAIC_E_INCOMPLETE && strncmp(device.message, "INCOMPLETE: ", 12) == 0);
    --*marks;
    good("after_incomplete", 0);
}

/* Two images and two tasks in one program; an error in one image names its items. */
static void batch(void)
{
    uint64_t image = port.memory_address + moesaic_image_offset(&program, 0, 0);

    open_device();
    GOOD(moesaic_run(&device, 0, images, 2, result, &report));
    keep("batch", 0, 2);
    GOOD(moesaic_run(&device, 0, &images[1], 1, result, &report));
    keep("filled", 1, 1);
    socket_set("err_addr", (int64_t)image);
    socket_set("err_resp", 2);
    CHECK(fails() == MOESAIC_E_ACCELERATOR && device.error.code == MOESAIC_ERROR_READ_SLVERR);
    CHECK(strstr(device.message, ", of image 0, x; image 0, y") != NULL);
    CHECK(moesaic_concerns(&device, 0) && !moesaic_concerns(&device, 1) && moesaic_concerns(&device, 2));
    socket_set("err_resp", 0);
    GOOD(moesaic_run(&device, 0, images, 2, result, &report));
    keep("after_batch_error", 0, 2);
}

static void set_up(const char *folder, int file, uint64_t run_ns)
{
    char path[512];
    size_t bytes, size, images_bytes;

    index_data = contents(folder, "program.bin", &bytes);
    GOOD(moesaic_program_open(&program, index_data, bytes, device.message, sizeof device.message));
    pixels = contents(folder, "images.raw", &images_bytes);
    size = (size_t)program.channels * program.height * program.width;
    CHECK(images_bytes % size == 0 && images_bytes / size <= sizeof images / sizeof *images);
    for (size_t k = 0; k < images_bytes / size; ++k)
        images[k] = moesaic_planar(&program, pixels + k * size);
    (void)snprintf(path, sizeof path, "%s/memory.bin", folder);
    memory_file = fopen(path, "rb");
    CHECK(memory_file != NULL);
    options = moesaic_default_options();
    options.watchdog = 3000;
    options.timeout_ns = run_ns;
    options.workspace_bytes = moesaic_workspace_bytes(&program);
    options.workspace = malloc(options.workspace_bytes);
    result = malloc((size_t)program.result_bytes);
    tokens = malloc(2 * (size_t)program.tokens * program.dim);
    port = socket_port(file);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {
        {"queue", queue},           {"one_slot", one_slot},
        {"bus_error", bus_error},   {"corrupt", corrupt},
        {"soft_reset", soft_reset}, {"hardware_reset", hardware_reset},
        {"abort", abort_run},       {"busy", busy},
        {"refused", refused},       {"batch", batch},
    };
    bool found = false;

    CHECK(argc == 7);
    set_up(argv[3], atoi(argv[2]), strtoull(argv[4], NULL, 10));
    count = (unsigned)atoi(argv[6]);
    if ((found = strcmp(argv[1], "silent") == 0))
        silent(strtoull(argv[5], NULL, 10));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; ++k)
        if (strcmp(argv[1], cases[k].name) == 0) {
            found = true;
            cases[k].run();
        }
    CHECK(found);
    GOOD(moesaic_close(&device));
    socket_quit();
    (void)fclose(memory_file);
    free(index_data);
    free(pixels);
    free(options.workspace);
    free(result);
    free(tokens);
    return 0;
}
