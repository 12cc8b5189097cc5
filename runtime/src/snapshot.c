#define _GNU_SOURCE
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "platform.h"

#define PAGE 4096u
#define CHUNK_PAGES 512u  /* compared at a time: 2 MiB */
#define RANGES_MAX 70000u /* vm.max_map_count is 65530 where nobody changed it */
#define DESCRIPTORS_MAX 65536u
#define LIMITS 16
#define SIGNALS 64
#define TEXT_SIZE 16384u
#define WATCHES_MAX 262144u
#define EPOLLS_MAX 64
#define TIMERFDS_MAX 64
#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif
#define NS_PER_S 1000000000ull
#define RSEQ_AREA 32u
#define GROUPS_MAX 65536u

/* Of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE (1ull << 61)        /* of a file, or shared: no private copy */
#define PAGEMAP_FRAME ((1ull << 55) - 1) /* zero for those who may not know */

/* PAGEMAP_SCAN (Linux 6.7), spelled out since libc's headers are often older than the kernel. */
struct scan_region {
    uint64_t start, end, categories;
};
struct scan_arguments {
    uint64_t size, flags, start, end, walk_end, regions, region_count, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_REQUEST 0xc0606610u /* _IOWR('f', 16, struct scan_arguments) */
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)

/* A line of /proc/self/maps. */
struct range {
    uint64_t start, end, offset, inode, device;
    uint8_t protection; /* PROT_* */
    uint8_t is_shared;
    uint8_t is_left; /* never touched: vdso and its kin, and what copies do not inherit */
    uint8_t is_lost; /* made again without its file, whole or in part */
};

struct descriptor {
    int number;
    int flags; /* F_GETFD */
    uint64_t inode, device;
};

/* What an epoll watches, as /proc/PID/fdinfo/N tells it, which is in one order every time. */
struct watch {
    int descriptor;
    uint32_t events;
    uint64_t data;
};

/* The epoll `number` and its watches[start .. start + count]. */
struct epoll {
    int number;
    uint32_t start, count;
};

/* A timerfd, and when it was asked what it is set to. */
struct timerfd {
    int number;
    int has_run_out;
    struct itimerspec setting;
    uint64_t at_ns;
};

/* sigaction as the kernel has it on x86-64 and AArch64. */
struct kernel_action {
    void *handler;
    uint64_t flags;
    void *restorer;
    uint64_t mask;
};

enum command {
    COMMAND_NONE = 0,
    COMMAND_DESCRIBE,   /* ranges, descriptors, attributes */
    COMMAND_NEXT,       /* first address in [start, end) that may hold a page */
    COMMAND_PAGES,      /* entries and contents of a chunk */
    COMMAND_DESCRIPTOR, /* send descriptor `start` to `address` */
    COMMAND_FLAGS,      /* status flags of descriptor `start` */
    COMMAND_WATCHES,    /* what epoll `start` watches */
    COMMAND_TIMER,      /* when timerfd `start` runs out */
    COMMAND_LET_GO      /* of all descriptors */
};

struct kitsune__exchange {
    uint32_t asked, answered; /* futex words; counted up */
    uint32_t command;
    uint32_t has_failed; /* the clone could not do what it was asked */
    pid_t process;       /* the one that was cloned */
    uint64_t start, end, result;
    uint32_t protection; /* of the chunk that is asked for */
    uint32_t wants_all;  /* of the chunk: also what is no private copy */
    struct sockaddr_un address;
    socklen_t address_length;
    /* What the clone says of itself. */
    uint64_t program_break;
    uint64_t cwd_inode, cwd_device;
    uint32_t file_mask;
    uint32_t user[3], group[3];
    int group_count; /* of supplementary ones */
    uint32_t groups[GROUPS_MAX], own_groups[GROUPS_MAX];
    /* Not the clone's, which does not inherit them. */
    int is_dumpable, is_reaper;
    struct rlimit limits[LIMITS];
    struct kernel_action actions[SIGNALS + 1];
    uint32_t range_count, descriptor_count;
    /* What the clone was told to save. `flags` is by descriptor: F_GETFL plus 1, or 0 */
    uint32_t flags_end; /* behind the last that is saved */
    uint32_t flags[DESCRIPTORS_MAX];
    uint32_t epoll_count, watch_count;
    struct epoll epolls[EPOLLS_MAX];
    struct watch watches[WATCHES_MAX], own_watches[WATCHES_MAX];
    uint32_t timerfd_count;
    struct timerfd timerfds[TIMERFDS_MAX];
    uint32_t area_count;
    void *areas[KITSUNE__AREAS_MAX]; /* the threads' rseq areas */
    uint8_t kept_areas[KITSUNE__AREAS_MAX][RSEQ_AREA];
    /* The process's own side. */
    uint32_t own_range_count, own_descriptor_count;
    uint64_t own_entries[CHUNK_PAGES], entries[CHUNK_PAGES];
    char own_text[TEXT_SIZE] __attribute__((aligned(8)));
    char text[TEXT_SIZE] __attribute__((aligned(8)));
    struct range own_ranges[RANGES_MAX], ranges[RANGES_MAX];
    struct descriptor own_descriptors[DESCRIPTORS_MAX], descriptors[DESCRIPTORS_MAX];
    uint8_t pages[CHUNK_PAGES][PAGE] __attribute__((aligned(4096)));
};

size_t kitsune__exchange_size(void) {
    return sizeof(struct kitsune__exchange);
}

/* ---- both sides ---------------------------------------------------------------------------- */

/* Loops of their own: libc's copies go through tables that a broken program may have overwritten. */
#if defined(__clang__)
#define NO_LIBC KITSUNE__UNCHECKED __attribute__((no_builtin))
#else
#define NO_LIBC KITSUNE__UNCHECKED __attribute__((optimize("no-tree-loop-distribute-patterns")))
#endif

NO_LIBC static void copy_page(void *to, const void *from) {
    uint64_t *out = to;
    const uint64_t *in = from;
    for (size_t index = 0; index < PAGE / sizeof *out; index++)
        out[index] = in[index];
}

NO_LIBC static int pages_differ(const void *one, const void *other) {
    const uint64_t *a = one, *b = other;
    uint64_t difference = 0;
    for (size_t index = 0; index < PAGE / sizeof *a; index++)
        difference |= a[index] ^ b[index];
    return difference != 0;
}

NO_LIBC static void copy_bytes(void *to, const void *from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    for (size_t index = 0; index < size; index++)
        out[index] = in[index];
}

static int same_bytes(const void *one, const void *other, size_t size) {
    const uint8_t *a = one, *b = other;
    while (size > 0 && *a == *b)
        a++, b++, size--;
    return size == 0;
}

