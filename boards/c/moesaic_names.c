/* Names of what can go wrong and of what is counted, and whose run an error spoilt. */
#include "moesaic_internal.h"

const char *moesaic_outcome_name(moesaic_outcome outcome)
{
    static const char *const names[] = {"OK",    "ARGUMENT",    "PROGRAM",    "WRONG_ACCELERATOR", "NO_MEMORY",
                                        "BUSY",  "ACCELERATOR", "INCOMPLETE", "SOFT_RESET",        "HARDWARE_RESET",
                                        "TIMEOUT", "STUCK",     "BUS",        "SOURCE"};

    return (size_t)outcome < sizeof names / sizeof *names ? names[outcome] : "unknown";
}

const char *moesaic_error_name(uint32_t code)
{
    return code < MOESAIC_ERROR_CODES ? moesaic_error_table[code].name : "unknown";
}

const char *moesaic_error_text(uint32_t code)
{
    return code < MOESAIC_ERROR_CODES ? moesaic_error_table[code].text : "an error that this driver does not know";
}

const char *moesaic_unit_name(uint32_t unit)
{
    return unit < MOESAIC_UNITS ? moesaic_unit_table[unit] : "unknown";
}

const char *moesaic_counter_name(unsigned counter)
{
    return counter < MOESAIC_COUNTERS ? moesaic_counter_table[counter].name : "unknown";
}

/* Images of which the stream's word at the error's address holds something: from *first to *last. */
static bool images_at(const moesaic *d, uint64_t *first, uint64_t *last)
{
    const moesaic_program *p = d->program;
    uint64_t size = p->tokens * moesaic_image_row(p);

    for (unsigned port = 0; port < p->ports; ++port) {
        uint64_t start = moesaic_address(d, moesaic_image_offset(p, d->started_slot, port), port), word;
        if (d->error.address < start || d->error.address - start >= p->image_bytes)
            continue;
        word = (d->error.address - start) * p->ports / p->word_bytes * p->word_bytes;
        *first = word / size;
        *last = (word + p->word_bytes - 1) / size;
        return true;
    }
    return false;
}

/* Places of the results in a burst that begins at the error's address. */
static bool results_at(const moesaic *d, uint64_t *first, uint64_t *last)
{
    const moesaic_program *p = d->program;
    uint64_t start = moesaic_address(d, moesaic_result_offset(p, d->started_slot), p->ports), offset, end;

    if (d->error.address < start || d->error.address - start >= p->result_bytes)
        return false;
    offset = d->error.address - start;
    end = offset + (uint64_t)p->max_burst * p->beat_bytes;
    end = end < p->result_bytes ? end : p->result_bytes;
    *first = offset / moesaic_item_bytes(p);
    *last = (end - 1) / moesaic_item_bytes(p);
    return true;
}

bool moesaic_concerns(const moesaic *device, unsigned item)
{
    const moesaic *d = device;
    uint64_t first = 0, last = 0;
    unsigned count = moesaic_items(d->program, d->started), hit = 0;
    bool mine = false;

    if (d->error.unit == MOESAIC_UNIT_COMPUTE)
        return moesaic_works_for(d->program, d->started, d->error.index, item);
    if (d->error.unit == MOESAIC_UNIT_LOAD ? !images_at(d, &first, &last)
                                           : d->error.unit != MOESAIC_UNIT_STORE || !results_at(d, &first, &last))
        return true;
    for (unsigned k = 0; k < count; ++k) {
        moesaic_item found = moesaic_item_at(d->program, d->started, k);
        uint64_t place = d->error.unit == MOESAIC_UNIT_LOAD ? found.image : found.place;
        bool inside = first <= place && place <= last;
        hit += inside;
        if (k == item)
            mine = inside;
    }
    return hit == 0 || mine;
}
