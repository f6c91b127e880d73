/* The driver: loads, starts, waits, and says what went wrong. The same steps as boards/driver.py. */
#include "moesaic.h"

#include <inttypes.h>
#include <string.h>

#include "moesaic_internal.h"
#include "moesaic_sha256.h"

enum {
    CLEAR_POLLS = 4,     /* reads of STATUS for the few cycles of a clear, which look like a run */
    DRAIN_POLLS = 1000,  /* for which a start waits while an earlier run drains */
    RESET_POLLS = 10000, /* in which a soft reset must have made the accelerator idle */
    PAGE = 4096
};

#define SAY(device, ...) moesaic_say((device)->message, sizeof(device)->message, __VA_ARGS__)
#define BASE(port) (MOESAIC_PORT_BYTES * (uint32_t)(port))

/* --- registers --------------------------------------------------------------------------------------------------- */

static moesaic_outcome get(moesaic *d, uint32_t offset, uint32_t *value)
{
    if (d->port->read(d->port->context, offset, value) == 0)
        return MOESAIC_E_OK;
    SAY(d, "register 0x%03" PRIX32 " could not be read: is the bitstream loaded?", offset);
    return MOESAIC_E_BUS;
}

static moesaic_outcome set(moesaic *d, uint32_t offset, uint32_t value)
{
    if (d->port->write(d->port->context, offset, value) == 0)
        return MOESAIC_E_OK;
    SAY(d, "register 0x%03" PRIX32 " could not be written: is the bitstream loaded?", offset);
    return MOESAIC_E_BUS;
}

static moesaic_outcome get64(moesaic *d, uint32_t offset, uint64_t *value)
{
    uint32_t low = 0, high = 0;
    moesaic_outcome outcome = get(d, offset, &low);

    if (outcome == MOESAIC_E_OK)
        outcome = get(d, offset + 4, &high);
    *value = (uint64_t)high << 32 | low;
    return outcome;
}

static moesaic_outcome set64(moesaic *d, uint32_t offset, uint64_t value)
{
    moesaic_outcome outcome = set(d, offset, (uint32_t)value);

    return outcome == MOESAIC_E_OK ? set(d, offset + 4, (uint32_t)(value >> 32)) : outcome;
}

static moesaic_outcome clear_interrupts(moesaic *d)
{
    return set(d, MOESAIC_IRQ_STATUS, MOESAIC_IRQ_STATUS_DONE_MASK | MOESAIC_IRQ_STATUS_ERROR_MASK);
}

static uint64_t now(const moesaic *d)
{
    return d->port->now_ns(d->port->context);
}

moesaic_outcome moesaic_counters(moesaic *device, uint64_t counters[MOESAIC_COUNTERS])
{
    moesaic_outcome outcome = MOESAIC_E_OK;

    for (unsigned k = 0; outcome == MOESAIC_E_OK && k < MOESAIC_COUNTERS; ++k) {
        uint32_t word = 0;
        if (moesaic_counter_table[k].bits == 64) {
            outcome = get64(device, moesaic_counter_table[k].offset, &counters[k]);
        } else {
            outcome = get(device, moesaic_counter_table[k].offset, &word);
            counters[k] = word;
        }
    }
    return outcome;
}

static moesaic_outcome read_error(moesaic *d, moesaic_error *error)
{
    uint32_t word = 0, status = 0;
    moesaic_outcome outcome = get(d, MOESAIC_ERROR_CODE, &error->code);

    if (outcome == MOESAIC_E_OK)
        outcome = get64(d, MOESAIC_ERROR_ADDR_LO, &error->address);
    if (outcome == MOESAIC_E_OK)
        outcome = get(d, MOESAIC_ERROR_INSTRUCTION, &word);
    if (outcome == MOESAIC_E_OK)
        outcome = get(d, MOESAIC_STATUS, &status);
    error->unit = (word & MOESAIC_ERROR_INSTRUCTION_UNIT_MASK) >> MOESAIC_ERROR_INSTRUCTION_UNIT_SHIFT;
    error->index = (word & MOESAIC_ERROR_INSTRUCTION_INDEX_MASK) >> MOESAIC_ERROR_INSTRUCTION_INDEX_SHIFT;
    error->draining = (status & MOESAIC_STATUS_DRAINING_MASK) != 0;
    return outcome;
}

