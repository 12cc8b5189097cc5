#define _GNU_SOURCE
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "beside.h"
#include "machine.h"
#include "park.h"
#include "platform.h"
#include "sanitizer.h"
#include "snapshot.h"
#include "withhold.h"

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define SIDE_STACK_SIZE ((size_t)256 << 10)
#define KERNEL_TIMERS_MAX 32
#define MEMORY_PROBE ((size_t)4 << 20)
#define SIGNALS 64
#define KERNEL_SET_SIZE 8

/* The limit's timer. Nothing on Linux sends it, and hardly a program uses it. */
#define LIMIT_SIGNAL SIGSTKFLT

/* Signals that stay deliverable during a transaction; each ends it. */
static const int caught[] = {SIGSEGV, SIGBUS, SIGFPE,  SIGILL,
                             SIGABRT, SIGSYS, SIGTRAP, LIMIT_SIGNAL};
#define CAUGHT (sizeof caught / sizeof *caught)

/* sigaction as the kernel has it on x86-64 and AArch64. */
struct kernel_action {
    void *handler;
    uint64_t flags;
    void *restorer;
    uint64_t mask;
};

/*
 * The transaction's state: in a shared mapping, so that no rollback touches it. Written by the
 * thread that runs only (all others are parked); also by its signal handler, which never returns to
 * what it interrupted.
 */
struct journal {
    uint32_t is_committed; /* the commit is the store of 1 */
    uint32_t has_snapshot;
    void (*end)(struct kitsune__verdict *verdict); /* of a rehearsal, else NULL */
    pid_t process, clone;
    struct kitsune__context old;
    struct kitsune__stack stack; /* of the new version */
    /* The thread that runs, if it is not the one that began; and where that one waits meanwhile. */
    struct kitsune__berth *running;
    struct kitsune__berth waiting;
    struct kitsune__berth *made[KITSUNE__MADE_MAX]; /* threads that the transaction made */
    uint32_t made_count;
    void (*body)(void *);
    void *argument;
    struct kitsune__berth *places; /* of all other threads */
    struct kitsune__verdict verdict;
    enum kitsune__phase phase;
    const char *what;
    const char *thread; /* that starts, by its function; `what` is another while it migrates */
    uint64_t begin_ns, main_ns, abort_ns;
    /* What the kernel had before. */
    uint64_t mask, pending;
    stack_t altstack;
    struct kitsune__traits traits;
    struct kernel_action actions[CAUGHT];
    int timer; /* of the limits; -1: none */
    struct kitsune__limits limits;
    int has_phase_limits;
    /* What each limited phase has taken, but for the one that lasts since `since_ns`. */
    uint64_t spent_ns[KITSUNE__LIMITED_COUNT], since_ns;
    uint32_t has_timers, kernel_timer_count;
    struct itimerval timers[3];
    uint64_t timers_ns, timer_pending; /* when the new version first changed one */
    int kernel_timers[KERNEL_TIMERS_MAX];
    uint32_t set_timer_count;
    struct set_timer {
        int number;
        struct itimerspec setting;
        uint64_t at_ns, pending; /* when the new version first set it */
    } set_timers[KERNEL_TIMERS_MAX];
    /* Why it was given up. */
    const void *fault_pc;
    uint32_t
        frame_count; /* functions of the new version that it happened in, the innermost first */
    const void *frames[KITSUNE__FRAMES];
    uintptr_t code_start, code_end; /* of the new version; zero while it is loaded */
    siginfo_t resend; /* a signal from outside that was taken for a fault; si_signo 0: none */
    struct kitsune__restored restored;
    uint8_t signal_stack[SIDE_STACK_SIZE] __attribute__((aligned(64)));
    uint8_t abort_stack[SIDE_STACK_SIZE] __attribute__((aligned(64)));
    /* struct kitsune__exchange follows, page-aligned */
};

struct journal *kitsune__journal;
/* A killed clone that was not reaped yet; 0: none. */
static pid_t dead_clone;

#define PAGE_ALIGNED(size) (((size) + 4095u) & ~(size_t)4095u)

static struct kitsune__exchange *exchange_of(struct journal *of) {
    return (void *)((uint8_t *)of + PAGE_ALIGNED(sizeof *of));
}

static size_t journal_size(void) {
    return PAGE_ALIGNED(sizeof(struct journal)) + kitsune__exchange_size();
}

static void kernel_mask(int how, const uint64_t *set, uint64_t *old) {
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, how, set, old, KERNEL_SET_SIZE);
}

static uint64_t bit_of(int number) {
    return 1ull << (number - 1);
}

static int is_of_this_process(const struct journal *of) {
    return of->process == KITSUNE__SYSCALL(SYS_getpid);
}

/* A child of vfork shares this memory, one of a bare clone has a copy; neither runs a handler of fork. */
int kitsune__journal_is_own(void) {
    return is_of_this_process(kitsune__journal);
}

int kitsune__journal_is_inherited(void) {
    return kitsune__journal != NULL && !is_of_this_process(kitsune__journal);
}

int kitsune__journal_rehearses(void) {
    return kitsune__journal_active() && kitsune__journal->end != NULL;
}

int kitsune__journal_snapshot_off(void) {
    static int is_off = -1;
    if (is_off < 0) {
        const char *wish = getenv("KITSUNE_SNAPSHOT");
        is_off = (wish != NULL && strcmp(wish, "off") == 0) || kitsune__under_valgrind();
    }
    return is_off;
}

/* ---- notes --------------------------------------------------------------------------------- */

