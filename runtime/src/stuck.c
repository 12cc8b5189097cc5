#define _GNU_SOURCE
#include "stuck.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "block.h"
#include "load.h"
#include "platform.h"
#include "switch.h"

#define STACK_WORDS 4096 /* looked at, from the innermost frame on */
#define FRAMES_MAX 4

/* What the kernel says of a thread: the system call that it waits in, or -1: it runs. */
struct waiting {
    long call;
    uint64_t arguments[6], stack_pointer, instruction;
};

/* Those that a thread may sit in for long. */
static const struct {
    long number;
    const char *name;
} calls[] = {
    {SYS_read, "read"},
    {SYS_write, "write"},
    {SYS_readv, "readv"},
    {SYS_writev, "writev"},
    {SYS_pread64, "pread"},
    {SYS_recvfrom, "recv"},
    {SYS_recvmsg, "recvmsg"},
    {SYS_sendto, "send"},
    {SYS_sendmsg, "sendmsg"},
    {SYS_accept, "accept"},
    {SYS_accept4, "accept4"},
    {SYS_connect, "connect"},
    {SYS_poll, "poll"},
    {SYS_ppoll, "ppoll"},
    {SYS_select, "select"},
    {SYS_pselect6, "select"},
    {SYS_epoll_wait, "epoll_wait"},
    {SYS_epoll_pwait, "epoll_wait"},
    {SYS_nanosleep, "nanosleep"},
    {SYS_clock_nanosleep, "sleep"},
    {SYS_pause, "pause"},
    {SYS_rt_sigtimedwait, "sigwait"},
    {SYS_rt_sigsuspend, "sigsuspend"},
    {SYS_wait4, "waitpid"},
    {SYS_waitid, "waitid"},
    {SYS_flock, "flock"},
    {SYS_fcntl, "fcntl"},
    {SYS_fsync, "fsync"},
    {SYS_msgrcv, "msgrcv"},
    {SYS_semop, "semop"},
    {SYS_semtimedop, "semop"},
    {SYS_mq_timedreceive, "mq_receive"},
};

static size_t read_task(pid_t tid, const char *file, char *text, size_t size) {
    char name[64];
    kitsune__format(name, sizeof name, "self/task/%d/%s", tid, file);
    int descriptor = kitsune__open_proc(name, O_RDONLY);
    long length = descriptor < 0 ? 0 : KITSUNE__SYSCALL(SYS_read, descriptor, text, size - 1);
    if (descriptor >= 0)
        KITSUNE__SYSCALL(SYS_close, descriptor);
    text[length > 0 ? length : 0] = '\0';
    return length > 0 ? (size_t)length : 0;
}

void kitsune__stuck_name(pid_t tid, char *name, size_t size) {
    size_t length = read_task(tid, "comm", name, size);
    if (length > 0 && name[length - 1] == '\n')
        name[length - 1] = '\0';
    if (length == 0)
        kitsune__format(name, size, "?");
}

static uint64_t next_number(const char **at) {
    uint64_t value = 0;
    while (**at == ' ')
        ++*at;
    int base = (*at)[0] == '0' && (*at)[1] == 'x' ? 16 : 10;
    *at += base == 16 ? 2 : 0;
    for (;; ++*at) {
        int digit = **at >= '0' && **at <= '9'   ? **at - '0'
                    : **at >= 'a' && **at <= 'f' ? **at - 'a' + 10
                                                 : base;
        if (digit >= base)
            return value;
        value = value * (uint64_t)base + (uint64_t)digit;
    }
}

static struct waiting read_waiting(pid_t tid) {
    char text[256];
    const char *at = text;
    struct waiting waiting = {.call = -1};
    if (read_task(tid, "syscall", text, sizeof text) == 0 || text[0] < '0' || text[0] > '9')
        return waiting;
    waiting.call = (long)next_number(&at);
    for (int i = 0; i < 6; i++)
        waiting.arguments[i] = next_number(&at);
    waiting.stack_pointer = next_number(&at);
    waiting.instruction = next_number(&at);
    return waiting;
}

int kitsune__stuck_is_running(pid_t tid) {
    return read_waiting(tid).call < 0;
}

/* ---- locks ---------------------------------------------------------------------------------- */

static int read_memory(uint64_t address, void *to, size_t size) {
    struct iovec local = {to, size}, remote = {(void *)(uintptr_t)address, size};
    long self = KITSUNE__SYSCALL(SYS_getpid);
    return KITSUNE__SYSCALL(SYS_process_vm_readv, self, &local, 1, &remote, 1, 0) == (long)size;
}

static int is_thread(pid_t tid) {
    long self = KITSUNE__SYSCALL(SYS_getpid);
    return tid > 0 && KITSUNE__SYSCALL(SYS_tgkill, self, tid, 0) == 0;
}

/* A futex that looks like a mutex of libc: its word is 1 or 2, and a thread of this process owns it. */
static pid_t owner_of(uint64_t address) {
    struct __pthread_mutex_s mutex;
    if (!read_memory(address, &mutex, sizeof mutex) || mutex.__lock == 0)
        return 0;
    return is_thread(mutex.__owner) ? mutex.__owner : 0;
}