/* The state as text, behind `what`. */
static moesaic_outcome describe(moesaic *d, const char *what, moesaic_outcome outcome)
{
    uint32_t status = 0, irqs = 0;
    uint64_t counters[MOESAIC_COUNTERS];
    moesaic_error error = {0};
    char end[120] = "";

    if (get(d, MOESAIC_STATUS, &status) != MOESAIC_E_OK || get(d, MOESAIC_IRQ_STATUS, &irqs) != MOESAIC_E_OK ||
        read_error(d, &error) != MOESAIC_E_OK || moesaic_counters(d, counters) != MOESAIC_E_OK)
        return MOESAIC_E_BUS;
    if (error.code != MOESAIC_ERROR_NONE)
        moesaic_say(end, sizeof end, ", ERROR %s of %s %" PRIu32 " at 0x%" PRIx64, moesaic_error_name(error.code),
                    moesaic_unit_name(error.unit), error.index, error.address);
    SAY(d, "%sSTATUS%s%s%s%s%s, IRQ_STATUS 0x%" PRIx32 "%s, cycle %" PRIu64 ", %" PRIu64 " instructions and %" PRIu64
           " blocks done",
        what, status & MOESAIC_STATUS_BUSY_MASK ? " busy" : " idle", status & MOESAIC_STATUS_DONE_MASK ? " done" : "",
        status & MOESAIC_STATUS_ERROR_MASK ? " error" : "", status & MOESAIC_STATUS_DRAINING_MASK ? " draining" : "",
        status & MOESAIC_STATUS_START_REFUSED_MASK ? " start_refused" : "", irqs, end, counters[MOESAIC_COUNTER_CYCLES],
        counters[MOESAIC_COUNTER_INSTRUCTIONS_RETIRED], counters[MOESAIC_COUNTER_MARKS]);
    return outcome;
}

moesaic_outcome moesaic_status(moesaic *device)
{
    return describe(device, "", MOESAIC_E_OK);
}

/* --- opening and loading ----------------------------------------------------------------------------------------- */

static moesaic_outcome check_identity(moesaic *d)
{
    uint32_t identity = 0, version = 0, hash = 0;
    moesaic_outcome outcome = get(d, MOESAIC_ID, &identity);

    if (outcome == MOESAIC_E_OK && identity != MOESAIC_ID_VALUE) {
        SAY(d, "ID must be 0x%08X, not 0x%08" PRIX32 ": no Moesaic accelerator answers at this address",
            MOESAIC_ID_VALUE, identity);
        return MOESAIC_E_WRONG_ACCELERATOR;
    }
    if (outcome == MOESAIC_E_OK)
        outcome = get(d, MOESAIC_VERSION, &version);
    if (outcome == MOESAIC_E_OK)
        outcome = get(d, MOESAIC_CONFIG_HASH, &hash);
    if (outcome != MOESAIC_E_OK)
        return outcome;
    if (version >> 16 != MOESAIC_VERSION_VALUE >> 16 || d->program->version >> 16 != MOESAIC_VERSION_VALUE >> 16) {
        SAY(d, "VERSION must be %u.x, not %" PRIu32 ".%" PRIu32 ": this driver is for another register map",
            MOESAIC_VERSION_VALUE >> 16, version >> 16, version & 0xFFFF);
        return MOESAIC_E_WRONG_ACCELERATOR;
    }
    if (hash != d->program->config_hash) {
        SAY(d, "CONFIG_HASH must be 0x%08" PRIX32 ", not 0x%08" PRIX32 ": the program (%s) was compiled for '%s'; compile "
               "for the board, or load the bitstream that belongs to the program",
            d->program->config_hash, hash, d->program->network, d->program->accelerator);
        return MOESAIC_E_WRONG_ACCELERATOR;
    }
    return MOESAIC_E_OK;
}

moesaic_options moesaic_default_options(void)
{
    moesaic_options options = {2, 0, 1000000, UINT64_C(10000000000), NULL, 0};

    return options;
}

uint64_t moesaic_address(const moesaic *device, uint64_t offset, unsigned port)
{
    return device->port->memory_address + port * device->port->channel_bytes + offset;
}