static void add_text(char *buffer, size_t size, const char *format, va_list arguments) {
    size_t length = 0;
    while (buffer[length] != '\0')
        length++;
    if (length > 0)
        length += kitsune__format(buffer + length, size - length, "; ");
    kitsune__formatv(buffer + length, size - length, format, arguments);
}

void kitsune__journal_note(const char *format, ...) {
    va_list arguments;
    if (kitsune__journal == NULL)
        return;
    va_start(arguments, format);
    add_text(kitsune__journal->verdict.notes, sizeof kitsune__journal->verdict.notes, format,
             arguments);
    va_end(arguments);
}

/* By which limit a phase is held, beside that of the whole; KITSUNE__LIMITED_COUNT: by none. */
static enum kitsune__limited limited_of(enum kitsune__phase phase) {
    switch (phase) {
    case KITSUNE__PHASE_LOAD:
    case KITSUNE__PHASE_PRESTART:
        return KITSUNE__LIMITED_LOAD;
    case KITSUNE__PHASE_MAIN:
    case KITSUNE__PHASE_THREAD:
        return KITSUNE__LIMITED_START;
    case KITSUNE__PHASE_TRANSFORM:
    case KITSUNE__PHASE_MAINUPDATE:
        return KITSUNE__LIMITED_TRANSFORM;
    default:
        return KITSUNE__LIMITED_COUNT;
    }
}

static void set_limit(struct journal *of);

enum kitsune__phase kitsune__journal_phase(enum kitsune__phase phase, const char *what) {
    if (kitsune__journal == NULL)
        return KITSUNE__PHASE_NONE;
    enum kitsune__phase before = kitsune__journal->phase;
    uint64_t now = kitsune__now_ns();
    enum kitsune__limited left = limited_of(before), entered = limited_of(phase);
    if (left != KITSUNE__LIMITED_COUNT)
        kitsune__journal->spent_ns[left] += now - kitsune__journal->since_ns;
    kitsune__journal->since_ns = now;
    if (before == KITSUNE__PHASE_LOAD && phase != before) {
        kitsune__journal->verdict.load_ns =
            now - kitsune__journal->begin_ns - kitsune__journal->verdict.snapshot_ns;
        kitsune__journal->main_ns = now;
    }
    kitsune__journal->phase = phase;
    kitsune__journal->what = what;
    if (phase == KITSUNE__PHASE_THREAD && what != NULL)
        kitsune__journal->thread = what;
    if (left != entered && kitsune__journal->has_phase_limits)
        set_limit(kitsune__journal);
    return before;
}

enum kitsune__phase kitsune__journal_current_phase(void) {
    return kitsune__journal == NULL ? KITSUNE__PHASE_NONE : kitsune__journal->phase;
}

static size_t describe_phase(const struct journal *of, char *buffer, size_t size) {
    switch (of->phase) {
    case KITSUNE__PHASE_LOAD:
        return kitsune__format(buffer, size, " while it was loaded (in a constructor)");
    case KITSUNE__PHASE_PRESTART:
        return kitsune__format(buffer, size, " in the hook _kitsune_prestart_xform");
    case KITSUNE__PHASE_MAINUPDATE:
        return kitsune__format(buffer, size, " in the hook _kitsune_mainupdate_xform");
    case KITSUNE__PHASE_TRANSFORM:
        return kitsune__format(buffer, size, " while state was transformed%s%s",
                               of->what ? ": " : "", of->what ? of->what : "");
    case KITSUNE__PHASE_MAIN:
        return kitsune__format(buffer, size, " in the new main");
    case KITSUNE__PHASE_THREAD:
        return kitsune__format(buffer, size, " in the new version's thread '%s'", of->thread);
    default:
        buffer[0] = '\0';
        return 0;
    }
}

/* ---- timers -------------------------------------------------------------------------------- */

static uint64_t smaller(uint64_t one, uint64_t other) {
    return one < other ? one : other;
}

/* When the limit of the whole or that of the present phase runs out. */
static uint64_t deadline_of(const struct journal *of) {
    uint64_t end = of->begin_ns + of->limits.total_ms * NS_PER_MS;
    enum kitsune__limited phase = limited_of(of->phase);
    if (phase == KITSUNE__LIMITED_COUNT || of->limits.phase_ms[phase] == 0)
        return end;
    uint64_t limit = of->limits.phase_ms[phase] * NS_PER_MS;
    return smaller(end, of->since_ns + (limit - smaller(limit, of->spent_ns[phase])));
}

static void set_limit(struct journal *of) {
    uint64_t end = deadline_of(of);
    struct itimerspec at = {{0, 0}, {(time_t)(end / NS_PER_S), (long)(end % NS_PER_S)}};
    KITSUNE__SYSCALL(SYS_timer_settime, of->timer, TIMER_ABSTIME, &at, 0);
}

static int start_limit(struct journal *of) {
    /* To the process: only the thread that runs does not block it. */
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = LIMIT_SIGNAL};
    if (KITSUNE__SYSCALL(SYS_timer_create, CLOCK_MONOTONIC, &event, &of->timer) != 0) {
        of->timer = -1;
        return -1;
    }
    set_limit(of);
    return 0;
}