static void futex_wake(uint32_t *word) {
    KITSUNE__SYSCALL(SYS_futex, word, FUTEX_WAKE, 1);
}

/* Waits a second at most while the word has this value. */
static void futex_wait(uint32_t *word, uint32_t value) {
    struct timespec second = {1, 0};
    KITSUNE__SYSCALL(SYS_futex, word, FUTEX_WAIT, value, &second);
}

/* Opens a file of /proc/self that only the owner may read: a process that gave up privileges is not
 * the owner of its own, unless it is dumpable. */
static int open_own(const char *name, int flags) {
    int descriptor = kitsune__open_proc(name, flags);
    if (descriptor != -EACCES && descriptor != -EPERM)
        return descriptor;
    long dumpable = KITSUNE__SYSCALL(SYS_prctl, PR_GET_DUMPABLE);
    KITSUNE__SYSCALL(SYS_prctl, PR_SET_DUMPABLE, 1);
    descriptor = kitsune__open_proc(name, flags);
    if (dumpable != 1)
        KITSUNE__SYSCALL(SYS_prctl, PR_SET_DUMPABLE, 0);
    return descriptor;
}

/* A reader of text by pieces. */
struct reader {
    int descriptor;
    char *buffer;
    size_t at, length;
};

static int next_char(struct reader *reader) {
    if (reader->at == reader->length) {
        long length = KITSUNE__SYSCALL(SYS_read, reader->descriptor, reader->buffer, TEXT_SIZE);
        if (length <= 0)
            return -1;
        reader->length = (size_t)length;
        reader->at = 0;
    }
    return (unsigned char)reader->buffer[reader->at++];
}

/* Reads a number and the character behind it. */
static uint64_t read_number(struct reader *reader, unsigned base, int *after) {
    uint64_t value = 0;
    for (;;) {
        int character = next_char(reader);
        unsigned digit = 99;
        if (character >= '0' && character <= '9')
            digit = (unsigned)character - '0';
        else if (character >= 'a' && character <= 'f')
            digit = (unsigned)character - 'a' + 10;
        if (digit >= base) {
            *after = character;
            return value;
        }
        value = value * base + digit;
    }
}

/* Reads the number behind the next colon and blanks, and the character behind it. */
static uint64_t read_field(struct reader *reader, unsigned base, int *after) {
    int character;
    while ((character = next_char(reader)) >= 0 && character != ':')
        ;
    while ((character = next_char(reader)) == ' ' || character == '\t')
        ;
    if (character >= 0)
        reader->at--;
    return read_number(reader, base, after);
}

static void read_permissions(struct reader *reader, struct range *range) {
    range->protection = 0;
    range->protection |= next_char(reader) == 'r' ? PROT_READ : 0;
    range->protection |= next_char(reader) == 'w' ? PROT_WRITE : 0;
    range->protection |= next_char(reader) == 'x' ? PROT_EXEC : 0;
    range->is_shared = next_char(reader) == 's';
}

/* Reads the rest of the line. The path goes to `path` if that is not NULL. */
static void read_path(struct reader *reader, struct range *range, char *path, size_t size) {
    static const char vdso[] = "[v"; /* [vdso], [vvar], [vvar_vclock], [vsyscall] */
    char head[3] = {0};
    size_t length = 0;
    int character;
    while ((character = next_char(reader)) == ' ')
        ;
    for (; character >= 0 && character != '\n'; character = next_char(reader), length++) {
        if (length < 2)
            head[length] = (char)character;
        if (path != NULL && length + 1 < size)
            path[length] = (char)character;
    }
    if (path != NULL)
        path[length < size ? length : size - 1] = '\0';
    range->is_lost = 0;
    range->is_left = head[0] == vdso[0] && head[1] == vdso[1];
}

/* What a reader of the map is to explain. */
struct probe {
    const void *address;
    char *path;
    size_t size;
    uint64_t *offset;
};

static int read_range(struct reader *reader, struct range *range, const struct probe *probe) {
    int after;
    range->start = read_number(reader, 16, &after);
    if (after != '-')
        return 0;
    range->end = read_number(reader, 16, &after);
    read_permissions(reader, range);
    next_char(reader);
    range->offset = read_number(reader, 16, &after);
    range->device = read_number(reader, 16, &after) << 32;
    range->device |= read_number(reader, 16, &after);
    range->inode = read_number(reader, 10, &after);
    uintptr_t address = (uintptr_t)(probe != NULL ? probe->address : NULL);
    int is_probed = address >= range->start && address < range->end;
    if (after != '\n')
        read_path(reader, range, is_probed ? probe->path : NULL, is_probed ? probe->size : 0);
    if (is_probed)
        *probe->offset = address - range->start + range->offset;
    return 1;
}

/* Returns the number of ranges, or 0 on failure. */
static uint32_t read_ranges(struct range *ranges, char *text, const struct probe *probe) {
    struct reader reader = {kitsune__open_proc("self/maps", O_RDONLY), text, 0, 0};
    uint32_t count = 0;
    if (reader.descriptor < 0)
        return 0;
    while (count < RANGES_MAX && read_range(&reader, &ranges[count], probe))
        count++;
    KITSUNE__SYSCALL(SYS_close, reader.descriptor);
    return count < RANGES_MAX ? count : 0;
}

/* What madvise said of a mapping, as the last of its lines in smaps tells it. */
struct inheritance {
    uint64_t start, end;
    int is_wiped, is_missing; /* in a copy of the process */
};

/* Reads on behind "VmFlags:", two letters each. */
static void read_flags(struct reader *reader, struct inheritance *inheritance) {
    int first, second;
    while ((first = next_char(reader)) >= 0 && first != '\n') {
        if (first == ' ' || (second = next_char(reader)) < 0)
            continue;
        inheritance->is_wiped |= first == 'w' && second == 'f';
        inheritance->is_missing |= first == 'd' && second == 'c';
    }
}

static void skip_to(struct reader *reader, int wanted) {
    int character;
    while ((character = next_char(reader)) >= 0 && character != wanted)
        ;
}

/* Reads on to the next mapping whose contents copies of the process do not inherit: a line with its
 * addresses, then lines that begin with capitals, the flags last. */
static int read_inheritance(struct reader *reader, struct inheritance *found) {
    int first, after;
    while ((first = next_char(reader)) >= 0) {
        if (first == 'V') {
            skip_to(reader, ':');
            read_flags(reader, found);
            if (found->is_wiped || found->is_missing)
                return 1;
            continue;
        }
        if (first < 'A' || first > 'Z') {
            reader->at--;
            *found = (struct inheritance){0};
            found->start = read_number(reader, 16, &after);
            found->end = read_number(reader, 16, &after);
        }
        skip_to(reader, '\n');
    }
    return 0;
}