/* All that the accelerator may reach. */
static uint64_t window_bytes(const moesaic *d)
{
    return d->program->ports * d->port->channel_bytes + moesaic_memory_bytes(d->program, d->options.slots);
}

static moesaic_outcome check_memory(moesaic *d)
{
    const moesaic_port *port = d->port;
    uint64_t each = moesaic_memory_bytes(d->program, d->options.slots), needed = window_bytes(d);
    uint64_t limit = d->program->addr_bits < 64 ? UINT64_C(1) << d->program->addr_bits : UINT64_MAX;

    if (d->options.slots < 1 || d->options.slots > MOESAIC_MAX_SLOTS || d->options.timeout_ns == 0) {
        SAY(d, "slots must be 1 to %d and the time-out above 0, not %u and %" PRIu64, MOESAIC_MAX_SLOTS, d->options.slots,
            d->options.timeout_ns);
        return MOESAIC_E_ARGUMENT;
    }
    if (d->options.workspace == NULL || d->options.workspace_bytes < moesaic_workspace_bytes(d->program)) {
        SAY(d, "workspace must have %zu bytes, not %zu", moesaic_workspace_bytes(d->program),
            d->options.workspace == NULL ? (size_t)0 : d->options.workspace_bytes);
        return MOESAIC_E_NO_MEMORY;
    }
    if (port->channel_bytes != 0 && (port->channel_bytes < each || port->channel_bytes % PAGE != 0)) {
        SAY(d, "a memory channel must have %" PRIu64 " bytes, whole pages, not %" PRIu64, each, port->channel_bytes);
        return MOESAIC_E_NO_MEMORY;
    }
    if (port->memory_address % PAGE != 0 || port->memory_bytes < needed) {
        SAY(d, "accelerator's memory must be %" PRIu64 " bytes on whole pages, not %" PRIu64 " at 0x%" PRIx64, needed,
            port->memory_bytes, port->memory_address);
        return MOESAIC_E_NO_MEMORY;
    }
    if (needed > limit || port->memory_address > limit - needed) {
        SAY(d, "accelerator's memory must lie below 0x%" PRIx64 ", what the accelerator can address, not at 0x%" PRIx64,
            limit, port->memory_address);
        return MOESAIC_E_NO_MEMORY;
    }
    return MOESAIC_E_OK;
}

moesaic_outcome moesaic_open(moesaic *device, const moesaic_port *port, const moesaic_program *program,
                             const moesaic_options *options)
{
    uint32_t status = 0;
    moesaic_outcome outcome;

    memset(device, 0, sizeof *device);
    device->port = port;
    device->program = program;
    device->options = *options;
    outcome = check_memory(device);
    if (outcome == MOESAIC_E_OK)
        outcome = check_identity(device);
    if (outcome == MOESAIC_E_OK)
        outcome = get(device, MOESAIC_STATUS, &status);
    if (outcome == MOESAIC_E_OK && status & MOESAIC_STATUS_BUSY_MASK) /* another host's run, or ours before a crash */
        outcome = moesaic_soft_reset(device);
    return outcome;
}

static moesaic_outcome write_memory(moesaic *d, uint64_t offset, unsigned port, const void *data, size_t bytes)
{
    uint64_t address = moesaic_address(d, offset, port);

    if (d->port->write_memory(d->port->context, address, data, bytes) == 0)
        return MOESAIC_E_OK;
    SAY(d, "%zu bytes of memory could not be written at 0x%" PRIx64, bytes, address);
    return MOESAIC_E_BUS;
}