/* Which limit ran out, in what, and after how long; of the whole also how long each phase was. */
static void describe_limit(struct journal *of, char *text, size_t size) {
    uint64_t now = kitsune__now_ns(), total = now - of->begin_ns;
    enum kitsune__limited phase = limited_of(of->phase);
    int is_phase = phase != KITSUNE__LIMITED_COUNT && total < of->limits.total_ms * NS_PER_MS;
    size_t length;
    if (phase != KITSUNE__LIMITED_COUNT)
        of->spent_ns[phase] += now - of->since_ns;
    of->since_ns = now;
    length = is_phase ? kitsune__format(text, size, "the time limit of the phase '%s' ran out",
                                        kitsune__limits_word(phase))
                      : kitsune__format(text, size, "the time limit ran out");
    length += describe_phase(of, text + length, size - length);
    length +=
        kitsune__format(text + length, size - length, ", after %lu ms",
                        (unsigned long)((is_phase ? of->spent_ns[phase] : total) / NS_PER_MS));
    for (int which = 0; !is_phase && which < KITSUNE__LIMITED_COUNT; which++)
        length +=
            kitsune__format(text + length, size - length, "%s%s %lu%s", which == 0 ? " (" : ", ",
                            kitsune__limits_word((enum kitsune__limited)which),
                            (unsigned long)(of->spent_ns[which] / NS_PER_MS),
                            which == KITSUNE__LIMITED_COUNT - 1 ? ")" : "");
}

/* Deletes the timer, and its signal if it came too late. */
static void stop_limit(struct journal *of) {
    uint64_t set = bit_of(LIMIT_SIGNAL);
    struct timespec none = {0, 0};
    if (of->timer < 0)
        return;
    KITSUNE__SYSCALL(SYS_timer_delete, of->timer);
    of->timer = -1;
    if (!(of->pending & set))
        KITSUNE__SYSCALL(SYS_rt_sigtimedwait, &set, 0, &none, KERNEL_SET_SIZE);
}

void kitsune__journal_save_timers(void) {
    if (!kitsune__journal_active() || kitsune__journal->has_timers)
        return;
    for (int which = 0; which < 3; which++)
        KITSUNE__SYSCALL(SYS_getitimer, which, &kitsune__journal->timers[which]);
    KITSUNE__SYSCALL(SYS_rt_sigpending, &kitsune__journal->timer_pending, KERNEL_SET_SIZE);
    kitsune__journal->timers_ns = kitsune__now_ns();
    kitsune__journal->has_timers = 1;
}

void kitsune__journal_note_timer(int kernel_timer) {
    if (kitsune__journal != NULL && kitsune__journal->kernel_timer_count < KERNEL_TIMERS_MAX)
        kitsune__journal->kernel_timers[kitsune__journal->kernel_timer_count++] = kernel_timer;
}

int kitsune__journal_made_timer(int kernel_timer) {
    for (uint32_t index = 0;
         kitsune__journal != NULL && index < kitsune__journal->kernel_timer_count; index++)
        if (kitsune__journal->kernel_timers[index] == kernel_timer)
            return 1;
    return 0;
}

void kitsune__journal_forget_timer(int kernel_timer) {
    for (uint32_t index = 0;
         kitsune__journal != NULL && index < kitsune__journal->kernel_timer_count; index++)
        if (kitsune__journal->kernel_timers[index] == kernel_timer)
            kitsune__journal->kernel_timers[index] =
                kitsune__journal->kernel_timers[--kitsune__journal->kernel_timer_count];
}

static const struct set_timer *find_set_timer(const struct journal *of, int kernel_timer) {
    for (uint32_t index = 0; index < of->set_timer_count; index++)
        if (of->set_timers[index].number == kernel_timer)
            return &of->set_timers[index];
    return NULL;
}

void kitsune__journal_save_timer(int kernel_timer) {
    if (!kitsune__journal_active() || kitsune__journal_made_timer(kernel_timer) ||
        find_set_timer(kitsune__journal, kernel_timer) != NULL)
        return;
    if (kitsune__journal->set_timer_count == KERNEL_TIMERS_MAX)
        kitsune__journal_abort(KITSUNE__REFUSED_CALL,
                               "the new version set more than %d timers of the old one,",
                               KERNEL_TIMERS_MAX);
    struct set_timer *timer = &kitsune__journal->set_timers[kitsune__journal->set_timer_count];
    if (KITSUNE__SYSCALL(SYS_timer_gettime, kernel_timer, &timer->setting) != 0)
        return; /* none: the program is told by its own call */
    timer->number = kernel_timer;
    timer->at_ns = kitsune__now_ns();
    KITSUNE__SYSCALL(SYS_rt_sigpending, &timer->pending, KERNEL_SET_SIZE);
    kitsune__journal->set_timer_count++;
}

/* A timer that would have run out meanwhile runs out at once. */
static void restore_timer(struct journal *of, int which) {
    struct itimerval *timer = &of->timers[which];
    uint64_t elapsed_us = (kitsune__now_ns() - of->timers_ns) / 1000;
    uint64_t left_us =
        (uint64_t)timer->it_value.tv_sec * 1000000u + (uint64_t)timer->it_value.tv_usec;
    if (left_us > 0) {
        left_us = left_us > elapsed_us ? left_us - elapsed_us : 1;
        timer->it_value.tv_sec = (time_t)(left_us / 1000000u);
        timer->it_value.tv_usec = (suseconds_t)(left_us % 1000000u);
    }
    KITSUNE__SYSCALL(SYS_setitimer, which, timer, 0);
}

static void restore_timers(struct journal *of) {
    for (int which = 0; of->has_timers && which < 3; which++)
        restore_timer(of, which);
    for (uint32_t index = 0; index < of->kernel_timer_count; index++)
        KITSUNE__SYSCALL(SYS_timer_delete, of->kernel_timers[index]);
    for (uint32_t index = 0; index < of->set_timer_count; index++) {
        struct set_timer *timer = &of->set_timers[index];
        kitsune__advance_timer(&timer->setting, kitsune__now_ns() - timer->at_ns);
        KITSUNE__SYSCALL(SYS_timer_settime, timer->number, 0, &timer->setting, 0);
    }
}

