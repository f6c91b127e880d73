/* Runs images on a board: an example of the library, and a command of use.
 *
 *     run_image [-d WHERE] [-t TASK] [-o FILE] [-r RETRIES] PROGRAM IMAGE...
 *
 * PROGRAM is a folder that `moesaic compile` wrote. An image is a PPM or PGM of bytes (P6, P5) of the network's size. All
 * images go through one program, as many at once as it was compiled for. FILE gets the tokens of every item: int16,
 * little-endian, one image behind the other. -d says where the accelerator is (moesaic_linux.h). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run_image.h"

enum { MOST_INDEX = 1 << 26 };

static const char usage[] = "usage: run_image [-d WHERE] [-t TASK] [-o FILE] [-r RETRIES] PROGRAM IMAGE...\n";

static FILE *open_in(const char *folder, const char *name)
{
    char path[1024];

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return NULL;
    return fopen(path, "rb");
}

static void *read_all(FILE *file, size_t *bytes)
{
    long end = file != NULL && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    void *data = end >= 0 && end <= MOST_INDEX ? malloc((size_t)end + 1) : NULL;

    if (data == NULL)
        return NULL;
    rewind(file);
    *bytes = fread(data, 1, (size_t)end, file);
    return data;
}

static int read_part(void *context, uint64_t offset, void *data, size_t bytes)
{
    FILE *file = context;

    return fseek(file, (long)offset, SEEK_SET) != 0 || fread(data, 1, bytes, file) != bytes;
}

/* A number of a PPM's head; comments run from # to the end of the line. */
static bool head_number(FILE *file, uint32_t *number)
{
    int next = fgetc(file);

    for (*number = 0; next == '#' || next == ' ' || next == '\n' || next == '\t' || next == '\r'; next = fgetc(file))
        while (next == '#' && next != EOF)
            for (next = fgetc(file); next != '\n' && next != EOF;)
                next = fgetc(file);
    if (next < '0' || next > '9')
        return false;
    for (; next >= '0' && next <= '9' && *number < 100000; next = fgetc(file))
        *number = *number * 10 + (uint32_t)(next - '0');
    return true; /* the one blank behind the number has been read */
}

static bool read_image(const char *path, const moesaic_program *program, uint8_t *pixels)
{
    FILE *file = fopen(path, "rb");
    char kind = program->channels == 1 ? '5' : '6';
    uint32_t width = 0, height = 0, most = 0;
    size_t bytes = (size_t)program->channels * program->height * program->width;
    bool read = file != NULL && fgetc(file) == 'P' && fgetc(file) == kind && head_number(file, &width) &&
                head_number(file, &height) && head_number(file, &most);

    if (read && (width != program->width || height != program->height || most != 255)) {
        fprintf(stderr, "%s must be %" PRIu32 " x %" PRIu32 " pixels of bytes, not %" PRIu32 " x %" PRIu32 "\n", path,
                program->width, program->height, width, height);
        read = false;
    } else if (read && fread(pixels, 1, bytes, file) != bytes) {
        fprintf(stderr, "%s ends too early\n", path);
        read = false;
    } else if (!read) {
        fprintf(stderr, "%s must be a PPM of kind P%c\n", path, kind);
    }
    if (file != NULL)
        (void)fclose(file);
    return read;
}

/* What the command was asked for, and all the memory that it needs. */
typedef struct job {
    const char *where, *task, *save;
    moesaic_options options;
    moesaic_program program;
    int number; /* of the program */
    uint8_t *index, *pixels, *result;
    int16_t *tokens;
    FILE *memory, *out;
    moesaic device;
} job;

static bool take_options(job *j, int argc, char **argv, int *next)
{
    for (; *next + 1 < argc && argv[*next][0] == '-'; *next += 2) {
        const char *value = argv[*next + 1];
        switch (argv[*next][1]) {
        case 'd':
            j->where = value;
            break;
        case 't':
            j->task = value;
            break;
        case 'o':
            j->save = value;
            break;
        case 'r':
            j->options.retries = (unsigned)strtoul(value, NULL, 10);
            break;
        default:
            return false;
        }
    }
    return argc - *next >= 2;
}

static bool find_task(job *j)
{
    j->number = j->task == NULL ? 0 : moesaic_find(&j->program, j->task);
    if (j->number >= 0)
        return true;
    fprintf(stderr, "task must be one of the program's:");
    for (unsigned k = 0; k < j->program.programs; ++k)
        fprintf(stderr, " %s", moesaic_program_name(&j->program, k));
    fprintf(stderr, "\n");
    return false;
}

