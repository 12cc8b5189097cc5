#define _GNU_SOURCE
#include "isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "beside.h"
#include "mappings.h"
#include "platform.h"
#include "rehearsal.h"
#include "snapshot.h"
#include "withhold.h"

#define MAPPINGS_MAX 65536u
#define FILES_MAX 65536u
#define LOOK_BYTES ((size_t)4 << 20) /* of a mapping, looked at at a time */

/* What is noted of the process; mapped, so that no allocator's lock matters. */
struct notes {
    uint32_t mapping_count, file_count;
    struct kitsune__range kept;
    struct {
        struct kitsune__range range;
        int protection;
    } mappings[MAPPINGS_MAX];
    struct kitsune__file_id files[FILES_MAX];
    int pipe[2]; /* an empty one that stands in for all */
    uint32_t stand_in_count;
    struct kitsune__stand_in stand_ins[FILES_MAX];
};

/* ---- mappings -------------------------------------------------------------------------------- */

static int is_device(const char *name) {
    return strncmp(name, "/dev/", 5) == 0 && strncmp(name, "/dev/shm/", 9) != 0 &&
           strncmp(name, "/dev/zero", 9) != 0;
}

static int note_mapping(void *context, const struct kitsune__mapping *mapping) {
    struct notes *notes = context;
    const char *can = mapping->permissions;
    if (can[3] != 's' || can[1] != 'w' || is_device(mapping->name))
        return 0;
    if (mapping->start < notes->kept.end && mapping->end > notes->kept.start)
        return 0;
    if (notes->mapping_count == MAPPINGS_MAX)
        return 1;
    notes->mappings[notes->mapping_count].range =
        (struct kitsune__range){mapping->start, mapping->end};
    notes->mappings[notes->mapping_count++].protection =
        PROT_WRITE | (can[0] == 'r' ? PROT_READ : 0) | (can[2] == 'x' ? PROT_EXEC : 0);
    return 0;
}

/* What is behind a file's end cannot be read, and stays zero. */
static void copy_resident(uintptr_t from, uint8_t *to, size_t size, const unsigned char *resident) {
    const size_t page = kitsune__page_size();
    for (size_t at = 0; at < size;) {
        size_t end = at;
        while (end < size && resident[end / page] & 1)
            end += page;
        if (end > at)
            kitsune__read_memory((const void *)(from + at), to + at, end - at);
        at = end > at ? end : at + page;
    }
}

/* Puts a private copy in place of a shared mapping. */
static int make_private(const struct kitsune__range *range, int protection) {
    static unsigned char resident[LOOK_BYTES / 4096];
    size_t size = range->end - range->start;
    uint8_t *copy = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (copy == MAP_FAILED)
        return -1;
    for (size_t at = 0; at < size; at += LOOK_BYTES) {
        size_t part = size - at < LOOK_BYTES ? size - at : LOOK_BYTES;
        if (mincore((void *)(range->start + at), part, resident) == 0)
            copy_resident(range->start + at, copy + at, part, resident);
    }
    if (mprotect(copy, size, protection) != 0 ||
        mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)range->start) == MAP_FAILED)
        return -1;
    return 0;
}

static int make_all_private(struct notes *notes) {
    if (kitsune__mappings(note_mapping, notes) != 0)
        return -1;
    for (uint32_t index = 0; index < notes->mapping_count; index++)
        if (make_private(&notes->mappings[index].range, notes->mappings[index].protection) != 0)
            return -1;
    return 0;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* A new open file takes the number of an old one; nothing happens if it could not be had. */
static void replace(int descriptor, int new) {
    int is_closed_on_exec = fcntl(descriptor, F_GETFD) & FD_CLOEXEC;
    if (new < 0)
        return;
    dup3(new, descriptor, is_closed_on_exec ? O_CLOEXEC : 0);
    close(new);
}

static void open_anew(int descriptor) {
    const int kept = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_DIRECT | O_NOATIME;
    char name[32];
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || flags & O_PATH)
        return;
    off_t offset = lseek(descriptor, 0, SEEK_CUR);
    kitsune__format(name, sizeof name, "self/fd/%d", descriptor);
    int new = kitsune__open_proc(name, flags & kept);
    if (new >= 0 && offset > 0)
        lseek(new, offset, SEEK_SET);
    replace(descriptor, new);
}