/* ---- open files ---------------------------------------------------------------------------- */

void kitsune__journal_save_flags(int descriptor) {
    if (kitsune__journal_active() && kitsune__journal->has_snapshot)
        kitsune__snapshot_save_flags(exchange_of(kitsune__journal), kitsune__journal->clone,
                                     descriptor);
}

void kitsune__journal_save_watches(int epoll) {
    if (kitsune__journal_active() && kitsune__journal->has_snapshot)
        kitsune__snapshot_save_watches(exchange_of(kitsune__journal), kitsune__journal->clone,
                                       epoll);
}

void kitsune__journal_save_timerfd(int timer) {
    if (kitsune__journal_active() && kitsune__journal->has_snapshot)
        kitsune__snapshot_save_timer(exchange_of(kitsune__journal), kitsune__journal->clone, timer);
}

/* ---- signals ------------------------------------------------------------------------------- */

static const char *signal_name(int number) {
    switch (number) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGFPE:
        return "SIGFPE";
    case SIGILL:
        return "SIGILL";
    case SIGABRT:
        return "SIGABRT";
    case SIGSYS:
        return "SIGSYS";
    default:
        return "SIGTRAP";
    }
}

/* Whether somebody else sent it, so that the old version must get it. */
static int is_from_outside(const struct journal *of, const siginfo_t *info) {
    return info->si_code <= 0 && info->si_code != SI_TIMER && info->si_pid != of->process;
}

/* In a process that shares or copied the handlers but is not the one of the transaction: a crash is
 * a crash. */
static void crash_by_default(int number) {
    struct kernel_action standard = {0};
    uint64_t set = bit_of(number);
    KITSUNE__SYSCALL(SYS_rt_sigaction, number, &standard, 0, KERNEL_SET_SIZE);
    kernel_mask(SIG_UNBLOCK, &set, NULL);
    long process = KITSUNE__SYSCALL(SYS_getpid), thread = KITSUNE__SYSCALL(SYS_gettid);
    KITSUNE__SYSCALL(SYS_tgkill, process, thread, number);
}

static void give_up(struct journal *of, uint32_t code) __attribute__((noreturn));

void kitsune__journal_set_code(const void *start, const void *end) {
    if (kitsune__journal != NULL) {
        kitsune__journal->code_start = (uintptr_t)start;
        kitsune__journal->code_end = (uintptr_t)end;
    }
}

static int is_own_code(const struct journal *of, uintptr_t address) {
    return address >= of->code_start && address < of->code_end;
}

/* The stack of the new version that the thread which runs is on. */
static const struct kitsune__stack *stack_of(const struct journal *of) {
    return of->running != NULL ? &of->running->stack : &of->stack;
}

static int64_t distance(const struct journal *of, const void *address) {
    return (int64_t)((uintptr_t)address - (uintptr_t)of->fault_pc);
}

static void tell_frames(struct journal *of) {
    struct kitsune__verdict *verdict = &of->verdict;
    verdict->frame_count = of->frame_count;
    for (uint32_t i = 0; i < of->frame_count; i++) {
        const uint8_t *address = of->frames[i];
        int is_call = i > 0 || verdict->fault_is_below;
        const void *target = is_call ? kitsune__call_target(address + 1) : NULL;
        verdict->frames[i] = distance(of, address);
        verdict->calls[i] = target != NULL ? distance(of, target) : 0;
    }
}

/* The place to be named: where it happened, or, outside the new version's code, the nearest word on
 * the stack that is a return address into that; and the callers, as far as such words tell them. */
KITSUNE__UNCHECKED static void locate(struct journal *of, const void *ucontext) {
    const struct kitsune__stack *stack = stack_of(of);
    const uint8_t *at = kitsune__interrupted_stack(ucontext);
    of->fault_pc = kitsune__interrupted_at(ucontext);
    of->frame_count = 0;
    if (is_own_code(of, (uintptr_t)of->fault_pc))
        of->frames[of->frame_count++] = of->fault_pc;
    if (kitsune__stack_in_guard(stack, at))
        at = stack->start;
    if (at < stack->start || (uintptr_t)at % sizeof(uintptr_t) != 0)
        return;
    for (; at < stack->end && of->frame_count < KITSUNE__FRAMES; at += sizeof(uintptr_t)) {
        uintptr_t word = *(const uintptr_t *)at;
        if (is_own_code(of, word - 7) && is_own_code(of, word) &&
            kitsune__is_return_address((const void *)word))
            of->frames[of->frame_count++] = (const void *)(word - 1); /* inside the call */
    }
    if (of->frame_count == 0)
        return;
    of->verdict.fault_is_below = of->fault_pc != of->frames[0];
    of->fault_pc = of->frames[0];
    tell_frames(of);
}

static void on_signal(int number, siginfo_t *info, void *ucontext) {
    struct journal *of = kitsune__journal;
    char *reason;
    size_t size, length;
    if (number == SIGSYS && kitsune__withhold_trap(info, ucontext))
        return;
    if (of == NULL || of->is_committed || !is_of_this_process(of)) {
        crash_by_default(number);
        return;
    }
    if (number == LIMIT_SIGNAL && info->si_code == SI_TIMER &&
        kitsune__now_ns() < deadline_of(of)) {
        set_limit(of); /* it was of a phase that ended at that moment */
        return;
    }
    reason = of->verdict.reason;
    size = sizeof of->verdict.reason;
    locate(of, ucontext);
    if (is_from_outside(of, info))
        of->resend = *info;
    if (number == LIMIT_SIGNAL) {
        describe_limit(of, reason, size);
        give_up(of, KITSUNE__TIME_LIMIT);
    }
    if (number == SIGSEGV && kitsune__stack_in_guard(stack_of(of), info->si_addr)) {
        length = kitsune__format(reason, size, "stack overflow");
        describe_phase(of, reason + length, size - length);
        give_up(of, KITSUNE__STACK_OVERFLOW);
    }
    length = kitsune__format(reason, size, "%s", signal_name(number));
    if (info->si_code > 0 && (number == SIGSEGV || number == SIGBUS))
        length += kitsune__format(reason + length, size - length, " at address %p", info->si_addr);
    describe_phase(of, reason + length, size - length);
    give_up(of, KITSUNE__CRASHED);
}