static void describe_descriptor(struct descriptor *descriptor, int number) {
    struct stat status;
    descriptor->number = number;
    descriptor->flags = (int)KITSUNE__SYSCALL(SYS_fcntl, number, F_GETFD);
    descriptor->inode = descriptor->device = 0;
    if (KITSUNE__SYSCALL(SYS_fstat, number, &status) == 0) {
        descriptor->inode = status.st_ino;
        descriptor->device = status.st_dev;
    }
}

struct descriptors {
    struct descriptor *at;
    uint32_t count;
};

static int list_descriptor(void *context, int number) {
    struct descriptors *list = context;
    if (list->count == DESCRIPTORS_MAX)
        return -1;
    describe_descriptor(&list->at[list->count++], number);
    return 0;
}

/* Lists the open descriptors, by number. */
static int read_descriptors(struct descriptor *descriptors, uint32_t *total) {
    struct descriptors list = {descriptors, 0};
    int result = kitsune__each_descriptor(list_descriptor, &list);
    *total = list.count;
    return result;
}

/* Lists what an epoll watches; nothing if it is none. Returns the number, at most `most`. */
static uint32_t read_watches(int epoll, struct watch *watches, uint32_t most, char *text) {
    char name[40];
    int first, after = '\n';
    uint32_t count = 0;
    kitsune__format(name, sizeof name, "self/fdinfo/%d", epoll);
    struct reader reader = {open_own(name, O_RDONLY), text, 0, 0};
    if (reader.descriptor < 0)
        return 0;
    while (count < most && (first = next_char(&reader)) >= 0) {
        if (first == 't' && next_char(&reader) == 'f') { /* "tfd: 5 events: 19 data: 7 ..." */
            watches[count].descriptor = (int)read_field(&reader, 10, &after);
            watches[count].events = (uint32_t)read_field(&reader, 16, &after);
            watches[count++].data = read_field(&reader, 16, &after);
        }
        while (after != '\n' && after >= 0)
            after = next_char(&reader);
        after = 0;
    }
    KITSUNE__SYSCALL(SYS_close, reader.descriptor);
    return count;
}

/* Reads the page table's entries of a chunk. Returns 0 or -1. */
static int read_entries(int pagemap, uint64_t start, uint64_t *entries, uint64_t count) {
    long wanted = (long)(count * sizeof *entries);
    long offset = (long)(start / PAGE * sizeof *entries);
    return KITSUNE__SYSCALL(SYS_pread64, pagemap, entries, wanted, offset) == wanted ? 0 : -1;
}

/* The first page in [start, end) that is there, or `end`; `start` where the kernel cannot tell. */
static uint64_t next_page(int pagemap, uint64_t start, uint64_t end) {
    struct scan_region region = {0, 0, 0};
    struct scan_arguments scan = {.size = sizeof scan,
                                  .start = start,
                                  .end = end,
                                  .regions = (uintptr_t)&region,
                                  .region_count = 1,
                                  .max_pages = 1,
                                  .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
                                  .return_mask = SCAN_PRESENT};
    long found = KITSUNE__SYSCALL(SYS_ioctl, pagemap, SCAN_REQUEST, &scan);
    if (found < 0)
        return start;
    return found == 0 ? end : region.start;
}

static int has_private_copy(uint64_t entry) {
    return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0 && (entry & PAGEMAP_FILE) == 0;
}

/* The same frame is behind both, so that the contents are equal. */
static int is_same_frame(uint64_t one, uint64_t other) {
    return (one & PAGEMAP_PRESENT) && (other & PAGEMAP_PRESENT) && (one & PAGEMAP_FRAME) != 0 &&
           (one & PAGEMAP_FRAME) == (other & PAGEMAP_FRAME);
}

/* ---- the clone ----------------------------------------------------------------------------- */

static void describe_attributes(struct kitsune__exchange *exchange) {
    struct stat status;
    exchange->program_break = (uint64_t)KITSUNE__SYSCALL(SYS_brk, 0);
    exchange->cwd_inode = exchange->cwd_device = 0;
    if (KITSUNE__SYSCALL(SYS_newfstatat, AT_FDCWD, ".", &status, 0) == 0) {
        exchange->cwd_inode = status.st_ino;
        exchange->cwd_device = status.st_dev;
    }
    exchange->file_mask = (uint32_t)KITSUNE__SYSCALL(SYS_umask, 0);
    KITSUNE__SYSCALL(SYS_getresuid, &exchange->user[0], &exchange->user[1], &exchange->user[2]);
    KITSUNE__SYSCALL(SYS_getresgid, &exchange->group[0], &exchange->group[1], &exchange->group[2]);
    exchange->group_count = (int)KITSUNE__SYSCALL(SYS_getgroups, GROUPS_MAX, exchange->groups);
    for (int limit = 0; limit < LIMITS; limit++)
        KITSUNE__SYSCALL(SYS_prlimit64, 0, limit, 0, &exchange->limits[limit]);
    for (int number = 1; number <= SIGNALS; number++)
        KITSUNE__SYSCALL(SYS_rt_sigaction, number, 0, &exchange->actions[number], 8);
}

static int describe(struct kitsune__exchange *exchange) {
    describe_attributes(exchange);
    exchange->range_count = read_ranges(exchange->ranges, exchange->text, NULL);
    if (exchange->range_count == 0)
        return -1;
    return read_descriptors(exchange->descriptors, &exchange->descriptor_count);
}

/* Copies a page that may be a file's, and be behind the file's end: such a one is all zeroes. */
NO_LIBC static void supply_file_page(struct kitsune__exchange *exchange, uint64_t page) {
    uint64_t *words = (uint64_t *)exchange->pages[page];
    const void *from = (const void *)(exchange->start + page * PAGE);
    exchange->entries[page] = PAGEMAP_PRESENT;
    if (kitsune__read_memory(from, words, PAGE) == PAGE)
        return;
    for (size_t index = 0; index < PAGE / sizeof *words; index++)
        words[index] = 0;
}

/* Copies the chunk's private pages, or all; page n of the chunk goes to slot n. */
static int supply_pages(struct kitsune__exchange *exchange, int pagemap) {
    uint64_t start = exchange->start, count = (exchange->end - start) / PAGE;
    int is_readable = (exchange->protection & PROT_READ) != 0;
    if (read_entries(pagemap, start, exchange->entries, count) != 0)
        return -1;
    for (uint64_t page = 0; page < count; page++) {
        if (exchange->wants_all && !has_private_copy(exchange->entries[page])) {
            supply_file_page(exchange, page);
            continue;
        }
        if (!has_private_copy(exchange->entries[page]) ||
            is_same_frame(exchange->entries[page], exchange->own_entries[page]))
            continue;
        /* The clone's own protections are of no more use once they were described. */
        if (!is_readable && KITSUNE__SYSCALL(SYS_mprotect, start, count * PAGE,
                                             exchange->protection | PROT_READ) != 0)
            return -1;
        is_readable = 1;
        copy_page(exchange->pages[page], (const void *)(start + page * PAGE));
    }
    return 0;
}