moesaic_outcome moesaic_load(moesaic *device, moesaic_reader reader, void *context)
{
    moesaic *d = device;
    moesaic_sha256 hash;
    uint8_t digest[32];
    uint64_t offset = 0, size = d->program->memory_bytes;

    d->reader = reader;
    d->reader_context = context;
    d->loaded = false;
    moesaic_sha256_start(&hash);
    while (offset < size) {
        uint64_t end = size;
        unsigned port = d->port->channel_bytes == 0 ? 0 : moesaic_port_of(d->program, offset, &end);
        uint64_t left = end - offset;
        size_t bytes = left < d->options.workspace_bytes ? (size_t)left : d->options.workspace_bytes;
        moesaic_outcome outcome;
        if (reader(context, offset, d->options.workspace, bytes) != 0) {
            SAY(d, "memory.bin must have %" PRIu64 " bytes, but could not be read at %" PRIu64, size, offset);
            return MOESAIC_E_SOURCE;
        }
        moesaic_sha256_add(&hash, d->options.workspace, bytes);
        outcome = write_memory(d, offset, port, d->options.workspace, bytes);
        if (outcome != MOESAIC_E_OK)
            return outcome;
        offset += bytes;
    }
    moesaic_sha256_end(&hash, digest);
    if (memcmp(digest, d->program->memory_sha256, sizeof digest) != 0) {
        SAY(d, "memory.bin is damaged, or of another program: its SHA-256 is not the one in program.bin");
        return MOESAIC_E_PROGRAM;
    }
    d->loaded = true;
    return MOESAIC_E_OK;
}

/* --- one run, in steps ------------------------------------------------------------------------------------------- */

static moesaic_outcome check_slot(moesaic *d, unsigned slot)
{
    if (slot < d->options.slots)
        return MOESAIC_E_OK;
    SAY(d, "slot must be below %u, not %u", d->options.slots, slot);
    return MOESAIC_E_ARGUMENT;
}

moesaic_outcome moesaic_write_images(moesaic *device, const moesaic_image *images, size_t count, unsigned slot)
{
    const moesaic_program *p = device->program;
    moesaic_image all[MOESAIC_MAX_IMAGES];
    moesaic_outcome outcome = check_slot(device, slot);

    if (outcome != MOESAIC_E_OK)
        return outcome;
    if (count < 1 || count > p->images) {
        SAY(device, "images must be from 1 to %" PRIu32 ", the batch of the program, not %zu", p->images, count);
        return MOESAIC_E_ARGUMENT;
    }
    for (size_t k = 0; k < p->images; ++k)
        all[k] = images[k < count ? k : count - 1];
    moesaic_pack(p, all, device->options.workspace);
    for (unsigned port = 0; outcome == MOESAIC_E_OK && port < p->ports; ++port)
        outcome = write_memory(device, moesaic_image_offset(p, slot, port), port,
                               (const uint8_t *)device->options.workspace + port * p->image_bytes, (size_t)p->image_bytes);
    return outcome;
}

moesaic_outcome moesaic_read_result(moesaic *device, unsigned slot, void *result)
{
    const moesaic_port *port = device->port;
    uint64_t address = moesaic_address(device, moesaic_result_offset(device->program, slot), device->program->ports);
    moesaic_outcome outcome = check_slot(device, slot);

    if (outcome != MOESAIC_E_OK)
        return outcome;
    if (port->read_memory(port->context, address, result, (size_t)device->program->result_bytes) == 0)
        return MOESAIC_E_OK;
    SAY(device, "result could not be read at 0x%" PRIx64, address);
    return MOESAIC_E_BUS;
}

/* Idle, if need be after a drain and the few cycles of a clear; busy at once while a run is in progress. */
static moesaic_outcome wait_drained(moesaic *d)
{
    int clearing = CLEAR_POLLS;
    uint32_t status = 0;

    for (int k = 0; k < DRAIN_POLLS && clearing > 0; ++k) {
        moesaic_outcome outcome = get(d, MOESAIC_STATUS, &status);
        if (outcome != MOESAIC_E_OK)
            return outcome;
        if (!(status & MOESAIC_STATUS_BUSY_MASK))
            return MOESAIC_E_OK;
        if (!(status & MOESAIC_STATUS_DRAINING_MASK))
            --clearing;
    }
    return describe(d, "accelerator must be idle before a start: ", MOESAIC_E_BUSY);
}

