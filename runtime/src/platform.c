#define _GNU_SOURCE
#include "platform.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define PROC_ROOT_INODE 1
/* Where the kernel has no close_range (before Linux 5.9). */
#define OLD_DESCRIPTORS_MAX 1048576u
#define EMULATOR_THREADS_MAX 8

/* A descriptor of /proc, so that it stays reachable after chroot; -1 if there is none. Programs that
 * close everything at their start close it too: it is checked at each use. */
static int proc_directory = -1;
static uint64_t proc_device;

uint64_t kitsune__page_size(void) {
    return 4096; /* x86-64 has no other; where AArch64 has, main refuses to start */
}

uint64_t kitsune__now_ns(void) {
    struct timespec now;
    KITSUNE__SYSCALL(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void kitsune__advance_timer(struct itimerspec *timer, uint64_t elapsed_ns) {
    const uint64_t second = 1000000000u;
    uint64_t left = (uint64_t)timer->it_value.tv_sec * second + (uint64_t)timer->it_value.tv_nsec;
    if (left == 0) /* not running */
        return;
    left = left > elapsed_ns ? left - elapsed_ns : 1;
    timer->it_value = (struct timespec){(time_t)(left / second), (long)(left % second)};
}

/* As high as the limit allows, out of the way of programs that count on small numbers. */
static int move_high(int descriptor) {
    struct rlimit limit;
    int wanted = 1000;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= 1000)
        wanted = (int)limit.rlim_cur / 2;
    int high = fcntl(descriptor, F_DUPFD_CLOEXEC, wanted);
    if (high < 0)
        return descriptor;
    close(descriptor);
    return high;
}

/* ---- emulators ------------------------------------------------------------------------------ */

/* The emulator's own threads, none of which the program knows or may touch. */
static int emulator_threads[EMULATOR_THREADS_MAX];
static int emulator_thread_count;
static int is_emulated;

static int note_emulator_thread(void *context, int tid) {
    int is_full = emulator_thread_count == EMULATOR_THREADS_MAX;
    if (tid != *(int *)context && !is_full)
        emulator_threads[emulator_thread_count++] = tid;
    return is_full;
}

/* It shows the program's file as /proc/self/exe, but nothing of that at what is opened from the descriptor. */
static void look_for_emulator(void) {
    Elf64_Ehdr header;
    int self = (int)KITSUNE__SYSCALL(SYS_gettid);
    long file = KITSUNE__SYSCALL(SYS_openat, proc_directory, "self/exe", O_RDONLY | O_CLOEXEC, 0);
    if (file < 0)
        return;
    long got = KITSUNE__SYSCALL(SYS_read, file, &header, sizeof header);
    KITSUNE__SYSCALL(SYS_close, file);
    if (got != sizeof header || header.e_machine == KITSUNE__ELF_MACHINE)
        return;
    is_emulated = 1;
    kitsune__each_thread(note_emulator_thread, &self);
}

int kitsune__emulated(void) {
    return is_emulated;
}

void kitsune__platform_forked(void) {
    emulator_thread_count = 0;
    if (!is_emulated) /* a filter of system calls may stand */
        return;
    int self = (int)KITSUNE__SYSCALL(SYS_gettid);
    kitsune__each_thread(note_emulator_thread, &self);
}

int kitsune__is_of_emulator(int tid) {
    for (int index = 0; index < emulator_thread_count; index++)
        if (emulator_threads[index] == tid)
            return 1;
    return 0;
}

/* ---- /proc ---------------------------------------------------------------------------------- */

void kitsune__platform_start(void) {
    int descriptor = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    if (descriptor < 0)
        return;
    if (fstat(descriptor, &status) != 0 || status.st_ino != PROC_ROOT_INODE) {
        close(descriptor);
        return;
    }
    proc_device = status.st_dev;
    proc_directory = move_high(descriptor);
    look_for_emulator();
}

static int is_proc_directory(int descriptor) {
    struct stat status;
    return descriptor >= 0 && KITSUNE__SYSCALL(SYS_fstat, descriptor, &status) == 0 &&
           status.st_ino == PROC_ROOT_INODE && status.st_dev == proc_device;
}

/* What follows `start` in the text, or NULL if that is not how it starts. */
static const char *behind(const char *text, const char *start) {
    while (*start != '\0' && *text == *start)
        text++, start++;
    return *start == '\0' ? text : NULL;
}

uint64_t kitsune__number_behind(const char *text, const char *name, uint64_t otherwise) {
    const char *at = behind(text, name);
    uint64_t number = 0;
    for (; at == NULL && *text != '\0'; text++)
        if (*text == '\n')
            at = behind(text + 1, name);
    if (at == NULL)
        return otherwise;
    while (*at == ' ' || *at == '\t')
        at++;
    for (; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return number;
}

void kitsune__close_range(unsigned first, unsigned last) {
    if (KITSUNE__SYSCALL(SYS_close_range, first, last, 0) == 0)
        return;
    struct rlimit limit = {OLD_DESCRIPTORS_MAX, OLD_DESCRIPTORS_MAX};
    KITSUNE__SYSCALL(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit);
    for (uint64_t i = first; i <= last && i < limit.rlim_cur && i < OLD_DESCRIPTORS_MAX; i++)
        KITSUNE__SYSCALL(SYS_close, i);
}

void kitsune__close_all_but(int kept) {
    long result =
        kept > 0 ? KITSUNE__SYSCALL(SYS_close_range, 0, kept - 1, CLOSE_RANGE_UNSHARE) : 0;
    result |= KITSUNE__SYSCALL(SYS_close_range, kept + 1, ~0u, CLOSE_RANGE_UNSHARE);
    if (result == 0)
        return;
    KITSUNE__SYSCALL(SYS_unshare, CLONE_FILES);
    if (kept > 0)
        kitsune__close_range(0, (unsigned)kept - 1);
    kitsune__close_range((unsigned)(kept + 1), ~0u);
}

/* Where one process may not read another's memory by that call, itself included (it can be left out of a
 * kernel, or filtered), there is still the file. */
size_t kitsune__read_memory(const void *from, void *to, size_t size) {
    struct iovec local = {to, size}, remote = {(void *)(uintptr_t)from, size};
    long self = KITSUNE__SYSCALL(SYS_getpid);
    long got = KITSUNE__SYSCALL(SYS_process_vm_readv, self, &local, 1, &remote, 1, 0);
    if (got == -ENOSYS || got == -EPERM) {
        int file = kitsune__open_proc("self/mem", O_RDONLY);
        got = file < 0 ? file : KITSUNE__SYSCALL(SYS_pread64, file, to, size, from);
        if (file >= 0)
            KITSUNE__SYSCALL(SYS_close, file);
    }
    return got > 0 ? (size_t)got : 0;
}

void kitsune__await_word(int child, const volatile uint32_t *word) {
    const struct timespec nap = {0, 20000};
    siginfo_t ended = {0};
    while (*word == 0 && ended.si_pid == 0 &&
           KITSUNE__SYSCALL(SYS_waitid, P_PID, child, &ended,
                            WEXITED | WNOHANG | WNOWAIT | __WCLONE) == 0)
        KITSUNE__SYSCALL(SYS_nanosleep, &nap, 0);
}

int kitsune__proc_descriptor(void) {
    return is_proc_directory(proc_directory) ? proc_directory : -1;
}

int kitsune__own_number(void) {
    char text[24];
    int number = 0;
    if (!is_proc_directory(proc_directory))
        return -1;
    long length = KITSUNE__SYSCALL(SYS_readlinkat, proc_directory, "self", text, sizeof text);
    for (long at = 0; at < length; at++)
        number = number * 10 + (text[at] - '0');
    return number > 0 ? number : -1;
}

int kitsune__open_proc(const char *name, int flags) {
    if (!is_emulated && is_proc_directory(proc_directory))
        return (int)KITSUNE__SYSCALL(SYS_openat, proc_directory, name, flags | O_CLOEXEC, 0);
    char path[64];
    kitsune__format(path, sizeof path, "/proc/%s", name);
    return (int)KITSUNE__SYSCALL(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

int kitsune__enter_proc(void) {
    if (!is_proc_directory(proc_directory))
        return -ENOENT;
    int former =
        (int)KITSUNE__SYSCALL(SYS_openat, AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (former < 0)
        return former;
    long result = KITSUNE__SYSCALL(SYS_fchdir, proc_directory);
    if (result == 0)
        return former;
    KITSUNE__SYSCALL(SYS_close, former);
    return (int)result;
}

void kitsune__leave_proc(int former) {
    KITSUNE__SYSCALL(SYS_fchdir, former);
    KITSUNE__SYSCALL(SYS_close, former);
}

struct directory_entry { /* of getdents64(2) */
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static int number_of(const char *name) {
    int number = 0;
    for (; *name >= '0' && *name <= '9'; name++)
        number = number * 10 + (*name - '0');
    return number;
}

/* Calls `visit` for each entry of a directory of /proc whose entries are numbers, but for the one of
 * the listing's own descriptor in `self/fd`. */
static int each_number(const char *name, int is_of_descriptors,
                       int (*visit)(void *context, int number), void *context) {
    char buffer[2048] __attribute__((aligned(8)));
    int descriptor = kitsune__open_proc(name, O_RDONLY | O_DIRECTORY), result = 0;
    if (descriptor < 0)
        return -1;
    long length = 0;
    while (result == 0 &&
           (length = KITSUNE__SYSCALL(SYS_getdents64, descriptor, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < length && result == 0;) {
            struct directory_entry *entry = (void *)(buffer + at);
            int number = number_of(entry->name);
            if (entry->name[0] != '.' && !(is_of_descriptors && number == descriptor))
                result = visit(context, number);
            at += entry->length;
        }
    KITSUNE__SYSCALL(SYS_close, descriptor);
    return length < 0 ? -1 : result;
}

struct visit {
    int (*visit)(void *context, int tid);
    void *context;
    int is_renumbered;
};

/* The number that the thread has in its own namespace: the last one of a list, from the outermost. */
static int own_tid(int tid) {
    char name[48], text[2048];
    kitsune__format(name, sizeof name, "self/task/%d/status", tid);
    int file = kitsune__open_proc(name, O_RDONLY), number = 0;
    long length = file < 0 ? 0 : KITSUNE__SYSCALL(SYS_read, file, text, sizeof text - 1);
    if (file >= 0)
        KITSUNE__SYSCALL(SYS_close, file);
    text[length > 0 ? length : 0] = '\0';
    const char *at = strstr(text, "\nNSpid:");
    for (at = at != NULL ? at + 1 : ""; *at != '\0' && *at != '\n'; at++)
        number = *at >= '0' && *at <= '9' ? number * 10 + (*at - '0') : 0;
    return number > 0 ? number : tid;
}

static int visit_thread(void *context, int tid) {
    const struct visit *of = context;
    if (of->is_renumbered)
        tid = own_tid(tid);
    return kitsune__is_of_emulator(tid) ? 0 : of->visit(of->context, tid);
}

int kitsune__each_thread(int (*visit)(void *context, int tid), void *context) {
    struct visit of = {visit, context, kitsune__own_number() != KITSUNE__SYSCALL(SYS_getpid)};
    return each_number("self/task", 0, visit_thread, &of);
}

int kitsune__each_descriptor(int (*visit)(void *context, int descriptor), void *context) {
    return each_number("self/fd", 1, visit, context);
}

static int count_thread(void *context, int tid) {
    (void)tid;
    ++*(int *)context;
    return 0;
}

int kitsune__thread_count(void) {
    int count = 0;
    return kitsune__each_thread(count_thread, &count) < 0 ? -1 : count;
}

/* ---- copies of the process ------------------------------------------------------------------- */

static int is_known_by_fork_only;

long kitsune__copy_process(long flags) {
    long made = KITSUNE__SYSCALL(SYS_clone, flags);
    if (made != -EINVAL)
        return made;
    made = KITSUNE__SYSCALL(SYS_clone, SIGCHLD);
    is_known_by_fork_only |= made > 0;
    return made;
}

int kitsune__copy_wait(void) {
    return is_known_by_fork_only ? (int)__WALL : (int)__WCLONE;
}

/* ---- formatting ---------------------------------------------------------------------------- */

struct output {
    char *at, *end; /* `end` is where the final zero must fit */
};

static void put_char(struct output *out, char character) {
    if (out->at < out->end)
        *out->at++ = character;
}

static void put_text(struct output *out, const char *text) {
    for (text = text ? text : "(null)"; *text; text++)
        put_char(out, *text);
}

static void put_number(struct output *out, uint64_t value, unsigned base) {
    char digits[24];
    int count = 0;
    do
        digits[count++] = "0123456789abcdef"[value % base];
    while ((value /= base) != 0);
    while (count > 0)
        put_char(out, digits[--count]);
}

/* An integer argument of the size that `longs` says ("", "l", "ll" and "z" are told apart only as
 * int and 64 bits, which is all there is on the machines supported). */
static void put_integer(struct output *out, char kind, int is_long, va_list *arguments) {
    if (kind == 'd' || kind == 'i') {
        int64_t value = is_long ? va_arg(*arguments, int64_t) : va_arg(*arguments, int);
        if (value < 0)
            put_char(out, '-');
        put_number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
    } else {
        uint64_t value = is_long ? va_arg(*arguments, uint64_t) : va_arg(*arguments, unsigned);
        put_number(out, value, kind == 'x' ? 16 : 10);
    }
}

static const char *put_conversion(struct output *out, const char *format, va_list *arguments) {
    int is_long = 0;
    for (; *format == 'l' || *format == 'z' || *format == 'j'; format++)
        is_long = 1;
    switch (*format) {
    case 's':
        put_text(out, va_arg(*arguments, const char *));
        break;
    case 'c':
        put_char(out, (char)va_arg(*arguments, int));
        break;
    case 'p':
        put_text(out, "0x");
        put_number(out, (uint64_t)(uintptr_t)va_arg(*arguments, void *), 16);
        break;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
        put_integer(out, *format, is_long, arguments);
        break;
    case '\0':
        return format;
    default:
        put_char(out, *format);
    }
    return format + 1;
}

size_t kitsune__formatv(char *buffer, size_t size, const char *format, va_list arguments) {
    if (size == 0)
        return 0;
    struct output out = {buffer, buffer + size - 1};
    va_list copy;
    va_copy(copy, arguments);
    while (*format)
        if (*format != '%')
            put_char(&out, *format++);
        else
            format = put_conversion(&out, format + 1, &copy);
    va_end(copy);
    *out.at = '\0';
    return (size_t)(out.at - buffer);
}

size_t kitsune__format(char *buffer, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t length = kitsune__formatv(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}

/* ---- signals ------------------------------------------------------------------------------- */

/* As the kernel has it on x86-64 and AArch64. */
struct kernel_action {
    void *handler;
    uint64_t flags;
    void *restorer;
    uint64_t mask;
};

int kitsune__sigaction(int number, const struct sigaction *action) {
    struct kernel_action installed;
    if (sigaction(number, action, NULL) != 0)
        return -1;
    /* What is there now has libc's way back from a handler. */
    long error = KITSUNE__SYSCALL(SYS_rt_sigaction, number, 0, &installed, sizeof installed.mask);
    memcpy(&installed.handler, &action->sa_handler, sizeof installed.handler);
    installed.flags =
        (installed.flags & ~(uint64_t)(SA_RESTART | SA_NODEFER)) | (unsigned)action->sa_flags;
    memcpy(&installed.mask, &action->sa_mask, sizeof installed.mask);
    if (error == 0)
        error = KITSUNE__SYSCALL(SYS_rt_sigaction, number, &installed, 0, sizeof installed.mask);
    errno = error < 0 ? (int)-error : errno;
    return error < 0 ? -1 : 0;
}