/* Sends descriptor `number` (-1: one of the working directory) to the process's socket. */
static int send_descriptor(struct kitsune__exchange *exchange, int number) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    char byte = 0;
    struct iovec data = {&byte, 1};
    struct msghdr message = {&exchange->address, exchange->address_length, &data, 1,
                             &control,           sizeof control,           0};
    int channel = (int)KITSUNE__SYSCALL(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (number < 0)
        number = (int)KITSUNE__SYSCALL(SYS_openat, AT_FDCWD, ".", O_PATH | O_DIRECTORY, 0);
    *(int *)CMSG_DATA(&control.header) = number;
    long sent = KITSUNE__SYSCALL(SYS_sendmsg, channel, &message, 0);
    KITSUNE__SYSCALL(SYS_close, channel);
    return sent == 1 ? 0 : -1;
}

static void save_flags(struct kitsune__exchange *exchange, uint32_t number) {
    long flags = KITSUNE__SYSCALL(SYS_fcntl, number, F_GETFL);
    if (flags < 0)
        return;
    exchange->flags[number] = (uint32_t)flags + 1;
    if (exchange->flags_end <= number)
        exchange->flags_end = number + 1;
}

static int save_watches(struct kitsune__exchange *exchange, int number) {
    if (exchange->epoll_count == EPOLLS_MAX)
        return -1;
    uint32_t start = exchange->watch_count;
    uint32_t count =
        read_watches(number, exchange->watches + start, WATCHES_MAX - start, exchange->text);
    exchange->epolls[exchange->epoll_count] = (struct epoll){number, start, count};
    exchange->watch_count = start + count;
    exchange->epoll_count++;
    return 0;
}

/* That it has run out is told by its being readable; how often, by nothing that is worth the reading. */
static int save_timer(struct kitsune__exchange *exchange, int number) {
    struct timerfd *timer = &exchange->timerfds[exchange->timerfd_count];
    struct pollfd look = {number, POLLIN, 0};
    struct timespec none = {0, 0};
    if (exchange->timerfd_count == TIMERFDS_MAX)
        return -1;
    if (KITSUNE__SYSCALL(SYS_timerfd_gettime, number, &timer->setting) != 0)
        return 0; /* none */
    timer->number = number;
    timer->at_ns = kitsune__now_ns();
    timer->has_run_out = KITSUNE__SYSCALL(SYS_ppoll, &look, 1, &none, 0, 0) == 1;
    exchange->timerfd_count++;
    return 0;
}

static int obey(struct kitsune__exchange *exchange, int *pagemap) {
    if (*pagemap < 0)
        *pagemap = open_own("self/pagemap", O_RDONLY);
    switch (exchange->command) {
    case COMMAND_DESCRIBE:
        /* Opened before the descriptors are listed, closed again: the list is the process's. */
        KITSUNE__SYSCALL(SYS_close, *pagemap);
        *pagemap = -1;
        return describe(exchange);
    case COMMAND_NEXT:
        exchange->result = next_page(*pagemap, exchange->start, exchange->end);
        return 0;
    case COMMAND_PAGES:
        return supply_pages(exchange, *pagemap);
    case COMMAND_DESCRIPTOR:
        return send_descriptor(exchange, (int)(int64_t)exchange->start);
    case COMMAND_FLAGS:
        save_flags(exchange, (uint32_t)exchange->start);
        return 0;
    case COMMAND_WATCHES:
        return save_watches(exchange, (int)exchange->start);
    case COMMAND_TIMER:
        return save_timer(exchange, (int)exchange->start);
    case COMMAND_LET_GO:
        kitsune__close_all_but(-1);
        return 0;
    default:
        return -1;
    }
}

static int is_orphan(const struct kitsune__exchange *exchange) {
    return KITSUNE__SYSCALL(SYS_getppid) != exchange->process;
}

__attribute__((noreturn)) static void serve(struct kitsune__exchange *exchange) {
    uint64_t all = ~0ull;
    uint32_t done = 0;
    int pagemap = -1;
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_BLOCK, &all, 0, 8);
    KITSUNE__SYSCALL(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    while (!is_orphan(exchange)) {
        uint32_t asked = __atomic_load_n(&exchange->asked, __ATOMIC_ACQUIRE);
        if (asked == done) {
            futex_wait(&exchange->asked, asked);
            continue;
        }
        exchange->has_failed = obey(exchange, &pagemap) != 0;
        done = asked;
        __atomic_store_n(&exchange->answered, asked, __ATOMIC_RELEASE);
        futex_wake(&exchange->answered);
    }
    for (;;)
        KITSUNE__SYSCALL(SYS_exit_group, 0);
}

/* ---- the process --------------------------------------------------------------------------- */

int kitsune__snapshot_possible(void) {
    static const char *const needed[] = {"self/maps", "self/pagemap", "self/fd"};
    for (size_t index = 0; index < sizeof needed / sizeof *needed; index++) {
        int descriptor = open_own(needed[index], O_RDONLY);
        if (descriptor < 0)
            return 0;
        KITSUNE__SYSCALL(SYS_close, descriptor);
    }
    return 1;
}

void kitsune__snapshot_keep_area(struct kitsune__exchange *exchange, void *area) {
    if (area != NULL && exchange->area_count < KITSUNE__AREAS_MAX)
        exchange->areas[exchange->area_count++] = area;
}

pid_t kitsune__snapshot_take(struct kitsune__exchange *exchange) {
    exchange->process = (pid_t)KITSUNE__SYSCALL(SYS_getpid);
    exchange->asked = exchange->answered = 0;
    exchange->is_dumpable = (int)KITSUNE__SYSCALL(SYS_prctl, PR_GET_DUMPABLE);
    KITSUNE__SYSCALL(SYS_prctl, PR_GET_CHILD_SUBREAPER, &exchange->is_reaper);
    /* No CLONE_FILES: the clone's descriptors are the record of what was open. */
    long clone = kitsune__copy_process(0);
    if (clone == 0)
        serve(exchange);
    return (pid_t)clone;
}

static void kill_clone(pid_t clone) {
    KITSUNE__SYSCALL(SYS_kill, clone, SIGKILL);
}

int kitsune__snapshot_reap(pid_t clone, int wait) {
    int flags = kitsune__copy_wait() | (wait ? 0 : WNOHANG);
    long result = KITSUNE__SYSCALL(SYS_wait4, clone, 0, flags, 0);
    return result == clone || result == -ECHILD;
}