/* One for all threads: one runs at a time. */
static void use_signal_stack(struct journal *of) {
    stack_t stack = {.ss_sp = of->signal_stack, .ss_size = sizeof of->signal_stack};
    KITSUNE__SYSCALL(SYS_sigaltstack, &stack, 0);
}

static void catch_signals(struct journal *of) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK, .sa_sigaction = on_signal};
    sigfillset(&action.sa_mask);
    use_signal_stack(of);
    for (size_t index = 0; index < CAUGHT; index++)
        kitsune__sigaction(caught[index], &action);
    /* In a rehearsal that handler makes calls for the new version: they crash and end like others. */
    for (size_t index = 0; index < CAUGHT; index++)
        sigdelset(&action.sa_mask, caught[index]);
    if (of->end != NULL)
        kitsune__sigaction(SIGSYS, &action);
}

/* Notes what the kernel has and blocks everything. */
static void save_signals(struct journal *of) {
    uint64_t all = ~0ull;
    kernel_mask(SIG_SETMASK, &all, &of->mask);
    KITSUNE__SYSCALL(SYS_rt_sigpending, &of->pending, KERNEL_SET_SIZE);
    KITSUNE__SYSCALL(SYS_sigaltstack, 0, &of->altstack);
    kitsune__traits_save(&of->traits);
    for (size_t index = 0; index < CAUGHT; index++)
        KITSUNE__SYSCALL(SYS_rt_sigaction, caught[index], 0, &of->actions[index], KERNEL_SET_SIZE);
}

static void unblock_caught(void) {
    uint64_t set = 0;
    for (size_t index = 0; index < CAUGHT; index++)
        set |= bit_of(caught[index]);
    kernel_mask(SIG_UNBLOCK, &set, NULL);
}

static void restore_caught(struct journal *of) {
    KITSUNE__SYSCALL(SYS_sigaltstack, &of->altstack, 0);
    for (size_t index = 0; index < CAUGHT; index++)
        KITSUNE__SYSCALL(SYS_rt_sigaction, caught[index], &of->actions[index], 0, KERNEL_SET_SIZE);
}

/* A timer of the process ran out that the new version had set; the old one's own was put back. */
static int is_of_new_timer(const struct journal *of, const siginfo_t *info) {
    const uint64_t timers = bit_of(SIGALRM) | bit_of(SIGVTALRM) | bit_of(SIGPROF);
    if (info->si_code == SI_TIMER) {
        for (uint32_t index = 0; index < of->kernel_timer_count; index++)
            if (of->kernel_timers[index] == info->si_timerid)
                return 1;
        const struct set_timer *set = find_set_timer(of, info->si_timerid);
        return set != NULL && !(set->pending & bit_of(info->si_signo));
    }
    return of->has_timers && info->si_code == SI_KERNEL &&
           (timers & ~of->timer_pending & bit_of(info->si_signo)) != 0;
}

static int is_of_new_version(const struct journal *of, const siginfo_t *info) {
    if (is_of_new_timer(of, info))
        return 1;
    return info->si_code <= 0 && info->si_code != SI_TIMER && info->si_pid == of->process;
}

/* Drops what the new version sent to itself (SIGPIPE by writing, say); all else stays pending. */
static void sift_pending(struct journal *of) {
    uint64_t pending = 0;
    struct timespec none = {0, 0};
    siginfo_t info;
    KITSUNE__SYSCALL(SYS_rt_sigpending, &pending, KERNEL_SET_SIZE);
    pending &= ~(of->pending | (of->running != NULL ? of->running->pending : 0));
    for (int number = 1; number <= SIGNALS; number++) {
        uint64_t set = bit_of(number);
        if (!(pending & set) ||
            KITSUNE__SYSCALL(SYS_rt_sigtimedwait, &set, &info, &none, KERNEL_SET_SIZE) != number)
            continue;
        if (!is_of_new_version(of, &info))
            KITSUNE__SYSCALL(SYS_rt_sigqueueinfo, of->process, number, &info);
    }
    if (of->resend.si_signo != 0)
        KITSUNE__SYSCALL(SYS_rt_sigqueueinfo, of->process, of->resend.si_signo, &of->resend);
}

int kitsune__journal_kept_action(int number, struct sigaction *action) {
    for (size_t index = 0; kitsune__journal != NULL && index < CAUGHT; index++)
        if (caught[index] == number) {
            const struct kernel_action *kept = &kitsune__journal->actions[index];
            memset(action, 0, sizeof *action);
            memcpy(&action->sa_handler, &kept->handler, sizeof kept->handler);
            action->sa_flags = (int)(kept->flags & ~0x04000000ull); /* SA_RESTORER is libc's */
            memcpy(&action->sa_mask, &kept->mask, sizeof kept->mask);
            return 1;
        }
    return 0;
}

