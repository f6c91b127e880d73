/* Runs programs of Moesaic on its accelerator. C11, no library but the C library's own.
 *
 * Order of calls: moesaic_program_open, moesaic_open, moesaic_load, then moesaic_run as often as wanted, or moesaic_submit
 * and moesaic_collect, and moesaic_close. Nothing here allocates memory: the caller gives all of it at the start.
 *
 * A function that returns `moesaic_outcome` has done its work only if that is MOESAIC_E_OK; else `message` says what was
 * wrong and what to do.
 */
#ifndef MOESAIC_H
#define MOESAIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moesaic_tables.h"

#define MOESAIC_MESSAGE_BYTES 320
#define MOESAIC_MAX_SLOTS 4

typedef enum moesaic_outcome {
    MOESAIC_E_OK = 0,
    MOESAIC_E_ARGUMENT,          /* something that was asked for cannot be; nothing was done */
    MOESAIC_E_PROGRAM,           /* the program is damaged, or of another version */
    MOESAIC_E_WRONG_ACCELERATOR, /* what answers is none, or not the one that the program is for */
    MOESAIC_E_NO_MEMORY,         /* too little memory for the accelerator, or a workspace that is too small */
    MOESAIC_E_BUSY,              /* a run or a drain is in progress; nothing was changed */
    MOESAIC_E_ACCELERATOR,       /* the run ended with an error: `error` of the device says which */
    MOESAIC_E_INCOMPLETE,        /* the run ended, but did not do all that its program does; no result */
    MOESAIC_E_SOFT_RESET,        /* somebody reset the accelerator during the run, by its register */
    MOESAIC_E_HARDWARE_RESET,    /* the same, by its reset input or a new bitstream */
    MOESAIC_E_TIMEOUT,           /* the run did not end in time; a soft reset was done */
    MOESAIC_E_STUCK,             /* a soft reset does not end: load the bitstream again */
    MOESAIC_E_BUS,               /* an access to registers or memory failed */
    MOESAIC_E_SOURCE             /* the bytes of the program could not be read */
} moesaic_outcome;

/* How the library reaches an accelerator. Functions return 0, or another number if an access failed.
 * Offsets of registers are in bytes; addresses are physical ones, as the accelerator sees them. */
typedef struct moesaic_port {
    void *context; /* first argument of every function */
    int (*read)(void *context, uint32_t offset, uint32_t *value);
    int (*write)(void *context, uint32_t offset, uint32_t value);
    int (*write_memory)(void *context, uint64_t address, const void *data, size_t bytes);
    int (*read_memory)(void *context, uint64_t address, void *data, size_t bytes);
    /* 1 when the interrupt is raised; 0 after `ns`, or earlier if nothing can be known; negative on failure. */
    int (*wait_interrupt)(void *context, uint64_t ns);
    uint64_t (*now_ns)(void *context); /* of a clock that never goes back */
    uint64_t patience_ns;              /* for how long to wait for the interrupt before STATUS is read again */
    uint64_t memory_address;           /* of memory that the accelerator reaches: whole pages */
    uint64_t memory_bytes;
    uint64_t channel_bytes;            /* from a weight port's memory channel to the next one's; 0 if all share one */
} moesaic_port;

/* A program, as `program.bin` describes it: addresses are offsets from the first byte of its memory. */
typedef struct moesaic_program {
    const uint8_t *index; /* the bytes of program.bin, which must stay where they are */
    size_t index_bytes;
    const uint8_t *memory_sha256;
    uint32_t version, config_hash;
    uint32_t ports, beat_bytes, lanes, word_bytes, max_burst, addr_bits;
    uint32_t images, tokens, prefix_tokens, dim;
    uint32_t channels, height, width, patch_height, patch_width, norm;
    uint32_t tasks, programs, items, own, members;
    uint64_t address, memory_bytes; /* where it was compiled to lie */
    uint64_t result_offset, result_bytes, image_bytes;
    double eps, step; /* a token's value is an int16 times `step` */
    const char *network, *accelerator;
    const uint8_t *port_table, *channel_table, *task_table, *program_table, *item_table, *own_table, *member_table;
} moesaic_program;

/* What one program computes: an image, by its number in the batch, and a task. */
typedef struct moesaic_item {
    uint32_t image;
    uint32_t task;  /* for moesaic_task_name */
    uint32_t place; /* of its tokens in the result, in numbers of items */
} moesaic_item;

/* An image of bytes: channel c of the pixel in row y and column x is data[c * channel + y * row + x * pixel]. */
typedef struct moesaic_image {
    const uint8_t *data;
    size_t channel, row, pixel;
} moesaic_image;

typedef struct moesaic_options {
    unsigned slots;        /* places for images and results: 1, or 2 to write the next image during a run */
    unsigned retries;      /* further attempts of a run that failed */
    uint32_t watchdog;     /* cycles without progress before the hardware ends a run; 0 is off */
    uint64_t timeout_ns;   /* for a run */
    void *workspace;       /* moesaic_workspace_bytes of the program */
    size_t workspace_bytes;
} moesaic_options;

/* The error that a run ended with. */
typedef struct moesaic_error {
    uint32_t code;    /* moesaic_error_name, MOESAIC_ERROR_* */
    uint32_t unit;    /* moesaic_unit_name, MOESAIC_UNIT_* */
    uint32_t index;   /* of the instruction */
    uint64_t address; /* 0 if it has none */
    bool draining;    /* the bus still owes responses */
} moesaic_error;

/* What a run left beside its result. */
typedef struct moesaic_run_report {
    uint64_t counters[MOESAIC_COUNTERS]; /* in the order of moesaic_counter_name */
    uint64_t write_ns, run_ns, read_ns;
    unsigned program;
    unsigned failures; /* attempts that failed before this one */
} moesaic_run_report;