/* State of one restoration, on the stack. */
struct restoration {
    struct kitsune__exchange *exchange;
    struct kitsune__restored *restored;
    pid_t clone;
    int pagemap;
};

static void note_failure(struct restoration *work, const char *what) {
    work->restored->failures++;
    work->restored->failure = what;
}

static int is_clone_dead(struct restoration *work) {
    return kitsune__snapshot_reap(work->clone, 0);
}

/* Asks the clone and waits for the answer. Returns 0, or -1 if it failed or is dead. */
static int ask(struct restoration *work, enum command command, uint64_t start, uint64_t end) {
    struct kitsune__exchange *exchange = work->exchange;
    if (work->restored->clone_lost)
        return -1;
    exchange->command = command;
    exchange->start = start;
    exchange->end = end;
    uint32_t asked = exchange->asked + 1;
    __atomic_store_n(&exchange->asked, asked, __ATOMIC_RELEASE);
    futex_wake(&exchange->asked);
    for (;;) {
        uint32_t answered = __atomic_load_n(&exchange->answered, __ATOMIC_ACQUIRE);
        if (answered == asked)
            return exchange->has_failed ? -1 : 0;
        futex_wait(&exchange->answered, answered);
        if (__atomic_load_n(&exchange->answered, __ATOMIC_ACQUIRE) != asked &&
            is_clone_dead(work)) {
            work->restored->clone_lost = 1;
            return -1;
        }
    }
}

/* -- mappings -- */

static int is_same_backing(const struct range *one, const struct range *other) {
    if (one->is_shared != other->is_shared || one->inode != other->inode ||
        one->device != other->device)
        return 0;
    int is_anonymous = one->inode == 0 && !one->is_shared;
    return is_anonymous || one->offset - one->start == other->offset - other->start;
}

static void remove_range(struct restoration *work, uint64_t start, uint64_t end) {
    if (KITSUNE__SYSCALL(SYS_munmap, start, end - start) != 0)
        note_failure(work, "a new mapping could not be removed");
    work->restored->mappings++;
}

/* A lost mapping is made again as private memory, which its contents then fill; what was shared
 * with others cannot be had back. */
static void make_range(struct restoration *work, struct range *range, uint64_t start,
                       uint64_t end) {
    range->is_lost = range->is_shared || range->inode != 0;
    if (range->is_shared)
        note_failure(work, "a shared mapping that the new version removed is lost");
    long result = KITSUNE__SYSCALL(SYS_mmap, start, end - start, range->protection,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (result != (long)start)
        note_failure(work, "a lost mapping could not be made again");
    work->restored->mappings++;
}

static void restore_both(struct restoration *work, const struct range *own, struct range *kept,
                         uint64_t start, uint64_t end) {
    if (!is_same_backing(own, kept)) {
        remove_range(work, start, end);
        make_range(work, kept, start, end);
    } else if (own->protection != kept->protection &&
               KITSUNE__SYSCALL(SYS_mprotect, start, end - start, kept->protection) != 0) {
        note_failure(work, "a mapping's protection could not be restored");
    }
}

static struct range *range_between(struct range *ranges, uint32_t count, uint64_t start,
                                   uint64_t end) {
    for (uint32_t index = 0; index < count; index++)
        if (ranges[index].start == start && ranges[index].end == end)
            return &ranges[index];
    return NULL;
}

/* The clone knows nothing of what is not inherited: it stays as the new version left it. Of what is
 * inherited without its contents the clone tells whether it was there. */
static void leave_uninherited(struct restoration *work) {
    struct kitsune__exchange *exchange = work->exchange;
    struct reader reader = {open_own("self/smaps", O_RDONLY), exchange->own_text, 0, 0};
    struct inheritance found = {0};
    if (reader.descriptor < 0)
        return;
    while (read_inheritance(&reader, &found)) {
        struct range *own =
            range_between(exchange->own_ranges, exchange->own_range_count, found.start, found.end);
        struct range *kept =
            range_between(exchange->ranges, exchange->range_count, found.start, found.end);
        if (own == NULL || (kept == NULL && !found.is_missing))
            continue;
        own->is_left = 1;
        if (kept != NULL)
            kept->is_left = 1;
    }
    KITSUNE__SYSCALL(SYS_close, reader.descriptor);
}

static uint64_t lower(uint64_t one, uint64_t other) {
    return one < other ? one : other;
}

/* Walks both sorted lists side by side; `at` is where the walk stands. */
static void restore_ranges(struct restoration *work) {
    struct kitsune__exchange *exchange = work->exchange;
    const struct range *own = exchange->own_ranges, *own_end = own + exchange->own_range_count;
    struct range *kept = exchange->ranges;
    const struct range *kept_end = kept + exchange->range_count;
    uint64_t at = 0;
    for (;;) {
        while (own < own_end && own->end <= at)
            own++;
        while (kept < kept_end && kept->end <= at)
            kept++;
        uint64_t own_start = own < own_end ? (own->start > at ? own->start : at) : UINT64_MAX;
        uint64_t kept_start = kept < kept_end ? (kept->start > at ? kept->start : at) : UINT64_MAX;
        if (own_start == UINT64_MAX && kept_start == UINT64_MAX)
            return;
        if (own_start < kept_start) {
            at = lower(own->end, kept_start);
            if (!own->is_left)
                remove_range(work, own_start, at);
        } else if (kept_start < own_start) {
            at = lower(kept->end, own_start);
            if (!kept->is_left)
                make_range(work, kept, kept_start, at);
        } else {
            at = lower(own->end, kept->end);
            if (!own->is_left && !kept->is_left)
                restore_both(work, own, kept, own_start, at);
        }
    }
}

/* -- contents -- */

/* Gives the page's private copy up: the kernel shows zeroes or the file again. */
static int drop_page(uint64_t address) {
    return KITSUNE__SYSCALL(SYS_madvise, address, PAGE, MADV_DONTNEED) == 0;
}

static void restore_chunk(struct restoration *work, const struct range *range, uint64_t start,
                          uint64_t count) {
    struct kitsune__exchange *exchange = work->exchange;
    uint8_t protection = range->protection;
    exchange->protection = protection;
    exchange->wants_all = range->is_lost;
    if (read_entries(work->pagemap, start, exchange->own_entries, count) != 0 ||
        ask(work, COMMAND_PAGES, start, start + count * PAGE) != 0) {
        note_failure(work, "memory could not be compared with the snapshot");
        return;
    }
    for (uint64_t page = 0; page < count; page++) {
        uint64_t own = exchange->own_entries[page], kept = exchange->entries[page];
        uint64_t address = start + page * PAGE;
        if (!has_private_copy(kept)) {
            if (has_private_copy(own) && !drop_page(address))
                note_failure(work, "new memory could not be given back");
            continue;
        }
        if (is_same_frame(own, kept))
            continue;
        if (!(protection & PROT_READ)) {
            protection |= PROT_READ;
            KITSUNE__SYSCALL(SYS_mprotect, start, count * PAGE, protection);
        }
        if (!pages_differ((const void *)address, exchange->pages[page]))
            continue;
        if (!(protection & PROT_WRITE)) {
            protection |= PROT_READ | PROT_WRITE;
            KITSUNE__SYSCALL(SYS_mprotect, start, count * PAGE, protection);
        }
        copy_page((void *)address, exchange->pages[page]);
        work->restored->pages++;
    }
    if (protection != range->protection)
        KITSUNE__SYSCALL(SYS_mprotect, start, count * PAGE, range->protection);
}

/* Skips what neither side has. */
static uint64_t next_chunk(struct restoration *work, const struct range *range, uint64_t start) {
    uint64_t end = range->end;
    if (range->is_lost)
        return start;
    uint64_t own = next_page(work->pagemap, start, end);
    if (own == start || ask(work, COMMAND_NEXT, start, end) != 0)
        return start;
    return lower(own, work->exchange->result);
}

static void restore_contents(struct restoration *work) {
    struct kitsune__exchange *exchange = work->exchange;
    work->pagemap = open_own("self/pagemap", O_RDONLY);
    for (uint32_t index = 0; index < exchange->range_count; index++) {
        const struct range *range = &exchange->ranges[index];
        if ((range->is_shared && !range->is_lost) || range->is_left)
            continue;
        uint64_t at = range->start;
        while ((at = next_chunk(work, range, at)) < range->end) {
            if (work->restored->clone_lost)
                return;
            uint64_t count = lower((range->end - at) / PAGE, CHUNK_PAGES);
            restore_chunk(work, range, at, count);
            at += count * PAGE;
        }
    }
    KITSUNE__SYSCALL(SYS_close, work->pagemap);
}

/* The kernel writes into the threads' rseq areas whenever it likes: what it says now stays. */
static void restore_memory(struct restoration *work) {
    struct kitsune__exchange *exchange = work->exchange;
    for (uint32_t index = 0; index < exchange->area_count; index++)
        copy_bytes(exchange->kept_areas[index], exchange->areas[index], RSEQ_AREA);
    leave_uninherited(work);
    restore_ranges(work);
    restore_contents(work);
    for (uint32_t index = 0; index < exchange->area_count; index++)
        copy_bytes(exchange->areas[index], exchange->kept_areas[index], RSEQ_AREA);
}

/* -- descriptors -- */

/* Opens a socket under a name of the kernel's choice; the clone learns it. */
static int open_channel(struct kitsune__exchange *exchange) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int channel = (int)KITSUNE__SYSCALL(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (channel < 0)
        return channel;
    exchange->address_length = sizeof exchange->address;
    if (KITSUNE__SYSCALL(SYS_bind, channel, &name, sizeof name.sun_family) != 0 ||
        KITSUNE__SYSCALL(SYS_getsockname, channel, &exchange->address, &exchange->address_length) !=
            0) {
        KITSUNE__SYSCALL(SYS_close, channel);
        return -1;
    }
    return channel;
}

/* Has a descriptor sent by the clone; negative on failure. */
static int fetch_descriptor(struct restoration *work, int number) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {NULL, 0, &data, 1, &control, sizeof control, 0};
    int channel = open_channel(work->exchange), fetched = -1;
    if (channel < 0)
        return -1;
    if (ask(work, COMMAND_DESCRIPTOR, (uint64_t)(int64_t)number, 0) == 0 &&
        KITSUNE__SYSCALL(SYS_recvmsg, channel, &message, MSG_DONTWAIT) == 1 &&
        control.header.cmsg_len == CMSG_LEN(sizeof(int)))
        fetched = *(int *)CMSG_DATA(&control.header);
    KITSUNE__SYSCALL(SYS_close, channel);
    return fetched;
}