void kitsune__journal_kept_mask(sigset_t *mask) {
    sigemptyset(mask);
    if (kitsune__journal != NULL)
        memcpy(mask,
               kitsune__journal->running != NULL ? &kitsune__journal->running->mask
                                                 : &kitsune__journal->mask,
               sizeof kitsune__journal->mask);
}

void kitsune__journal_kept_altstack(stack_t *stack) {
    *stack = kitsune__journal->running != NULL ? kitsune__journal->running->altstack
                                               : kitsune__journal->altstack;
}

void *kitsune__journal_old_stack_pointer(void) {
    return kitsune__journal->old.stack_pointer;
}

const struct kitsune__stack *kitsune__journal_stack(void) {
    return stack_of(kitsune__journal);
}

/* ---- rollback ------------------------------------------------------------------------------ */

static void note_failures(struct journal *of) {
    if (of->restored.clone_lost)
        kitsune__journal_note("the snapshot was lost: the old version's state may be damaged");
    else if (of->restored.failures > 0)
        kitsune__journal_note("%s", of->restored.failure);
}

/* In place of a rollback; does not return. */
static void end_rehearsal(struct journal *of) {
    struct kitsune__verdict *verdict = &of->verdict;
    verdict->total_ns = of->abort_ns - of->begin_ns;
    verdict->main_ns = of->main_ns != 0 ? of->abort_ns - of->main_ns : 0;
    if (of->fault_pc != NULL) {
        kitsune__snapshot_explain(exchange_of(of), of->fault_pc, &of->restored);
        memcpy(verdict->fault_path, of->restored.probe_path, sizeof verdict->fault_path);
        verdict->fault_offset = of->restored.probe_offset;
    }
    of->end(verdict);
}

/* Threads that the transaction made end before the memory that they need goes. */
static void end_made(struct journal *of) {
    for (uint32_t index = 0; index < of->made_count; index++) {
        struct kitsune__berth *place = of->made[index];
        if (place == of->running) /* it ends when it has carried the rollback out */
            continue;
        pid_t thread = place->tid;
        kitsune__park_command(place, KITSUNE__VANISH);
        while (KITSUNE__SYSCALL(SYS_tgkill, of->process, thread, 0) == 0)
            KITSUNE__SYSCALL(SYS_sched_yield);
    }
}

/* On the stack of the failed thread's place: the thread that began goes back first. Nothing of the
 * journal may be touched after that. */
static void send_first_back(void *argument) {
    struct kitsune__berth *place = argument;
    kitsune__park_command(place->first, KITSUNE__GO_BACK);
    kitsune__park_wait(place);
}

static int is_made(const struct journal *of, const struct kitsune__berth *place) {
    for (uint32_t index = 0; index < of->made_count; index++)
        if (of->made[index] == place)
            return 1;
    return 0;
}

__attribute__((noreturn)) static void go_back(struct journal *of, int running_ends) {
    struct kitsune__berth *place = of->running;
    if (place == NULL)
        kitsune__resume(&of->old, 1);
    of->running = NULL;
    of->waiting.old = of->old;
    if (running_ends)
        kitsune__tell_and_end(&of->waiting.command, KITSUNE__GO_BACK);
    place->first = &of->waiting;
    kitsune__leave_for(kitsune__berth_stack(place), send_first_back, place);
}

/* On the abort stack, with all signals blocked. */
static void roll_back(void *argument) {
    struct journal *of = argument;
    of->abort_ns = kitsune__now_ns();
    if (of->end != NULL)
        end_rehearsal(of);
    int running_ends = is_made(of, of->running);
    stop_limit(of);
    end_made(of);
    if (running_ends)
        kitsune__park_call_off(of->running);
    restore_timers(of);
    if (of->has_snapshot) {
        kitsune__snapshot_restore(exchange_of(of), of->clone, of->fault_pc, &of->restored);
        note_failures(of);
    } else {
        kitsune__journal_note("without a snapshot (KITSUNE_SNAPSHOT=off) only the stack and the "
                              "signals were restored");
    }
    restore_caught(of);
    sift_pending(of);
    for (struct kitsune__berth *place = of->places; place != NULL; place = place->next)
        place->is_undone = 1;
    go_back(of, running_ends);
}

/* Programs crash or exit when they get no memory: then that is the cause to be named. */
static int is_out_of_memory(void) {
    long block = KITSUNE__SYSCALL(SYS_mmap, 0, MEMORY_PROBE, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == -ENOMEM)
        return 1;
    KITSUNE__SYSCALL(SYS_munmap, block, MEMORY_PROBE);
    return 0;
}

static void add_reason(struct journal *of, const char *text) {
    char *reason = of->verdict.reason;
    size_t length = 0;
    while (reason[length] != '\0')
        length++;
    kitsune__format(reason + length, sizeof of->verdict.reason - length, "%s", text);
}

static void give_up(struct journal *of, uint32_t code) {
    uint64_t all = ~0ull;
    kernel_mask(SIG_SETMASK, &all, NULL);
    kitsune__share_end();
    of->verdict.code = code;
    if (is_out_of_memory())
        add_reason(of, "; the process was out of memory");
    kitsune__leave_for(of->abort_stack + sizeof of->abort_stack, roll_back, of);
}

void kitsune__journal_abortv(uint32_t code, const char *format, va_list arguments) {
    struct journal *of = kitsune__journal;
    /* Without a transaction there is nothing to go back to: only a child of the new version can get
     * here (it was forked before the commit and then failed), and it ends as it would have. */
    while (of == NULL || of->is_committed || !is_of_this_process(of))
        KITSUNE__SYSCALL(SYS_exit_group, 70);
    char *reason = of->verdict.reason;
    size_t size = sizeof of->verdict.reason;
    size_t length = kitsune__formatv(reason, size, format, arguments);
    if (code == KITSUNE__EXITED || code == KITSUNE__REFUSED_CALL)
        describe_phase(of, reason + length, size - length);
    give_up(of, code);
}

