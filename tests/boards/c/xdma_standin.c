/* A stand-in of AMD's XDMA driver, loaded before the C library: opens of XDMA_STANDIN_DEVICE_* lead to the socket
 * XDMA_STANDIN_SOCKET, where somebody answers as for port_socket.c. As strict as the driver's sources: a register is
 * four bytes at a multiple of four, a transfer goes one way only and its buffer is aligned as its address is, an event
 * is four bytes. Events come from the descriptor XDMA_STANDIN_EVENTS; without it, poll() lets the other side go on.
 * XDMA_STANDIN_REFUSED is the name of a device that this user may not open. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNED = 64, FILES = 1024 };

typedef enum device { NONE, USER, TO_CARD, FROM_CARD, EVENTS, DEVICES } device;

static const char *const names[DEVICES] = {"", "user", "h2c_0", "c2h_0", "events_0"};
static device devices[FILES];
static uint64_t places[FILES]; /* positions of files */

typedef ssize_t (*reads)(int, void *, size_t);
typedef ssize_t (*writes)(int, const void *, size_t);
#define REAL(kind, name) ((kind)(uintptr_t)dlsym(RTLD_NEXT, name))

static int descriptor(const char *name)
{
    const char *text = getenv(name);

    return text == NULL ? -1 : atoi(text);
}

static void send_all(const void *data, size_t bytes)
{
    const uint8_t *next = data;

    while (bytes > 0) {
        ssize_t done = REAL(writes, "write")(descriptor("XDMA_STANDIN_SOCKET"), next, bytes);
        if (done <= 0)
            abort();
        next += done;
        bytes -= (size_t)done;
    }
}

static void receive_all(void *data, size_t bytes)
{
    uint8_t *next = data;

    while (bytes > 0) {
        ssize_t done = REAL(reads, "read")(descriptor("XDMA_STANDIN_SOCKET"), next, bytes);
        if (done <= 0)
            abort();
        next += done;
        bytes -= (size_t)done;
    }
}

/* The answer's number; its bytes into `back`. An error becomes errno. */
static int64_t ask(char what, uint64_t first, uint64_t second, const void *data, size_t bytes, void *back, size_t *moved)
{
    uint64_t question[4] = {(uint64_t)what, first, second, bytes}, answer[3];

    send_all(question, sizeof question);
    send_all(data, bytes);
    receive_all(answer, sizeof answer);
    if (answer[2] > 0)
        receive_all(back, answer[2]);
    *moved = answer[2];
    if (answer[0] == 0)
        return (int64_t)answer[1];
    errno = EIO;
    return -1;
}

static device device_of(int file)
{
    return file >= 0 && file < FILES ? devices[file] : NONE;
}

static int refuse(int error)
{
    errno = error;
    return -1;
}

static int open_device(const char *path, int flags)
{
    const char *prefix = getenv("XDMA_STANDIN_DEVICE"), *refused = getenv("XDMA_STANDIN_REFUSED");
    size_t length = prefix == NULL ? 0 : strlen(prefix);
    int file;

    if (prefix == NULL || strncmp(path, prefix, length) != 0 || path[length] != '_')
        return REAL(int (*)(const char *, int, ...), "open64")(path, flags, 0600);
    for (device d = USER; d < DEVICES; ++d) {
        if (strcmp(path + length + 1, names[d]) != 0)
            continue;
        if (refused != NULL && strcmp(refused, names[d]) == 0)
            return refuse(EACCES);
        file = dup(d == EVENTS && descriptor("XDMA_STANDIN_EVENTS") >= 0 ? descriptor("XDMA_STANDIN_EVENTS")
                                                                        : descriptor("XDMA_STANDIN_SOCKET"));
        if (file < 0 || file >= FILES)
            abort();
        devices[file] = d;
        places[file] = 0;
        return file;
    }
    return refuse(ENOENT);
}

int open(const char *path, int flags, ...)
{
    return open_device(path, flags);
}

int open64(const char *path, int flags, ...)
{
    return open_device(path, flags);
}

int close(int file)
{
    if (device_of(file) != NONE)
        devices[file] = NONE;
    return REAL(int (*)(int), "close")(file);
}

ssize_t pread64(int file, void *data, size_t bytes, off64_t offset)
{
    size_t moved;
    int64_t value;
    uint32_t word;

    if (device_of(file) == NONE)
        return REAL(ssize_t (*)(int, void *, size_t, off64_t), "pread64")(file, data, bytes, offset);
    if (device_of(file) != USER || offset % 4 != 0 || bytes != 4)
        return refuse(EPROTO);
    value = ask('r', (uint64_t)offset, 0, NULL, 0, NULL, &moved);
    word = (uint32_t)value;
    memcpy(data, &word, 4);
    return value < 0 ? -1 : 4;
}

ssize_t pwrite64(int file, const void *data, size_t bytes, off64_t offset)
{
    size_t moved;
    uint32_t word;

    if (device_of(file) == NONE)
        return REAL(ssize_t (*)(int, const void *, size_t, off64_t), "pwrite64")(file, data, bytes, offset);
    if (device_of(file) != USER || offset % 4 != 0 || bytes != 4)
        return refuse(EPROTO);
    memcpy(&word, data, 4);
    return ask('w', (uint64_t)offset, word, NULL, 0, NULL, &moved) < 0 ? -1 : 4;
}

off64_t lseek64(int file, off64_t offset, int whence)
{
    if (device_of(file) == NONE)
        return REAL(off64_t (*)(int, off64_t, int), "lseek64")(file, offset, whence);
    if (whence != SEEK_SET || offset < 0)
        return refuse(EINVAL);
    places[file] = (uint64_t)offset;
    return offset;
}

ssize_t read(int file, void *data, size_t bytes)
{
    size_t moved = 0;

    if (device_of(file) == EVENTS && bytes != 4)
        return refuse(EPROTO);
    if (device_of(file) == EVENTS && descriptor("XDMA_STANDIN_EVENTS") < 0) {
        memset(data, 1, 4); /* poll() has asked for it */
        return 4;
    }
    if (device_of(file) == NONE || device_of(file) == EVENTS)
        return REAL(reads, "read")(file, data, bytes);
    if (device_of(file) != FROM_CARD || (((uintptr_t)data ^ places[file]) & (ALIGNED - 1)) != 0)
        return refuse(EINVAL);
    if (ask('m', places[file], bytes, NULL, 0, data, &moved) < 0)
        return -1;
    places[file] += moved;
    return (ssize_t)moved;
}

ssize_t write(int file, const void *data, size_t bytes)
{
    size_t moved;
    int64_t lost;

    if (device_of(file) == NONE)
        return REAL(writes, "write")(file, data, bytes);
    if (device_of(file) != TO_CARD || (((uintptr_t)data ^ places[file]) & (ALIGNED - 1)) != 0)
        return refuse(EINVAL);
    lost = ask('M', places[file], 0, data, bytes, NULL, &moved); /* bytes that did not get there */
    if (lost < 0)
        return -1;
    places[file] += bytes - (size_t)lost;
    return (ssize_t)(bytes - (size_t)lost);
}

int poll(struct pollfd *files, nfds_t count, int timeout)
{
    size_t moved;

    if (count != 1 || device_of(files->fd) != EVENTS || descriptor("XDMA_STANDIN_EVENTS") >= 0)
        return REAL(int (*)(struct pollfd *, nfds_t, int), "poll")(files, count, timeout);
    files->revents = POLLIN;
    return (int)ask('i', (uint64_t)timeout * 1000000, 0, NULL, 0, NULL, &moved);
}