/* The program, and all memory before anything is started. */
static bool prepare(job *j, const char *folder)
{
    moesaic_program *p = &j->program;
    char message[MOESAIC_MESSAGE_BYTES];
    size_t bytes = 0;
    FILE *file = open_in(folder, "program.bin");

    j->index = read_all(file, &bytes);
    if (file != NULL)
        (void)fclose(file);
    j->memory = open_in(folder, "memory.bin");
    if (j->index == NULL || j->memory == NULL) {
        fprintf(stderr, "%s must be a folder with program.bin and memory.bin\n", folder);
        return false;
    }
    if (moesaic_program_open(p, j->index, bytes, message, sizeof message) != MOESAIC_E_OK) {
        fprintf(stderr, "%s\n", message);
        return false;
    }
    j->options.workspace_bytes = moesaic_workspace_bytes(p);
    j->options.workspace = malloc(j->options.workspace_bytes);
    j->pixels = malloc((size_t)p->images * p->channels * p->height * p->width);
    j->result = malloc((size_t)p->result_bytes);
    j->tokens = malloc(sizeof *j->tokens * p->tokens * p->dim);
    j->out = j->save == NULL ? NULL : fopen(j->save, "wb");
    if (j->options.workspace == NULL || j->pixels == NULL || j->result == NULL || j->tokens == NULL) {
        fprintf(stderr, "too little memory\n");
        return false;
    }
    if (j->save != NULL && j->out == NULL) {
        fprintf(stderr, "%s could not be written\n", j->save);
        return false;
    }
    return find_task(j);
}

static bool write_tokens(job *j, const moesaic_run_report *report, size_t images)
{
    const moesaic_program *p = &j->program;

    printf("%" PRIu64 " cycles; write %" PRIu64 " us, run %" PRIu64 " us, read %" PRIu64 " us; %u failed attempts\n",
           report->counters[MOESAIC_COUNTER_CYCLES], report->write_ns / 1000, report->run_ns / 1000,
           report->read_ns / 1000, report->failures);
    for (unsigned k = 0; k < moesaic_items(p, report->program); ++k) {
        moesaic_item item = moesaic_item_at(p, report->program, k);
        if (item.image >= images)
            continue;
        moesaic_tokens(p, report->program, k, j->result, j->tokens);
        printf("image %" PRIu32 ", %s: first token %d %d %d\n", item.image, moesaic_task_name(p, item.task),
               j->tokens[0], p->dim > 1 ? j->tokens[1] : 0, p->dim > 2 ? j->tokens[2] : 0);
        for (size_t n = 0; j->out != NULL && n < (size_t)p->tokens * p->dim; ++n)
            if (fputc(j->tokens[n] & 0xFF, j->out) == EOF || fputc((uint16_t)j->tokens[n] >> 8, j->out) == EOF) {
                fprintf(stderr, "%s could not be written\n", j->save);
                return false;
            }
    }
    return true;
}

/* All images, as many at once as the program takes. */
static bool run_all(job *j, char **paths, size_t count)
{
    const moesaic_program *p = &j->program;
    size_t bytes = (size_t)p->channels * p->height * p->width;

    for (size_t first = 0; first < count; first += p->images) {
        moesaic_image images[MOESAIC_MAX_IMAGES];
        moesaic_run_report report;
        size_t some = 0;
        for (; some < p->images && first + some < count; ++some) {
            if (!read_image(paths[first + some], p, j->pixels + some * bytes))
                return false;
            images[some] = moesaic_interleaved(p, j->pixels + some * bytes);
        }
        if (moesaic_run(&j->device, (unsigned)j->number, images, some, j->result, &report) != MOESAIC_E_OK) {
            fprintf(stderr, "%s\n", j->device.message);
            return false;
        }
        if (!write_tokens(j, &report, some))
            return false;
    }
    return true;
}

static bool on_board(job *j, char **paths, size_t count)
{
    moesaic_port port;
    char message[MOESAIC_MESSAGE_BYTES];
    bool good;

    if (run_image_port(j->where, &port, message, sizeof message) != MOESAIC_E_OK) {
        fprintf(stderr, "%s\n", message);
        return false;
    }
    if (moesaic_open(&j->device, &port, &j->program, &j->options) != MOESAIC_E_OK ||
        moesaic_load(&j->device, read_part, j->memory) != MOESAIC_E_OK) {
        fprintf(stderr, "%s\n", j->device.message);
        return false;
    }
    good = run_all(j, paths, count);
    if (moesaic_close(&j->device) == MOESAIC_E_OK)
        return good;
    fprintf(stderr, "%s\n", j->device.message);
    return false;
}

int main(int argc, char **argv)
{
    static job j;
    int next = 1;
    bool good;

    j.where = "moesaic";
    j.options = moesaic_default_options();
    if (!take_options(&j, argc, argv, &next)) {
        fputs(usage, stderr);
        return 2;
    }
    good = prepare(&j, argv[next]) && on_board(&j, argv + next + 1, (size_t)(argc - next - 1));
    if (j.out != NULL && fclose(j.out) != 0) {
        fprintf(stderr, "%s could not be written\n", j.save);
        good = false;
    }
    if (j.memory != NULL)
        (void)fclose(j.memory);
    free(j.index);
    free(j.options.workspace);
    free(j.pixels);
    free(j.result);
    free(j.tokens);
    return good ? 0 : 1;
}