void kitsune__journal_abort(uint32_t code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    kitsune__journal_abortv(code, format, arguments);
}

/* ---- begin --------------------------------------------------------------------------------- */

static void take_snapshot(struct journal *of) {
    if (of->end != NULL || kitsune__journal_snapshot_off())
        return;
    of->clone = kitsune__snapshot_take(exchange_of(of));
    if (of->clone < 0) {
        kitsune__format(of->verdict.reason, sizeof of->verdict.reason,
                        "the process could not be cloned: error %d", -of->clone);
        of->verdict.code = KITSUNE__NO_SNAPSHOT;
        kitsune__resume(&of->old, 1);
    }
    of->has_snapshot = of->verdict.snapshot_taken = 1;
}

/* It cannot be interrupted, so it is looked at afterwards. */
static void check_snapshot(struct journal *of) {
    uint64_t taken_ns = of->verdict.snapshot_ns;
    uint64_t limit_ms = of->limits.phase_ms[KITSUNE__LIMITED_SNAPSHOT];
    of->spent_ns[KITSUNE__LIMITED_SNAPSHOT] = taken_ns;
    if (limit_ms != 0 && of->has_snapshot && taken_ns > limit_ms * NS_PER_MS)
        kitsune__journal_abort(
            KITSUNE__TIME_LIMIT, "the time limit of the phase '%s' ran out, after %lu ms",
            kitsune__limits_word(KITSUNE__LIMITED_SNAPSHOT), (unsigned long)(taken_ns / NS_PER_MS));
}

/* The first thing on the new stack. Everything before is no part of the transaction. */
static void transaction(void *argument) {
    struct journal *of = argument;
    for (struct kitsune__berth *place = of->places; place != NULL; place = place->next)
        kitsune__snapshot_keep_area(exchange_of(of), place->rseq);
    kitsune__snapshot_keep_area(exchange_of(of), kitsune__rseq_area());
    take_snapshot(of);
    kitsune__asan_stack(&of->stack);
    of->since_ns = kitsune__now_ns();
    of->verdict.snapshot_ns = of->since_ns - of->begin_ns;
    catch_signals(of);
    unblock_caught();
    check_snapshot(of);
    of->body(of->argument);
    kitsune__journal_abort(KITSUNE__RETURNED, "the new version's main returned");
}