static void give_back_descriptor(struct restoration *work, const struct descriptor *kept) {
    int fetched = fetch_descriptor(work, kept->number);
    int close_on_exec = kept->flags & FD_CLOEXEC ? O_CLOEXEC : 0;
    work->restored->descriptors++;
    if (fetched == kept->number) {
        KITSUNE__SYSCALL(SYS_fcntl, fetched, F_SETFD, kept->flags);
        return;
    }
    if (fetched < 0 ||
        KITSUNE__SYSCALL(SYS_dup3, fetched, kept->number, close_on_exec) != kept->number)
        note_failure(work, "a closed descriptor could not be given back");
    if (fetched >= 0)
        KITSUNE__SYSCALL(SYS_close, fetched);
}

/* Whether the number still means the same open file. Where the kernel does not tell (kcmp is not
 * built in, or the process may not ask), two files of one inode count as one. */
static int is_same_file(struct restoration *work, const struct descriptor *own,
                        const struct descriptor *kept) {
    if (own->inode != kept->inode || own->device != kept->device)
        return 0;
    long result = KITSUNE__SYSCALL(SYS_kcmp, work->exchange->process, work->clone, KCMP_FILE,
                                   own->number, kept->number);
    return result <= 0;
}

/* Closes whatever has a number that was free, without a list of them. */
static void close_new_numbers(const struct kitsune__exchange *exchange) {
    unsigned next = 0;
    for (uint32_t index = 0; index < exchange->descriptor_count; index++) {
        unsigned number = (unsigned)exchange->descriptors[index].number;
        if (number > next)
            kitsune__close_range(next, number - 1);
        next = number + 1;
    }
    kitsune__close_range(next, ~0u);
}

static int list_own_descriptors(struct kitsune__exchange *exchange) {
    return read_descriptors(exchange->own_descriptors, &exchange->own_descriptor_count);
}

static void restore_descriptors(struct restoration *work) {
    struct kitsune__exchange *exchange = work->exchange;
    int is_listed = list_own_descriptors(exchange) == 0;
    if (!is_listed) { /* where all numbers are taken there is none for the list */
        close_new_numbers(exchange);
        is_listed = list_own_descriptors(exchange) == 0;
    }
    if (!is_listed) {
        note_failure(work, "the open descriptors could not be listed");
        return;
    }
    const struct descriptor *own = exchange->own_descriptors;
    const struct descriptor *own_end = own + exchange->own_descriptor_count;
    const struct descriptor *kept = exchange->descriptors;
    const struct descriptor *kept_end = kept + exchange->descriptor_count;
    /* New ones first: where all numbers are taken there must be room to receive the lost. */
    for (; own < own_end; own++) {
        while (kept < kept_end && kept->number < own->number)
            kept++;
        if (kept == kept_end || kept->number != own->number) {
            KITSUNE__SYSCALL(SYS_close, own->number);
            work->restored->descriptors++;
        }
    }
    own = exchange->own_descriptors;
    for (kept = exchange->descriptors; kept < kept_end; kept++) {
        while (own < own_end && own->number < kept->number)
            own++;
        if (own == own_end || own->number != kept->number || !is_same_file(work, own, kept))
            give_back_descriptor(work, kept);
        else if (own->flags != kept->flags)
            KITSUNE__SYSCALL(SYS_fcntl, kept->number, F_SETFD, kept->flags);
    }
}