/* The number behind a name in /proc/self/fdinfo/N; `missing` if it is not there. */
static unsigned long long told(int descriptor, const char *name, int base,
                               unsigned long long missing) {
    char path[40], text[1024];
    kitsune__format(path, sizeof path, "self/fdinfo/%d", descriptor);
    int file = kitsune__open_proc(path, O_RDONLY);
    if (file < 0)
        return missing;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    const char *found = strstr(text, name);
    return found != NULL ? strtoull(found + strlen(name), NULL, base) : missing;
}

static int timer_like(int descriptor, int flags) {
    struct itimerspec value;
    int new = timerfd_create((int)told(descriptor, "clockid:", 10, CLOCK_MONOTONIC), flags);
    if (new >= 0 && timerfd_gettime(descriptor, &value) == 0)
        timerfd_settime(new, 0, &value, NULL);
    return new;
}

static int signals_like(int descriptor, int flags) {
    unsigned long long bits = told(descriptor, "sigmask:", 16, 0);
    sigset_t set;
    sigemptyset(&set);
    memcpy(&set, &bits, sizeof bits);
    return signalfd(-1, &set, flags);
}

static int is_called(int descriptor, const char *name) {
    char path[16], target[64];
    int directory = kitsune__open_proc("self/fd", O_PATH | O_DIRECTORY);
    kitsune__format(path, sizeof path, "%d", descriptor);
    ssize_t length = readlinkat(directory, path, target, sizeof target - 1);
    close(directory);
    target[length > 0 ? length : 0] = '\0';
    return strcmp(target, name) == 0;
}

static void replace_anonymous(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL) & O_NONBLOCK; /* EFD_NONBLOCK and its kin are this */
    if (is_called(descriptor, "anon_inode:[eventfd]"))
        replace(descriptor, eventfd((unsigned)told(descriptor, "eventfd-count:", 16, 0), flags));
    else if (is_called(descriptor, "anon_inode:[timerfd]"))
        replace(descriptor, timer_like(descriptor, flags));
    else if (is_called(descriptor, "anon_inode:[signalfd]"))
        replace(descriptor, signals_like(descriptor, flags));
}

/*
 * While the copy holds what the program closes, a peer sees no end, and an epoll of the program goes on
 * reporting it. So an idle socket stands in for each, which nobody talks to: a datagram one, which takes
 * data, has none, and never hangs up.
 */
static void replace_socket(struct notes *notes, int descriptor) {
    static const int facts[] = KITSUNE__SOCKET_FACTS;
    struct kitsune__stand_in *is = &notes->stand_ins[notes->stand_in_count];
    int flags = fcntl(descriptor, F_GETFL) & O_NONBLOCK; /* SOCK_NONBLOCK is this */
    struct stat status;
    for (unsigned index = 0; index < sizeof facts / sizeof *facts; index++) {
        socklen_t size = sizeof is->facts[index];
        getsockopt(descriptor, SOL_SOCKET, facts[index], &is->facts[index], &size);
    }
    is->lengths[0] = is->lengths[1] = sizeof is->names[0];
    if (getsockname(descriptor, (struct sockaddr *)is->names[0], &is->lengths[0]) != 0)
        is->lengths[0] = 0;
    if (getpeername(descriptor, (struct sockaddr *)is->names[1], &is->lengths[1]) != 0)
        is->lengths[1] = 0;
    int new = socket(AF_UNIX, SOCK_DGRAM | flags, 0);
    if (new < 0 || fstat(new, &status) != 0)
        return;
    is->inode = status.st_ino;
    notes->stand_in_count++;
    replace(descriptor, new);
}