static moesaic_outcome write_registers(moesaic *d, unsigned number, unsigned slot)
{
    static const uint32_t bases[3] = {MOESAIC_LOAD_BASE_LO, MOESAIC_COMPUTE_BASE_LO, MOESAIC_STORE_BASE_LO};
    static const uint32_t counts[3] = {MOESAIC_LOAD_COUNT, MOESAIC_COMPUTE_COUNT, MOESAIC_STORE_COUNT};
    const moesaic_program *p = d->program;
    moesaic_outcome outcome = MOESAIC_E_OK;

#define STEP(access) outcome = outcome == MOESAIC_E_OK ? (access) : outcome
    for (unsigned s = 0; s < 3; ++s) {
        moesaic_stream stream = moesaic_stream_at(p, number, s);
        STEP(set64(d, bases[s], moesaic_address(d, stream.offset, p->ports)));
        STEP(set(d, counts[s], (uint32_t)stream.count));
    }
    STEP(set64(d, MOESAIC_RESULT_BASE_LO, moesaic_address(d, moesaic_result_offset(p, slot), p->ports)));
    STEP(set64(d, MOESAIC_RESULT_BYTES_LO, p->result_bytes));
    STEP(set64(d, MOESAIC_WINDOW_BASE_LO, d->port->memory_address));
    STEP(set64(d, MOESAIC_WINDOW_BYTES_LO, window_bytes(d)));
    for (unsigned port = 0; port < p->ports; ++port) {
        uint64_t weights = moesaic_address(d, moesaic_port_offset(p, port, false), port);
        STEP(set64(d, MOESAIC_WEIGHT_BASE0_LO + BASE(port), weights));
        STEP(set64(d, MOESAIC_TASK_BASE0_LO + BASE(port), weights));
        STEP(set64(d, MOESAIC_IMAGE_BASE0_LO + BASE(port),
                   moesaic_address(d, moesaic_image_offset(p, slot, port), port)));
    }
    STEP(set(d, MOESAIC_WATCHDOG, d->options.watchdog));
    STEP(set(d, MOESAIC_PROGRAM_HASH, (uint32_t)p->memory_sha256[0] << 24 | (uint32_t)p->memory_sha256[1] << 16 |
                                          (uint32_t)p->memory_sha256[2] << 8 | p->memory_sha256[3]));
    STEP(set(d, MOESAIC_IRQ_ENABLE, MOESAIC_IRQ_ENABLE_DONE_MASK | MOESAIC_IRQ_ENABLE_ERROR_MASK));
    STEP(clear_interrupts(d));
#undef STEP
    return outcome;
}

moesaic_outcome moesaic_start(moesaic *device, unsigned number, unsigned slot)
{
    uint32_t status = 0;
    moesaic_outcome outcome = check_slot(device, slot);

    if (outcome != MOESAIC_E_OK)
        return outcome;
    if (number >= device->program->programs || !device->loaded) {
        SAY(device, device->loaded ? "program must be one of %u, not %u"
                                   : "program must be loaded before a start (%u programs, number %u)",
            (unsigned)device->program->programs, number);
        return MOESAIC_E_ARGUMENT;
    }
    outcome = wait_drained(device); /* locked registers must not be written: on a board that ends the process */
    if (outcome != MOESAIC_E_OK)
        return outcome;
    outcome = write_registers(device, number, slot);
    device->started = number;
    device->started_slot = slot;
    if (outcome == MOESAIC_E_OK)
        outcome = set(device, MOESAIC_CTRL, MOESAIC_CTRL_START_MASK);
    if (outcome == MOESAIC_E_OK)
        outcome = get(device, MOESAIC_STATUS, &status);
    if (outcome == MOESAIC_E_OK && status & MOESAIC_STATUS_START_REFUSED_MASK)
        return describe(device, "start was refused, the bus still owes responses: ", MOESAIC_E_BUSY);
    return outcome;
}

/* All that the program does was done. */
static moesaic_outcome check_done(moesaic *d, const uint64_t *counters)
{
    const moesaic_program *p = d->program;
    uint64_t instructions = 0, places = 0;

    for (unsigned s = 0; s < 3; ++s)
        instructions += moesaic_stream_at(p, d->started, s).count;
    for (unsigned k = 0; k < moesaic_items(p, d->started); ++k) {
        uint64_t place = moesaic_item_at(p, d->started, k).place;
        places = place + 1 > places ? place + 1 : places;
    }
    if (counters[MOESAIC_COUNTER_INSTRUCTIONS_RETIRED] == instructions &&
        counters[MOESAIC_COUNTER_MARKS] == moesaic_marks(p, d->started) &&
        counters[MOESAIC_COUNTER_STORE_BYTES] == places * moesaic_item_bytes(p))
        return MOESAIC_E_OK;
    SAY(d, "INCOMPLETE: %" PRIu64 " instructions, %" PRIu64 " blocks and %" PRIu64 " bytes must be done, not %" PRIu64
           ", %" PRIu64 " and %" PRIu64 "; load the program again (`retries` does)",
        instructions, (uint64_t)moesaic_marks(p, d->started), places * moesaic_item_bytes(p),
        counters[MOESAIC_COUNTER_INSTRUCTIONS_RETIRED], counters[MOESAIC_COUNTER_MARKS],
        counters[MOESAIC_COUNTER_STORE_BYTES]);
    return MOESAIC_E_INCOMPLETE;
}