/* -- what open files share -- */

static void restore_flags(struct restoration *work) {
    const struct kitsune__exchange *exchange = work->exchange;
    for (uint32_t number = 0; number < exchange->flags_end; number++)
        if (exchange->flags[number] != 0)
            KITSUNE__SYSCALL(SYS_fcntl, number, F_SETFL, exchange->flags[number] - 1);
}

/* What it would have run out for meanwhile, it runs out for at once. */
static void restore_timers(struct restoration *work) {
    for (uint32_t index = 0; index < work->exchange->timerfd_count; index++) {
        struct timerfd *timer = &work->exchange->timerfds[index];
        uint64_t once = 1;
        kitsune__advance_timer(&timer->setting, kitsune__now_ns() - timer->at_ns);
        if (KITSUNE__SYSCALL(SYS_timerfd_settime, timer->number, 0, &timer->setting, 0) != 0) {
            note_failure(work, "a timer could not be set back");
            continue;
        }
        if (timer->has_run_out &&
            KITSUNE__SYSCALL(SYS_ioctl, timer->number, TFD_IOC_SET_TICKS, &once) != 0) {
            timer->setting.it_value = (struct timespec){0, 1};
            KITSUNE__SYSCALL(SYS_timerfd_settime, timer->number, 0, &timer->setting, 0);
        }
    }
}

/* The watch of a descriptor, or NULL. `at` is where the search begins: both lists have one order. */
static const struct watch *find_watch(const struct watch *watches, uint32_t count, uint32_t *at,
                                      int descriptor) {
    for (uint32_t tried = 0; tried < count; tried++) {
        const struct watch *watch = &watches[(*at)++ % count];
        if (watch->descriptor == descriptor)
            return watch;
    }
    return NULL;
}

static int control(int epoll, int operation, const struct watch *watch) {
    struct epoll_event event = {watch->events, {.u64 = watch->data}};
    return KITSUNE__SYSCALL(SYS_epoll_ctl, epoll, operation, watch->descriptor, &event) == 0 ? 0
                                                                                             : -1;
}

void kitsune__snapshot_copy_watches(int from, int to) {
    size_t size = WATCHES_MAX * sizeof(struct watch) + TEXT_SIZE;
    long memory = KITSUNE__SYSCALL(SYS_mmap, 0, size, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory < 0)
        return;
    struct watch *watches = (void *)memory;
    uint32_t count = read_watches(from, watches, WATCHES_MAX, (char *)(watches + WATCHES_MAX));
    for (uint32_t index = 0; index < count; index++)
        control(to, EPOLL_CTL_ADD, &watches[index]);
    KITSUNE__SYSCALL(SYS_munmap, memory, size);
}

/* Ends watches that were not there; of a file that is closed the kernel ends them. */
static void end_new_watches(struct restoration *work, const struct epoll *epoll,
                            uint32_t own_count) {
    const struct watch *watches = work->exchange->watches + epoll->start;
    uint32_t at = 0;
    for (uint32_t index = 0; index < own_count; index++) {
        const struct watch *own = &work->exchange->own_watches[index];
        if (find_watch(watches, epoll->count, &at, own->descriptor) == NULL)
            control(epoll->number, EPOLL_CTL_DEL, own);
    }
}

static int restore_watch(const struct epoll *epoll, const struct watch *kept,
                         const struct watch *own) {
    if (own != NULL && own->events == kept->events && own->data == kept->data)
        return 0;
    if (own != NULL && control(epoll->number, EPOLL_CTL_MOD, kept) == 0)
        return 0;
    if (own != NULL) /* one that is EPOLLEXCLUSIVE cannot be changed */
        control(epoll->number, EPOLL_CTL_DEL, kept);
    return control(epoll->number, EPOLL_CTL_ADD, kept);
}

static void restore_old_watches(struct restoration *work, const struct epoll *epoll,
                                uint32_t own_count) {
    const struct watch *kept = work->exchange->watches + epoll->start;
    uint32_t at = 0;
    for (uint32_t index = 0; index < epoll->count; index++, kept++)
        if (restore_watch(
                epoll, kept,
                find_watch(work->exchange->own_watches, own_count, &at, kept->descriptor)) != 0)
            note_failure(work, "what an epoll watches could not be restored");
}

/* Before the descriptors are restored: a watch is ended by the descriptor that it was made for. After:
 * they must be there. */
static void restore_watches(struct restoration *work, int descriptors_are_restored) {
    struct kitsune__exchange *exchange = work->exchange;
    for (uint32_t index = 0; index < exchange->epoll_count; index++) {
        const struct epoll *epoll = &exchange->epolls[index];
        uint32_t own_count =
            read_watches(epoll->number, exchange->own_watches, WATCHES_MAX, exchange->own_text);
        end_new_watches(work, epoll, own_count);
        if (descriptors_are_restored)
            restore_old_watches(work, epoll, own_count);
    }
}

/* The kernel takes its memory down before its descriptors: waiting for its end would cost far more. */
int kitsune__snapshot_drop(struct kitsune__exchange *exchange, pid_t clone) {
    struct kitsune__restored restored = {0};
    struct restoration work = {exchange, &restored, clone, -1};
    int has_let_go = ask(&work, COMMAND_LET_GO, 0, 0) == 0;
    if (restored.clone_lost)
        return 1;
    kill_clone(clone);
    return kitsune__snapshot_reap(clone, !has_let_go);
}

/* In a transaction that goes on: a clone that is lost is told of by a rollback. */
static void ask_to_save(struct kitsune__exchange *exchange, pid_t clone, enum command command,
                        int number) {
    struct kitsune__restored restored = {0};
    struct restoration work = {exchange, &restored, clone, -1};
    ask(&work, command, (uint64_t)number, 0);
}

void kitsune__snapshot_save_flags(struct kitsune__exchange *exchange, pid_t clone, int descriptor) {
    if (descriptor >= 0 && (uint32_t)descriptor < DESCRIPTORS_MAX &&
        exchange->flags[descriptor] == 0)
        ask_to_save(exchange, clone, COMMAND_FLAGS, descriptor);
}

