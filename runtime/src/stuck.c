#define _GNU_SOURCE
#include "stuck.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "block.h"
#include "load.h"
#include "machine.h"
#include "platform.h"
#include "wait.h"

#define STACK_WORDS 8192 /* looked at, from the innermost frame on */
#define BLOCK_WORDS 64   /* at a time: a signal's alternate stack may be small */
#define TOLD_MAX 4       /* frames, in a sentence */
/* What a look in a signal handler may need of the stack. */
#define HANDLER_ROOM 8192u

#define RUNS (-1l)
#define UNKNOWN (-2l) /* an emulator does not tell of its machine's calls */

/* What is known of a thread: the system call that it waits in, or one of these. */
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
    {SYS_sendfile, "sendfile"},
    {SYS_accept, "accept"},
    {SYS_accept4, "accept4"},
    {SYS_connect, "connect"},
    {SYS_ppoll, "ppoll"},
    {SYS_pselect6, "select"},
    {SYS_epoll_pwait, "epoll_wait"},
    {SYS_nanosleep, "nanosleep"},
    {SYS_clock_nanosleep, "sleep"},
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
#ifdef SYS_poll /* and the others that newer machines have in one form only */
    {SYS_poll, "poll"},
    {SYS_select, "select"},
    {SYS_epoll_wait, "epoll_wait"},
    {SYS_pause, "pause"},
#endif
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
    struct waiting waiting = {.call = kitsune__emulated() ? UNKNOWN : RUNS};
    if (kitsune__emulated() || read_task(tid, "syscall", text, sizeof text) == 0 || text[0] < '0' ||
        text[0] > '9')
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

static size_t read_memory(uint64_t address, void *to, size_t size) {
    return kitsune__read_memory((const void *)(uintptr_t)address, to, size);
}

static int is_thread(pid_t tid) {
    long self = KITSUNE__SYSCALL(SYS_getpid);
    return tid > 0 && KITSUNE__SYSCALL(SYS_tgkill, self, tid, 0) == 0;
}

/* A futex that looks like a mutex of libc: its word is 1 or 2, and a thread of this process owns it. */
static pid_t owner_of(uint64_t address) {
    struct __pthread_mutex_s mutex;
    if (read_memory(address, &mutex, sizeof mutex) != sizeof mutex || mutex.__lock == 0)
        return 0;
    return is_thread(mutex.__owner) ? mutex.__owner : 0;
}

/* ---- where it is ---------------------------------------------------------------------------- */

static int is_call_into_program(const void *word) {
    const struct kitsune__image *image = kitsune__image_at(word);
    const uint8_t *address = word;
    return image != NULL && address >= image->code_start + 8 && address < image->code_end &&
           kitsune__is_return_address(address);
}

/* Return addresses on the stack from `at` on, less one, so that they lie in the call. */
static unsigned find_frames(uint64_t at, const void **frames, unsigned max) {
    const void *words[BLOCK_WORDS];
    unsigned count = 0;
    for (int block = 0; block < STACK_WORDS / BLOCK_WORDS && count < max; block++) {
        size_t got = read_memory(at, words, sizeof words);
        for (size_t i = 0; i < got / sizeof *words && count < max; i++)
            if (is_call_into_program(words[i]))
                frames[count++] = (const uint8_t *)words[i] - 1;
        if (got < sizeof words)
            break;
        at += sizeof words;
    }
    return count;
}

/* Where the code stood at `pc` with the stack pointer `stack_pointer`; a pc outside the program is none. */
static unsigned find_frames_from(const void *pc, uint64_t stack_pointer, const void **frames,
                                 unsigned max) {
    unsigned count = 0;
    if (kitsune__image_at(pc) != NULL)
        frames[count++] = pc;
    return count + find_frames(stack_pointer, frames + count, max - count);
}

/* Returns 0 if the frame is of an image that was unloaded meanwhile. */
static int name_frame(struct kitsune__frame *frame, const uint8_t *address) {
    const struct kitsune__image *image = kitsune__image_at(address);
    if (image == NULL)
        return 0;
    memset(frame, 0, sizeof *frame);
    memcpy(frame->build_id, image->build_id, sizeof frame->build_id);
    frame->offset = (uintptr_t)address - (uintptr_t)image->start;
    if (is_call_into_program(address + 1)) {
        const uint8_t *target = kitsune__call_target(address + 1);
        if (target != NULL)
            frame->calls = (uintptr_t)target - (uintptr_t)image->start;
    }
    kitsune__load_name_frame_in(image, frame);
    return 1;
}

static void name_frames(struct kitsune__trace *trace, const void *const *frames, unsigned count) {
    trace->count = 0;
    for (unsigned i = 0; i < count; i++)
        trace->count += (unsigned)name_frame(&trace->frames[trace->count], frames[i]);
    kitsune__trace_sift(trace);
}