static size_t describe_futex(uint64_t address, char *text, size_t size) {
    char name[17];
    pid_t owner = owner_of(address);
    if (owner == 0)
        return kitsune__format(text, size, "it waits for a condition or another thread (futex %p)",
                               (void *)(uintptr_t)address);
    kitsune__stuck_name(owner, name, sizeof name);
    const struct kitsune__thread *thread = kitsune__thread_of(owner);
    int is_parked = owner == kitsune__main_thread->tid || (thread != NULL && thread->place != NULL);
    return kitsune__format(text, size, "it waits for the lock at %p, which thread %d '%s' holds%s",
                           (void *)(uintptr_t)address, owner, name,
                           is_parked ? " at its update point" : "");
}

/* ---- where it is ---------------------------------------------------------------------------- */

static size_t name_place(const void *address, char *text, size_t size) {
    char name[128];
    const struct kitsune__image *image = kitsune__image_at(address);
    if (image == NULL)
        return 0;
    if (kitsune__load_function_in(image, address, name, sizeof name))
        return kitsune__format(text, size, "%s", name);
    return kitsune__format(text, size, "%p",
                           (void *)((uintptr_t)address - (uintptr_t)image->start));
}

/* The functions of the program on the stack, innermost first: words that are return addresses. Of a
 * thread that waits the stack does not change meanwhile. */
static size_t describe_stack(const struct waiting *waiting, char *text, size_t size) {
    uint64_t words[STACK_WORDS / 16];
    size_t length = 0, frames = 0;
    uint64_t at = waiting->stack_pointer;
    for (int block = 0; block < 16 && frames < FRAMES_MAX; block++, at += sizeof words) {
        if (!read_memory(at, words, sizeof words))
            break;
        for (size_t i = 0; i < sizeof words / sizeof *words && frames < FRAMES_MAX; i++) {
            const struct kitsune__image *image = kitsune__image_at((void *)words[i]);
            if (image == NULL || (uint8_t *)words[i] < image->code_start + 8 ||
                (uint8_t *)words[i] >= image->code_end ||
                !kitsune__is_return_address((void *)words[i]))
                continue;
            length +=
                kitsune__format(text + length, size - length, "%s", frames++ ? " < " : ", in ");
            length += name_place((uint8_t *)words[i] - 1, text + length, size - length);
        }
    }
    return length;
}

/* A wrapped call that could only be ended by EINTR, and was not. */
static int is_left_alone(const char *call) {
    static const char *const others[] = {"pthread_cond", "sleep",      "poll", "select",
                                         "epoll_wait",   "sigsuspend", "pause"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strncmp(call, others[i], strlen(others[i])) == 0)
            return 0;
    return !kitsune__block_interrupts();
}

static size_t describe_call(const struct waiting *waiting, const struct kitsune__thread *thread,
                            char *text, size_t size) {
    if (waiting->call == SYS_futex && (thread == NULL || thread->call == NULL))
        return describe_futex(waiting->arguments[0], text, size);
    if (thread != NULL && thread->call != NULL)
        return kitsune__format(text, size, "it sits in %s(%ld)%s", thread->call, thread->detail,
                               is_left_alone(thread->call)
                                   ? " (the program has no signal handler that could end that, so "
                                     "it was left alone; KITSUNE_INTERRUPT=always ends it)"
                                   : "");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].number == waiting->call)
            return kitsune__format(text, size, "it sits in %s(%ld)", calls[i].name,
                                   (long)waiting->arguments[0]);
    return kitsune__format(text, size, "it sits in system call %ld", waiting->call);
}

static size_t describe_running(const struct kitsune__thread *thread, char *text, size_t size) {
    size_t length = kitsune__format(text, size, "it runs");
    if (thread != NULL && thread->sample != NULL) {
        char name[160];
        if (name_place((const void *)thread->sample, name, sizeof name) > 0)
            length += kitsune__format(text + length, size - length, " in %s", name);
    }
    return length;
}

size_t kitsune__stuck_describe(pid_t tid, const struct kitsune__thread *thread, char *text,
                               size_t size) {
    char name[17];
    if (tid == 0)
        return kitsune__format(text, size, "a thread that was created has not begun to run");
    kitsune__stuck_name(tid, name, sizeof name);
    struct waiting waiting = read_waiting(tid);
    size_t length =
        kitsune__format(text, size, "thread %d '%s' did not reach an update point: ", tid, name);
    if (waiting.call < 0) {
        length += describe_running(thread, text + length, size - length);
    } else {
        length += describe_call(&waiting, thread, text + length, size - length);
        length += describe_stack(&waiting, text + length, size - length);
    }
    if (thread != NULL && thread->point[0] != '\0')
        length += kitsune__format(text + length, size - length, "; its last update point was '%s'",
                                  thread->point);
    return length;
}