static void replace_pipe(const struct notes *notes, int descriptor) {
    int flags = fcntl(descriptor, F_GETFL), is_written = (flags & O_ACCMODE) != O_RDONLY;
    replace(descriptor, dup(notes->pipe[is_written]));
    fcntl(descriptor, F_SETFL, flags);
}

static int separate(void *context, int descriptor) {
    struct notes *notes = context;
    struct stat status;
    if (fstat(descriptor, &status) != 0 || descriptor == notes->pipe[0] ||
        descriptor == notes->pipe[1])
        return 0;
    if (!(status.st_mode & S_IFMT)) { /* they all have one inode */
        replace_anonymous(descriptor);
        return 0;
    }
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
        open_anew(descriptor);
    if (S_ISSOCK(status.st_mode))
        replace_socket(notes, descriptor);
    else if (S_ISFIFO(status.st_mode))
        replace_pipe(notes, descriptor);
    if (notes->file_count == FILES_MAX || fstat(descriptor, &status) != 0)
        return -1;
    notes->files[notes->file_count++] = (struct kitsune__file_id){status.st_dev, status.st_ino};
    return 0;
}

/* After all others: it watches the new ones. */
static int separate_epoll(void *context, int descriptor) {
    (void)context;
    if (!is_called(descriptor, "anon_inode:[eventpoll]"))
        return 0;
    int new = epoll_create1(EPOLL_CLOEXEC);
    if (new >= 0)
        kitsune__snapshot_copy_watches(descriptor, new);
    replace(descriptor, new);
    return 0;
}

static int compare_stand_ins(const void *left, const void *right) {
    const struct kitsune__stand_in *one = left, *other = right;
    return one->inode < other->inode ? -1 : one->inode > other->inode;
}

static int compare_files(const void *left, const void *right) {
    const struct kitsune__file_id *one = left, *other = right;
    if (one->device != other->device)
        return one->device < other->device ? -1 : 1;
    return one->inode < other->inode ? -1 : one->inode > other->inode;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int fail(char *reason, size_t size, const char *what) {
    kitsune__format(reason, size, "a copy of the process cannot be kept from acting on %s", what);
    return -1;
}

static int open_pipe(struct notes *notes) {
    if (pipe2(notes->pipe, O_CLOEXEC) != 0)
        return -1;
    for (int end = 0; end < 2; end++)
        notes->pipe[end] = kitsune__rehearsal_move_high(notes->pipe[end]);
    return 0;
}

static int separate_all(struct notes *notes) {
    if (open_pipe(notes) != 0 || kitsune__each_descriptor(separate, notes) != 0 ||
        kitsune__each_descriptor(separate_epoll, notes) != 0)
        return -1;
    qsort(notes->files, notes->file_count, sizeof *notes->files, compare_files);
    qsort(notes->stand_ins, notes->stand_in_count, sizeof *notes->stand_ins, compare_stand_ins);
    return 0;
}

int kitsune__isolate(const struct kitsune__range *kept, pid_t program, pid_t parent,
                     void (*let_go)(void), char *reason, size_t size) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    struct notes *notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (notes == MAP_FAILED)
        return fail(reason, size, "the world: no memory");
    notes->kept = *kept;
    if (separate_all(notes) != 0)
        return fail(reason, size, "open files");
    let_go();
    if (make_all_private(notes) != 0)
        return fail(reason, size, "memory that is shared");
    const struct kitsune__shared shared = {notes->file_count, notes->stand_in_count, notes->files,
                                           notes->stand_ins};
    kitsune__share_alone();
    if (kitsune__withhold(program, parent, &shared) != 0)
        return fail(reason, size, "the world: the kernel takes no filter (seccomp)");
    return 0;
}