/* ` of image 0, semseg; ...`: the items that an error is about, if that is not all of them. */
static void name_items(const moesaic *d, char *text, size_t bytes)
{
    unsigned count = moesaic_items(d->program, d->started), hit = 0;
    size_t used = 0;

    text[0] = 0;
    for (unsigned k = 0; k < count; ++k)
        hit += moesaic_concerns(d, k);
    if (count == 1)
        return;
    if (hit == count) {
        moesaic_say(text, bytes, ", of all items");
        return;
    }
    for (unsigned k = 0; k < count && used + 1 < bytes; ++k) {
        moesaic_item item = moesaic_item_at(d->program, d->started, k);
        if (!moesaic_concerns(d, k))
            continue;
        moesaic_say(text + used, bytes - used, "%s image %" PRIu32 ", %s", used == 0 ? ", of" : ";", item.image,
                    moesaic_task_name(d->program, item.task));
        used += strlen(text + used);
    }
}

static moesaic_outcome take_error(moesaic *d)
{
    char where[40] = "", items[120];
    moesaic_outcome outcome = read_error(d, &d->error);

    if (outcome == MOESAIC_E_OK)
        outcome = clear_interrupts(d);
    if (outcome != MOESAIC_E_OK)
        return outcome;
    if (d->error.address != 0)
        moesaic_say(where, sizeof where, ", address 0x%" PRIx64, d->error.address);
    name_items(d, items, sizeof items);
    SAY(d, "%s: %s (%s unit, instruction %" PRIu32 "%s%s%s)", moesaic_error_name(d->error.code),
        moesaic_error_text(d->error.code), moesaic_unit_name(d->error.unit), d->error.index, where, items,
        d->error.draining ? "; the bus still owes responses" : "");
    return MOESAIC_E_ACCELERATOR;
}

/* Idle, with neither a result nor an error: somebody reset it. After a hardware reset the window is 0. */
static moesaic_outcome say_lost(moesaic *d)
{
    uint64_t window = 0;
    moesaic_outcome outcome = get64(d, MOESAIC_WINDOW_BYTES_LO, &window);

    if (outcome != MOESAIC_E_OK)
        return outcome;
    if (window != 0)
        return describe(d, "SOFT_RESET: the accelerator was reset during the run, by CTRL.soft_reset: ",
                        MOESAIC_E_SOFT_RESET);
    return describe(d, "HARDWARE_RESET: the accelerator was reset during the run, by its reset input or a new bitstream: ",
                    MOESAIC_E_HARDWARE_RESET);
}

static moesaic_outcome say_timeout(moesaic *d)
{
    char state[MOESAIC_MESSAGE_BYTES];
    moesaic_outcome outcome = describe(d, "", MOESAIC_E_OK);

    if (outcome != MOESAIC_E_OK)
        return outcome;
    memcpy(state, d->message, sizeof state);
    outcome = moesaic_soft_reset(d);
    if (outcome == MOESAIC_E_BUS)
        return outcome;
    SAY(d, "TIMEOUT: no end of the run within %" PRIu64 " us; %s; %.200s", d->options.timeout_ns / 1000,
        outcome == MOESAIC_E_OK ? "a soft reset made it idle" : "not idle after a soft reset, the bus owes responses",
        state);
    return MOESAIC_E_TIMEOUT;
}