static struct journal *map_journal(void) {
    void *memory = mmap(NULL, journal_size(), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void refuse(struct kitsune__verdict *verdict, uint32_t code, const char *reason) {
    verdict->code = code;
    kitsune__format(verdict->reason, sizeof verdict->reason, "%s", reason);
}

/* Prepares what must exist before the snapshot. Returns 0, or -1 with the verdict. */
static int prepare(struct journal **prepared, struct kitsune__verdict *verdict) {
    if (!kitsune__journal_snapshot_off() && !kitsune__snapshot_possible()) {
        refuse(verdict, KITSUNE__NO_SNAPSHOT, "/proc/self cannot be read");
        return -1;
    }
    struct journal *of = map_journal();
    if (of == NULL || kitsune__stack_map(&of->stack, 0) != 0) {
        if (of != NULL)
            munmap(of, journal_size());
        refuse(verdict, KITSUNE__NO_MEMORY, "no memory for a stack of the new version");
        return -1;
    }
    *prepared = of;
    return 0;
}

/* Back in the old version: takes down what only the transaction needed. */
static void finish_rollback(struct journal *of, struct kitsune__verdict *verdict) {
    uint64_t now = kitsune__now_ns();
    *verdict = of->verdict;
    verdict->restored_pages = of->restored.pages;
    memcpy(verdict->fault_path, of->restored.probe_path, sizeof verdict->fault_path);
    verdict->fault_offset = of->restored.probe_offset;
    verdict->rollback_ns = of->abort_ns != 0 ? now - of->abort_ns : 0;
    verdict->total_ns = now - of->begin_ns;
    uint64_t mask = of->mask;
    stop_limit(of); /* still runs if the snapshot failed */
    /* Another thread may have carried the rollback out. */
    KITSUNE__SYSCALL(SYS_sigaltstack, &of->altstack, 0);
    kitsune__traits_restore(&of->traits);
    if (of->has_snapshot && !of->restored.clone_lost)
        kitsune__snapshot_restore_user(exchange_of(of));
    kitsune__stack_unmap(&of->stack);
    munmap(of, journal_size());
    kitsune__journal = NULL;
    kernel_mask(SIG_SETMASK, &mask, NULL);
}

static void run(struct journal *of, const struct kitsune__limits *limits,
                struct kitsune__verdict *verdict) {
    of->process = (pid_t)KITSUNE__SYSCALL(SYS_getpid);
    of->begin_ns = of->since_ns = kitsune__now_ns();
    of->limits = *limits;
    for (int which = 0; which < KITSUNE__LIMITED_COUNT; which++)
        of->has_phase_limits |= limits->phase_ms[which] != 0;
    save_signals(of);
    kitsune__journal = of;
    if (start_limit(of) != 0) {
        refuse(&of->verdict, KITSUNE__NO_MEMORY, "no timer for the time limit");
    } else {
        kitsune__suspend(&of->old, of->stack.end, transaction, of);
    }
    finish_rollback(of, verdict);
}

void kitsune__journal_run(void (*body)(void *), void *argument, struct kitsune__berth *places,
                          const struct kitsune__limits *limits, struct kitsune__verdict *verdict) {
    struct journal *of = NULL;
    memset(verdict, 0, sizeof *verdict);
    kitsune__journal_reap_last();
    if (prepare(&of, verdict) != 0)
        return;
    of->body = body;
    of->argument = argument;
    of->places = places;
    run(of, limits, verdict);
}

void kitsune__journal_rehearse(void (*body)(void *), void *argument, struct kitsune__berth *places,
                               const struct kitsune__limits *limits,
                               void (*end)(struct kitsune__verdict *verdict),
                               struct kitsune__verdict *verdict) {
    struct journal *of = NULL;
    memset(verdict, 0, sizeof *verdict);
    if (prepare(&of, verdict) != 0)
        return;
    of->body = body;
    of->argument = argument;
    of->places = places;
    of->end = end;
    run(of, limits, verdict);
}

void kitsune__journal_end_rehearsal(uint64_t objects, uint64_t bytes) {
    struct journal *of = kitsune__journal;
    uint64_t all = ~0ull;
    kernel_mask(SIG_SETMASK, &all, NULL);
    of->verdict.objects = objects;
    of->verdict.bytes = bytes;
    kitsune__leave_for(of->abort_stack + sizeof of->abort_stack, roll_back, of);
}

/* ---- several threads ----------------------------------------------------------------------- */

/* The threads of the program are not in the copy that rehearses, but their stacks are: its only thread
 * stands for each of them in turn. Those that the new version made are there. */
static int is_stood_for(const struct journal *of, const struct kitsune__berth *place) {
    return of->end != NULL && !is_made(of, place);
}

static void stand_for(struct journal *of) {
    struct kitsune__berth *place = of->running;
    kitsune__become_thread(place->thread_pointer);
    kitsune__withhold_as(place->tid);
    kitsune__leave_for(place->stack.end, place->entry, place->argument);
}

/* On the waiting place's stack. */
static void lend(void *argument) {
    struct journal *of = argument;
    if (is_stood_for(of, of->running))
        stand_for(of);
    kitsune__park_command(of->running, KITSUNE__START);
    kitsune__park_wait(&of->waiting);
}

void kitsune__journal_lend(struct kitsune__berth *place, void (*entry)(void *), void *argument) {
    struct journal *of = kitsune__journal;
    uint64_t all = ~0ull;
    place->entry = entry;
    place->argument = argument;
    of->waiting.thread_pointer = __builtin_thread_pointer();
    kernel_mask(SIG_SETMASK, &all, NULL);
    of->running = place;
    kitsune__suspend(&of->waiting.new, kitsune__berth_stack(&of->waiting), lend, of);
    unblock_caught();
}

void kitsune__journal_enter(void) {
    use_signal_stack(kitsune__journal);
    unblock_caught();
}

/* On the stack of the place of the thread that hands back. */
static void hand_back(void *argument) {
    struct kitsune__berth *place = argument;
    if (is_stood_for(kitsune__journal, place)) {
        kitsune__become_thread(place->first->thread_pointer);
        kitsune__withhold_as(0);
        kitsune__resume(&place->first->new, 1);
    }
    kitsune__park_command(place->first, KITSUNE__GO_ON);
    kitsune__park_wait(place);
}

void kitsune__journal_hand_back(void) {
    struct journal *of = kitsune__journal;
    struct kitsune__berth *place = of->running;
    uint64_t all = ~0ull;
    kernel_mask(SIG_SETMASK, &all, NULL);
    of->running = NULL;
    place->first = &of->waiting;
    kitsune__suspend(&place->new, kitsune__berth_stack(place), hand_back, place);
}

int kitsune__journal_made(struct kitsune__berth *place) {
    if (kitsune__journal->made_count == KITSUNE__MADE_MAX)
        return -1;
    kitsune__journal->made[kitsune__journal->made_count++] = place;
    return 0;
}

struct kitsune__berth *kitsune__journal_running(void) {
    return kitsune__journal->running;
}

/* ---- commit -------------------------------------------------------------------------------- */

void kitsune__journal_commit(void (*apply)(void), struct kitsune__verdict *verdict,
                             struct kitsune__stack *stack) {
    struct journal *of = kitsune__journal;
    uint64_t all = ~0ull;
    kernel_mask(SIG_SETMASK, &all, NULL);
    __atomic_store_n(&of->is_committed, 1u, __ATOMIC_SEQ_CST);
    stop_limit(of);
    restore_caught(of);
    apply();
    if (of->has_snapshot && !kitsune__snapshot_drop(exchange_of(of), of->clone))
        dead_clone = of->clone;
    uint64_t now = kitsune__now_ns();
    *verdict = of->verdict;
    verdict->main_ns = of->main_ns != 0 ? now - of->main_ns : 0;
    verdict->total_ns = now - of->begin_ns;
    *stack = of->stack;
    kitsune__journal = NULL;
    munmap(of, journal_size());
}

int kitsune__journal_reap(void) {
    if (dead_clone != 0 && kitsune__snapshot_reap(dead_clone, 0))
        dead_clone = 0;
    return dead_clone == 0;
}

void kitsune__journal_reap_last(void) {
    if (dead_clone != 0 && kitsune__snapshot_reap(dead_clone, 1))
        dead_clone = 0;
}

int kitsune__journal_drop_in_child(void) {
    struct journal *of = kitsune__journal;
    dead_clone = 0; /* it is the parent's child */
    if (of == NULL)
        return 0;
    kitsune__journal = NULL;
    return 1;
}