/* Of a thread that waits the stack does not change meanwhile; of one that runs there may be a sample. */
static void trace_thread(struct kitsune__trace *trace, const struct waiting *waiting,
                         const struct kitsune__thread *thread) {
    const void *frames[KITSUNE__FRAMES];
    unsigned count = 0;
    if (waiting->call >= 0) {
        count = find_frames(waiting->stack_pointer, frames, KITSUNE__FRAMES);
    } else if (thread != NULL && thread->sampled == KITSUNE__SAMPLED) {
        count = thread->sample_count;
        memcpy(frames, thread->sample, count * sizeof *frames);
    }
    name_frames(trace, frames, count);
}

void kitsune__stuck_sample(struct kitsune__thread *thread, const void *ucontext) {
    thread->sample_count = find_frames_from(kitsune__interrupted_at(ucontext),
                                            (uintptr_t)kitsune__interrupted_stack(ucontext),
                                            thread->sample, KITSUNE__FRAMES);
    __atomic_store_n(&thread->sampled, KITSUNE__SAMPLED, __ATOMIC_RELEASE);
}

/* ---- who holds the lock ---------------------------------------------------------------------- */

/* From below the caller's frame, at the update point, where the main thread stands. */
__attribute__((noinline)) static void trace_self(struct kitsune__trace *trace) {
    const void *frames[KITSUNE__FRAMES];
    uint64_t here = (uintptr_t)__builtin_frame_address(0);
    name_frames(trace, frames, find_frames(here, frames, KITSUNE__FRAMES));
}

static void trace_parked(struct kitsune__trace *trace, const struct kitsune__berth *place) {
    const void *frames[KITSUNE__FRAMES];
    uint64_t at = (uintptr_t)place->old.stack_pointer;
    name_frames(trace, frames, find_frames(at, frames, KITSUNE__FRAMES));
}

static int stands(const struct kitsune__thread *thread) {
    return thread != NULL && thread->place != NULL && kitsune__park_is_parked(thread->place);
}

/* The main thread stands at its update point while it gathers: `owner` is then the one that looks. */
static void look_at_holder(struct kitsune__stuck *stuck, pid_t owner) {
    const struct kitsune__thread *thread = kitsune__thread_of(owner);
    struct waiting waiting = {.call = RUNS};
    stuck->holder = owner;
    kitsune__stuck_name(owner, stuck->holder_name, sizeof stuck->holder_name);
    if (owner == KITSUNE__SYSCALL(SYS_gettid) && owner == kitsune__main_thread->tid) {
        thread = kitsune__main_thread;
        trace_self(&stuck->holder_trace);
    } else if (stands(thread)) {
        trace_parked(&stuck->holder_trace, thread->place);
    } else {
        waiting = read_waiting(owner);
        trace_thread(&stuck->holder_trace, &waiting, thread);
        return;
    }
    kitsune__format(stuck->holder_point, sizeof stuck->holder_point, "%s", thread->point);
}

static void describe_futex(struct kitsune__stuck *stuck, uint64_t address) {
    pid_t owner = owner_of(address);
    if (owner == 0 || owner == stuck->tid) {
        kitsune__format(stuck->does, sizeof stuck->does,
                        owner ? "it waits for the lock at %p, which it holds itself"
                              : "it waits for a condition or another thread (futex %p)",
                        (void *)(uintptr_t)address);
        return;
    }
    look_at_holder(stuck, owner);
    kitsune__format(stuck->does, sizeof stuck->does,
                    "it waits for the lock at %p, which thread %d '%s' holds%s",
                    (void *)(uintptr_t)address, owner, stuck->holder_name,
                    stuck->holder_point[0] ? " at its update point" : "");
}

/* ---- what it does ---------------------------------------------------------------------------- */

/* A wrapped call that could only be ended by EINTR, and was not. */
static int is_left_alone(const char *call) {
    static const char *const others[] = {"pthread_cond", "sleep",      "poll", "select",
                                         "epoll_wait",   "sigsuspend", "pause"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strncmp(call, others[i], strlen(others[i])) == 0)
            return 0;
    return !kitsune__block_interrupts();
}

static void describe_wrapped(struct kitsune__stuck *stuck, const char *call, long detail) {
    kitsune__format(stuck->does, sizeof stuck->does, "it sits in %s(%ld)%s", call, detail,
                    is_left_alone(call)
                        ? " (the program has no signal handler that could end that, so it was left "
                          "alone; KITSUNE_INTERRUPT=always ends it)"
                        : "");
}