moesaic_outcome moesaic_wait(moesaic *device, uint64_t counters[MOESAIC_COUNTERS])
{
    moesaic *d = device;
    uint64_t end = now(d) + d->options.timeout_ns;

    for (;;) {
        uint64_t moment = now(d), left = moment < end ? end - moment : 0;
        uint32_t status = 0;
        moesaic_outcome outcome;
        if (d->port->wait_interrupt(d->port->context, left < d->port->patience_ns ? left : d->port->patience_ns) < 0) {
            SAY(d, "interrupt could not be waited for");
            return MOESAIC_E_BUS;
        }
        outcome = get(d, MOESAIC_STATUS, &status);
        if (outcome != MOESAIC_E_OK)
            return outcome;
        if (status & MOESAIC_STATUS_ERROR_MASK)
            return take_error(d);
        if (status & MOESAIC_STATUS_DONE_MASK) {
            outcome = clear_interrupts(d);
            if (outcome == MOESAIC_E_OK)
                outcome = moesaic_counters(d, counters);
            return outcome == MOESAIC_E_OK ? check_done(d, counters) : outcome;
        }
        if (!(status & MOESAIC_STATUS_BUSY_MASK))
            return say_lost(d);
        if (now(d) >= end)
            return say_timeout(d);
    }
}

moesaic_outcome moesaic_soft_reset(moesaic *device)
{
    uint32_t status = 0;
    moesaic_outcome outcome = set(device, MOESAIC_CTRL, MOESAIC_CTRL_SOFT_RESET_MASK);

    device->flight.active = false;
    for (int k = 0; outcome == MOESAIC_E_OK && k < RESET_POLLS; ++k) {
        outcome = get(device, MOESAIC_STATUS, &status);
        if (outcome == MOESAIC_E_OK && !(status & MOESAIC_STATUS_BUSY_MASK))
            return clear_interrupts(device);
    }
    if (outcome != MOESAIC_E_OK)
        return outcome;
    return describe(device, "accelerator must be idle after a soft reset; the bus still owes responses: ", MOESAIC_E_STUCK);
}

/* --- whole runs -------------------------------------------------------------------------------------------------- */

static bool may_pass(moesaic_outcome outcome)
{
    return outcome == MOESAIC_E_ACCELERATOR || outcome == MOESAIC_E_INCOMPLETE || outcome == MOESAIC_E_SOFT_RESET ||
           outcome == MOESAIC_E_HARDWARE_RESET || outcome == MOESAIC_E_TIMEOUT;
}

/* Idle again, and nothing left in memory that could have been the cause. */
static moesaic_outcome recover(moesaic *d)
{
    moesaic_outcome outcome = moesaic_soft_reset(d);

    return outcome == MOESAIC_E_OK ? moesaic_load(d, d->reader, d->reader_context) : outcome;
}

static moesaic_outcome attempt(moesaic *d, unsigned number, const moesaic_image *images, size_t count, unsigned slot,
                               void *result, moesaic_run_report *report)
{
    uint64_t begun = now(d), written, ended;
    moesaic_outcome outcome = images == NULL ? MOESAIC_E_OK : moesaic_write_images(d, images, count, slot);

    written = now(d);
    if (outcome == MOESAIC_E_OK)
        outcome = moesaic_start(d, number, slot);
    if (outcome == MOESAIC_E_OK)
        outcome = moesaic_wait(d, report->counters);
    ended = now(d);
    if (outcome == MOESAIC_E_OK)
        outcome = moesaic_read_result(d, slot, result);
    report->program = number;
    report->write_ns = written - begun;
    report->run_ns = ended - written;
    report->read_ns = now(d) - ended;
    return outcome;
}

/* Up to `more` further attempts of a run that failed with `outcome`. */
static moesaic_outcome again(moesaic *d, moesaic_outcome outcome, unsigned more, unsigned number,
                             const moesaic_image *images, size_t count, unsigned slot, void *result,
                             moesaic_run_report *report)
{
    for (unsigned k = 0; k < more && may_pass(outcome); ++k) {
        outcome = recover(d);
        if (outcome != MOESAIC_E_OK)
            return outcome;
        ++report->failures;
        outcome = attempt(d, number, images, count, slot, result, report);
    }
    return outcome;
}

moesaic_outcome moesaic_run(moesaic *device, unsigned number, const moesaic_image *images, size_t count, void *result,
                            moesaic_run_report *report)
{
    moesaic_outcome outcome;

    report->failures = 0;
    if (device->flight.active) {
        SAY(device, "run must wait for what was submitted: call moesaic_collect first");
        return MOESAIC_E_ARGUMENT;
    }
    outcome = attempt(device, number, images, count, 0, result, report);
    return again(device, outcome, device->options.retries, number, images, count, 0, result, report);
}