/* Reads `bytes` bytes of memory.bin from `offset`; 0, or another number if that fails. */
typedef int (*moesaic_reader)(void *context, uint64_t offset, void *data, size_t bytes);

typedef struct moesaic {
    const moesaic_port *port;
    const moesaic_program *program;
    moesaic_options options;
    moesaic_reader reader;
    void *reader_context;
    bool loaded;
    moesaic_error error; /* of the last run that ended with MOESAIC_E_ACCELERATOR */
    struct {
        bool active;
        unsigned program, slot;
        const moesaic_image *images;
        size_t count;
        uint64_t begun, write_ns;
    } flight; /* what was submitted and not yet collected */
    unsigned started, started_slot; /* the program that runs, or ran last */
    char message[MOESAIC_MESSAGE_BYTES];
} moesaic;

/* --- the program ------------------------------------------------------------------------------------------------- */

/* Reads the bytes of program.bin. They are checked, and must stay where they are. `message` may be NULL. */
moesaic_outcome moesaic_program_open(moesaic_program *program, const void *index, size_t bytes, char *message,
                                     size_t message_bytes);
/* Bytes of the workspace that moesaic_open needs. */
size_t moesaic_workspace_bytes(const moesaic_program *program);
/* Bytes that the accelerator must reach; with channels, of each. */
uint64_t moesaic_memory_bytes(const moesaic_program *program, unsigned slots);
/* Number of the program with that name, or -1. */
int moesaic_find(const moesaic_program *program, const char *name);
const char *moesaic_program_name(const moesaic_program *program, unsigned number);
const char *moesaic_task_name(const moesaic_program *program, unsigned task);
/* Items that a program computes, and one of them. */
unsigned moesaic_items(const moesaic_program *program, unsigned number);
moesaic_item moesaic_item_at(const moesaic_program *program, unsigned number, unsigned item);

/* --- images and results ------------------------------------------------------------------------------------------ */

/* Images [height][width][channels], and [channels][height][width]. */
moesaic_image moesaic_interleaved(const moesaic_program *program, const uint8_t *data);
moesaic_image moesaic_planar(const moesaic_program *program, const uint8_t *data);
/* Writes what the accelerator reads of `program->images` images: `ports * image_bytes` bytes, port after port. */
void moesaic_pack(const moesaic_program *program, const moesaic_image *images, uint8_t *parts);
/* Tokens [tokens][dim] of an item, from the bytes of a result. */
void moesaic_tokens(const moesaic_program *program, unsigned number, unsigned item, const uint8_t *result, int16_t *tokens);

/* --- the accelerator --------------------------------------------------------------------------------------------- */

/* Slots 2, no retries, a watchdog of a million cycles, ten seconds for a run; no workspace. */
moesaic_options moesaic_default_options(void);
/* Checks who answers, and that memory and workspace are large enough. */
moesaic_outcome moesaic_open(moesaic *device, const moesaic_port *port, const moesaic_program *program,
                             const moesaic_options *options);
/* Writes memory.bin, and checks its SHA-256. The reader is kept: attempts after a failure load again. */
moesaic_outcome moesaic_load(moesaic *device, moesaic_reader reader, void *context);
/* One run of program `number` on `count` images, 1 to `program->images`; the last one fills up what is missing.
 * `result` gets `program->result_bytes` bytes. With `images` NULL the slot's own images are used again. */
moesaic_outcome moesaic_run(moesaic *device, unsigned number, const moesaic_image *images, size_t count, void *result,
                            moesaic_run_report *report);
/* Starts a run, and gives the result of the one that was submitted before it, if there was one: `*done` says so. The
 * images must stay until their own result is there. */
moesaic_outcome moesaic_submit(moesaic *device, unsigned number, const moesaic_image *images, size_t count, void *result,
                               moesaic_run_report *report, bool *done);
/* The result of the run that was submitted last; `*done` is false if there is none. */
moesaic_outcome moesaic_collect(moesaic *device, void *result, moesaic_run_report *report, bool *done);
/* The same in steps. */
moesaic_outcome moesaic_write_images(moesaic *device, const moesaic_image *images, size_t count, unsigned slot);
moesaic_outcome moesaic_start(moesaic *device, unsigned number, unsigned slot);
moesaic_outcome moesaic_wait(moesaic *device, uint64_t counters[MOESAIC_COUNTERS]);
moesaic_outcome moesaic_read_result(moesaic *device, unsigned slot, void *result);
/* Counters of the last run. */
moesaic_outcome moesaic_counters(moesaic *device, uint64_t counters[MOESAIC_COUNTERS]);
/* Aborts what runs and waits until the accelerator is idle. */
moesaic_outcome moesaic_soft_reset(moesaic *device);
/* The state of the accelerator as a line of text, into the device's message. */
moesaic_outcome moesaic_status(moesaic *device);
/* After MOESAIC_E_ACCELERATOR: whether an item of the program that ran is one that the error is about. */
bool moesaic_concerns(const moesaic *device, unsigned item);
/* Ends what runs, and turns the interrupt off. */
moesaic_outcome moesaic_close(moesaic *device);

/* --- names ------------------------------------------------------------------------------------------------------- */

const char *moesaic_outcome_name(moesaic_outcome outcome);
const char *moesaic_error_name(uint32_t code); /* "unknown" if there is none such */
const char *moesaic_error_text(uint32_t code);
const char *moesaic_unit_name(uint32_t unit);
const char *moesaic_counter_name(unsigned counter);

#endif