static void describe_call(struct kitsune__stuck *stuck, const struct waiting *waiting) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].number == waiting->call) {
            kitsune__format(stuck->does, sizeof stuck->does, "it sits in %s(%ld)", calls[i].name,
                            (long)waiting->arguments[0]);
            return;
        }
    kitsune__format(stuck->does, sizeof stuck->does, "it sits in system call %ld", waiting->call);
}

static void describe(struct kitsune__stuck *stuck, const struct waiting *waiting,
                     const struct kitsune__thread *thread) {
    const char *call = thread != NULL ? thread->call : NULL;
    const char *quick = thread != NULL ? kitsune__quick_name(*thread->in_call) : NULL;
    if (waiting->call == RUNS)
        kitsune__format(stuck->does, sizeof stuck->does, "it runs");
    else if (call != NULL)
        describe_wrapped(stuck, call, thread->detail);
    else if (quick != NULL)
        describe_wrapped(stuck, quick, (long)waiting->arguments[0]);
    else if (waiting->call == UNKNOWN)
        kitsune__format(stuck->does, sizeof stuck->does,
                        "it runs, or waits: an emulator does not tell");
    else if (waiting->call == SYS_futex)
        describe_futex(stuck, waiting->arguments[0]);
    else
        describe_call(stuck, waiting);
}

static void begin(struct kitsune__stuck *stuck, pid_t tid, const struct kitsune__thread *thread) {
    memset(stuck, 0, sizeof *stuck);
    stuck->tid = tid;
    if (thread != NULL)
        kitsune__format(stuck->point, sizeof stuck->point, "%s", thread->point);
    if (tid != 0)
        kitsune__stuck_name(tid, stuck->name, sizeof stuck->name);
}

void kitsune__stuck_look(struct kitsune__stuck *stuck, pid_t tid,
                         const struct kitsune__thread *thread) {
    begin(stuck, tid, thread);
    if (tid == 0) {
        kitsune__format(stuck->does, sizeof stuck->does, "it has not begun to run");
        return;
    }
    struct waiting waiting = read_waiting(tid);
    describe(stuck, &waiting, thread);
    trace_thread(&stuck->trace, &waiting, thread);
}

/* Of the code that a signal interrupted: in which call, if it is one that the kernel will restart. */
static struct waiting interrupted_call(const void *ucontext) {
    struct waiting waiting = {.call = RUNS};
    uint8_t code[KITSUNE__CALL_SIZE_MAX];
    uint64_t at = (uintptr_t)kitsune__interrupted_at(ucontext);
    if (read_memory(at, code, sizeof code) == sizeof code)
        waiting.call = kitsune__interrupted_before_call(ucontext);
    if (waiting.call >= 0)
        waiting.arguments[0] = (uint64_t)kitsune__interrupted_argument(ucontext, 0);
    return waiting;
}

/* Whether the stack that the handler runs on is large enough: the program may have chosen it. */
static int has_room(const void *ucontext) {
    const ucontext_t *context = ucontext;
    const uint8_t *here = __builtin_frame_address(0), *low = context->uc_stack.ss_sp;
    if (here < low || here >= low + context->uc_stack.ss_size)
        return 1;
    return (size_t)(here - low) >= HANDLER_ROOM;
}

void kitsune__stuck_look_inside(struct kitsune__stuck *stuck, const void *ucontext) {
    const void *frames[KITSUNE__FRAMES];
    if (!has_room(ucontext))
        return;
    begin(stuck, (pid_t)KITSUNE__SYSCALL(SYS_gettid), kitsune__self);
    struct waiting waiting = interrupted_call(ucontext);
    describe(stuck, &waiting, kitsune__self);
    name_frames(&stuck->trace, frames,
                find_frames_from(kitsune__interrupted_at(ucontext),
                                 (uintptr_t)kitsune__interrupted_stack(ucontext), frames,
                                 KITSUNE__FRAMES));
}

static size_t trace_text(const struct kitsune__trace *trace, const char *before, char *text,
                         size_t size) {
    size_t length = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < trace->count && i < TOLD_MAX; i++) {
        const struct kitsune__frame *frame = &trace->frames[i];
        length += kitsune__format(text + length, size - length, "%s", i ? " < " : before);
        if (frame->function[0] != '\0')
            length += kitsune__format(text + length, size - length, "%s", frame->function);
        else
            length += kitsune__format(text + length, size - length, "0x%lx", (long)frame->offset);
    }
    return length;
}

size_t kitsune__stuck_text(const struct kitsune__stuck *stuck, char *text, size_t size) {
    size_t length = kitsune__format(text, size, "%s", stuck->does);
    int runs = strcmp(stuck->does, "it runs") == 0;
    length += trace_text(&stuck->trace, runs ? " in " : ", in ", text + length, size - length);
    if (stuck->point[0] != '\0')
        length += kitsune__format(text + length, size - length, "; its last update point was '%s'",
                                  stuck->point);
    return length;
}