static moesaic_outcome launch(moesaic *d, unsigned number, const moesaic_image *images, size_t count, unsigned slot,
                              bool write)
{
    uint64_t begun = now(d), written;
    moesaic_outcome outcome = write ? moesaic_write_images(d, images, count, slot) : MOESAIC_E_OK;

    written = now(d);
    if (outcome == MOESAIC_E_OK)
        outcome = moesaic_start(d, number, slot);
    if (outcome != MOESAIC_E_OK)
        return outcome;
    d->flight.active = true;
    d->flight.program = number;
    d->flight.slot = slot;
    d->flight.images = images;
    d->flight.count = count;
    d->flight.begun = written;
    d->flight.write_ns = written - begun;
    return MOESAIC_E_OK;
}

/* Waits for what was submitted. `*idle`: it took further attempts, which have read the result. */
static moesaic_outcome finish(moesaic *d, void *result, moesaic_run_report *report, bool *idle)
{
    moesaic_outcome outcome = moesaic_wait(d, report->counters);

    *idle = false;
    report->program = d->flight.program;
    report->failures = 0;
    report->write_ns = d->flight.write_ns;
    report->run_ns = now(d) - d->flight.begun;
    d->flight.active = false;
    if (!may_pass(outcome) || d->options.retries == 0)
        return outcome;
    *idle = true;
    return again(d, outcome, d->options.retries, d->flight.program, d->flight.images, d->flight.count, d->flight.slot,
                 result, report);
}

static moesaic_outcome take_result(moesaic *d, unsigned slot, void *result, moesaic_run_report *report)
{
    uint64_t begun = now(d);
    moesaic_outcome outcome = moesaic_read_result(d, slot, result);

    report->read_ns = now(d) - begun;
    return outcome;
}

moesaic_outcome moesaic_collect(moesaic *device, void *result, moesaic_run_report *report, bool *done)
{
    bool idle = false;
    moesaic_outcome outcome;

    *done = false;
    if (!device->flight.active)
        return MOESAIC_E_OK;
    outcome = finish(device, result, report, &idle);
    if (outcome == MOESAIC_E_OK && !idle)
        outcome = take_result(device, device->flight.slot, result, report);
    *done = outcome == MOESAIC_E_OK;
    return outcome;
}

moesaic_outcome moesaic_submit(moesaic *device, unsigned number, const moesaic_image *images, size_t count, void *result,
                               moesaic_run_report *report, bool *done)
{
    unsigned before = device->flight.slot, slot;
    uint64_t begun;
    bool idle = false;
    moesaic_outcome outcome;

    *done = false;
    if (!device->flight.active || device->options.slots == 1) {
        outcome = moesaic_collect(device, result, report, done);
        return outcome == MOESAIC_E_OK ? launch(device, number, images, count, 0, true) : outcome;
    }
    slot = (before + 1) % device->options.slots;
    begun = now(device);
    outcome = moesaic_write_images(device, images, count, slot);
    if (outcome != MOESAIC_E_OK)
        return outcome;
    begun = now(device) - begun;
    outcome = finish(device, result, report, &idle);
    if (outcome != MOESAIC_E_OK)
        return outcome;
    outcome = launch(device, number, images, count, slot, idle); /* attempts have loaded the program over the image */
    if (outcome != MOESAIC_E_OK)
        return outcome;
    device->flight.write_ns += begun;
    if (!idle)
        outcome = take_result(device, before, result, report);
    *done = outcome == MOESAIC_E_OK;
    return outcome;
}

moesaic_outcome moesaic_close(moesaic *device)
{
    uint32_t status = 0;
    moesaic_outcome outcome = get(device, MOESAIC_STATUS, &status);

    if (outcome == MOESAIC_E_OK && status & MOESAIC_STATUS_BUSY_MASK)
        outcome = moesaic_soft_reset(device);
    if (outcome == MOESAIC_E_OK)
        outcome = set(device, MOESAIC_IRQ_ENABLE, 0);
    device->loaded = false;
    return outcome;
}