void kitsune__snapshot_save_watches(struct kitsune__exchange *exchange, pid_t clone, int epoll) {
    for (uint32_t index = 0; index < exchange->epoll_count; index++)
        if (exchange->epolls[index].number == epoll)
            return;
    if (epoll >= 0)
        ask_to_save(exchange, clone, COMMAND_WATCHES, epoll);
}

void kitsune__snapshot_save_timer(struct kitsune__exchange *exchange, pid_t clone, int timer) {
    for (uint32_t index = 0; index < exchange->timerfd_count; index++)
        if (exchange->timerfds[index].number == timer)
            return;
    if (timer >= 0)
        ask_to_save(exchange, clone, COMMAND_TIMER, timer);
}

/* -- attributes -- */

static void restore_directory(struct restoration *work) {
    struct kitsune__exchange *exchange = work->exchange;
    struct stat status;
    if (KITSUNE__SYSCALL(SYS_newfstatat, AT_FDCWD, ".", &status, 0) == 0 &&
        status.st_ino == exchange->cwd_inode && status.st_dev == exchange->cwd_device)
        return;
    int directory = fetch_descriptor(work, -1);
    if (directory < 0 || KITSUNE__SYSCALL(SYS_fchdir, directory) != 0)
        note_failure(work, "the working directory could not be restored");
    KITSUNE__SYSCALL(SYS_close, directory);
}

static void restore_identity(struct restoration *work) {
    struct kitsune__exchange *exchange = work->exchange;
    uint32_t user[3], group[3];
    KITSUNE__SYSCALL(SYS_getresuid, &user[0], &user[1], &user[2]);
    KITSUNE__SYSCALL(SYS_getresgid, &group[0], &group[1], &group[2]);
    if (!same_bytes(group, exchange->group, sizeof group) &&
        KITSUNE__SYSCALL(SYS_setresgid, exchange->group[0], exchange->group[1],
                         exchange->group[2]) != 0)
        note_failure(work, "the group that the new version gave up is lost");
    if (!same_bytes(user, exchange->user, sizeof user) &&
        KITSUNE__SYSCALL(SYS_setresuid, exchange->user[0], exchange->user[1], exchange->user[2]) !=
            0)
        note_failure(work, "the user that the new version gave up is lost");
}

static void restore_groups(struct restoration *work) {
    struct kitsune__exchange *exchange = work->exchange;
    long count = KITSUNE__SYSCALL(SYS_getgroups, GROUPS_MAX, exchange->own_groups);
    size_t size = (size_t)exchange->group_count * sizeof *exchange->groups;
    if (exchange->group_count < 0 || (count == exchange->group_count &&
                                      same_bytes(exchange->own_groups, exchange->groups, size)))
        return;
    if (KITSUNE__SYSCALL(SYS_setgroups, exchange->group_count, exchange->groups) != 0)
        note_failure(work, "the supplementary groups could not be restored");
}

void kitsune__snapshot_restore_user(struct kitsune__exchange *exchange) {
    struct kitsune__restored restored = {0};
    struct restoration work = {exchange, &restored, 0, -1};
    restore_identity(&work);
    restore_groups(&work);
}

/* A process that changed its user and back is not dumpable any more. */
static void restore_flags_of_process(const struct kitsune__exchange *exchange) {
    int is_reaper = 0;
    KITSUNE__SYSCALL(SYS_prctl, PR_GET_CHILD_SUBREAPER, &is_reaper);
    if (is_reaper != exchange->is_reaper)
        KITSUNE__SYSCALL(SYS_prctl, PR_SET_CHILD_SUBREAPER, exchange->is_reaper);
    if (KITSUNE__SYSCALL(SYS_prctl, PR_GET_DUMPABLE) != exchange->is_dumpable)
        KITSUNE__SYSCALL(SYS_prctl, PR_SET_DUMPABLE, exchange->is_dumpable);
}

static void restore_limits(struct restoration *work) {
    struct rlimit now;
    for (int limit = 0; limit < LIMITS; limit++) {
        struct rlimit *kept = &work->exchange->limits[limit];
        if (KITSUNE__SYSCALL(SYS_prlimit64, 0, limit, 0, &now) == 0 &&
            !same_bytes(&now, kept, sizeof now) &&
            KITSUNE__SYSCALL(SYS_prlimit64, 0, limit, kept, 0) != 0)
            note_failure(work, "a resource limit could not be restored");
    }
}

static void restore_actions(struct restoration *work) {
    for (int number = 1; number <= SIGNALS; number++)
        if (number != SIGKILL && number != SIGSTOP)
            KITSUNE__SYSCALL(SYS_rt_sigaction, number, &work->exchange->actions[number], 0, 8);
}

static void restore_attributes(struct restoration *work) {
    restore_identity(work); /* first: the others may need what it gives back */
    restore_groups(work);
    restore_limits(work);
    restore_directory(work);
    KITSUNE__SYSCALL(SYS_umask, work->exchange->file_mask);
    restore_actions(work);
}

static void restore_break(struct restoration *work) {
    uint64_t kept = work->exchange->program_break;
    if ((uint64_t)KITSUNE__SYSCALL(SYS_brk, 0) != kept &&
        (uint64_t)KITSUNE__SYSCALL(SYS_brk, kept) != kept)
        note_failure(work, "the program break could not be restored");
}

void kitsune__snapshot_explain(struct kitsune__exchange *exchange, const void *probe,
                               struct kitsune__restored *restored) {
    struct probe probed = {probe, restored->probe_path, sizeof restored->probe_path,
                           &restored->probe_offset};
    read_ranges(exchange->own_ranges, exchange->own_text, &probed);
}

void kitsune__snapshot_restore(struct kitsune__exchange *exchange, pid_t clone, const void *probe,
                               struct kitsune__restored *restored) {
    struct restoration work = {exchange, restored, clone, -1};
    restored->pages = 0;
    /* The clone's limits hold for this too: it was described before the program's were changed. */
    if (ask(&work, COMMAND_DESCRIBE, 0, 0) != 0) {
        note_failure(&work, restored->clone_lost ? "the snapshot is lost"
                                                 : "the snapshot could not be read");
        restored->clone_lost = 1;
        return;
    }
    restore_attributes(&work);
    restore_watches(&work, 0);
    restore_descriptors(&work);
    restore_watches(&work, 1);
    restore_flags(&work);
    restore_timers(&work);
    /* The first reading explains the probe, the second sees what the break gave back. */
    kitsune__snapshot_explain(exchange, probe, restored);
    restore_break(&work);
    exchange->own_range_count = read_ranges(exchange->own_ranges, exchange->own_text, NULL);
    if (exchange->own_range_count == 0)
        note_failure(&work, "the mappings could not be read");
    else
        restore_memory(&work);
    restore_flags_of_process(exchange); /* last: what is read of /proc may need another */
    kill_clone(clone);
    kitsune__snapshot_reap(clone, 1);
}
