#define _GNU_SOURCE
#include "rehearsal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "isolate.h"
#include "journal.h"
#include "platform.h"
#include "snapshot.h"
#include "thread.h"
#include "withhold.h"

#define ROLLUP_SIZE 2048
#define KERNEL_SET_SIZE 8

/* In the program. The copy that was made last, until it is reaped; 0: none. */
static pid_t copy;
static uint64_t clone_ns;

/* In the copy: of its memory, in bytes. */
struct weight {
    uint64_t anonymous, own;
};

static int is_copy;
static int rollup = -1;   /* /proc/self/smaps_rollup; -1: the kernel has none */
static int schedule = -1; /* /proc/self/schedstat; the same */
static struct weight before;
static uint64_t waited_before_ns;

/* ---- memory ---------------------------------------------------------------------------------- */

static struct weight weigh(void) {
    char text[ROLLUP_SIZE];
    struct weight weight = {0, 0};
    long length = KITSUNE__SYSCALL(SYS_pread64, rollup, text, sizeof text - 1, 0);
    if (length <= 0)
        return weight;
    text[length] = '\0';
    weight.anonymous = kitsune__number_behind(text, "Anonymous:", 0) * 1024;
    weight.own = (kitsune__number_behind(text, "Private_Clean:", 0) +
                  kitsune__number_behind(text, "Private_Dirty:", 0)) *
                 1024;
    return weight;
}

/* How long the copy has been ready to run, but had no processor: the second number of the file. */
static uint64_t waited_ns(void) {
    char text[96];
    uint64_t number = 0;
    long length = KITSUNE__SYSCALL(SYS_pread64, schedule, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    const char *at = text;
    while (*at >= '0' && *at <= '9')
        at++;
    for (at += *at == ' '; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return number;
}

static uint64_t grown(uint64_t from, uint64_t to) {
    return to > from ? to - from : 0;
}

static uint32_t count_threads(void) {
    uint32_t count = 0;
    for (const struct kitsune__thread *thread = kitsune__threads(); thread != NULL;
         thread = thread->next)
        count++;
    return count;
}

void kitsune__rehearsal_weigh(struct kitsune__outcome *outcome) {
    struct weight now = weigh();
    size_t length = 0;
    outcome->waited_ns = grown(waited_before_ns, waited_ns());
    outcome->memory_bytes = grown(before.own, now.own);
    outcome->growth_bytes = grown(before.anonymous, now.anonymous);
    outcome->thread_count = count_threads();
    while (outcome->not_undone[length] != '\0')
        length++;
    if (length > 0 && length + 2 < sizeof outcome->not_undone)
        length += kitsune__format(outcome->not_undone + length, sizeof outcome->not_undone - length,
                                  "; ");
    kitsune__withhold_tell(outcome->not_undone + length, sizeof outcome->not_undone - length);
}

/* ---- the copy -------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void end(void) {
    for (;;)
        KITSUNE__SYSCALL(SYS_exit_group, 0);
}

void kitsune__rehearsal_end(void) {
    kitsune__request_rehearsal_ends();
    end();
}

void kitsune__rehearsal_end_child(void) {
    if (is_copy)
        end();
}

static void refuse(struct kitsune__verdict *verdict) {
    struct kitsune__outcome outcome = {.is_rehearsal = 1};
    kitsune__format(outcome.code, sizeof outcome.code, "K%u", KITSUNE__NOT_ISOLATED);
    kitsune__format(outcome.reason, sizeof outcome.reason, "%s", verdict->reason);
    kitsune__request_rehearsed(&outcome);
    kitsune__rehearsal_end();
}

int kitsune__rehearsal_move_high(int descriptor) {
    int high = (int)KITSUNE__SYSCALL(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC,
                                     KITSUNE__REHEARSAL_DESCRIPTOR);
    if (high < 0)
        return descriptor;
    KITSUNE__SYSCALL(SYS_close, descriptor);
    return high;
}

__attribute__((noreturn)) static void live_as_copy(pid_t program, pid_t parent, uint64_t mask,
                                                   void (*run)(struct kitsune__verdict *),
                                                   struct kitsune__verdict *verdict) {
    struct kitsune__range shared;
    is_copy = 1;
    KITSUNE__SYSCALL(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    if (KITSUNE__SYSCALL(SYS_getppid) != program) /* it had ended before */
        end();
    if (kitsune__request_enter_copy(&shared) != 0)
        end();
    rollup = kitsune__rehearsal_move_high(kitsune__open_proc("self/smaps_rollup", O_RDONLY));
    schedule = kitsune__rehearsal_move_high(kitsune__open_proc("self/schedstat", O_RDONLY));
    if (kitsune__isolate(&shared, program, parent, kitsune__request_copy_lets_go, verdict->reason,
                         sizeof verdict->reason) != 0)
        refuse(verdict);
    before = weigh();
    waited_before_ns = waited_ns();
    mask &= ~(1ull << (SIGSYS - 1)); /* by which calls are withheld */
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, KERNEL_SET_SIZE);
    run(verdict);
    end();
}

/* ---- the program ----------------------------------------------------------------------------- */

int kitsune__rehearsal_reap(void) {
    if (copy > 0 && kitsune__snapshot_reap(copy, 0))
        copy = 0;
    return copy == 0 || kitsune__request_is_rehearsed();
}

uint32_t kitsune__rehearsal_start(void (*run)(struct kitsune__verdict *verdict),
                                  struct kitsune__verdict *verdict) {
    uint64_t all = ~0ull, mask;
    pid_t program = (pid_t)KITSUNE__SYSCALL(SYS_getpid);
    pid_t parent = (pid_t)KITSUNE__SYSCALL(SYS_getppid);
    kitsune__rehearsal_reap();
    kitsune__request_rehearses();
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, KERNEL_SET_SIZE);
    uint64_t start_ns = kitsune__now_ns();
    long made = kitsune__copy_process(0);
    if (made == 0)
        live_as_copy(program, parent, mask, run, verdict);
    clone_ns = kitsune__now_ns() - start_ns;
    if (made > 0)
        kitsune__request_await_letting_go((pid_t)made);
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, KERNEL_SET_SIZE);
    if (made > 0) {
        copy = (pid_t)made;
        return 0;
    }
    kitsune__request_rehearsed_by(-1, 0, 0);
    kitsune__format(verdict->reason, sizeof verdict->reason,
                    "the process could not be cloned: error %d", (int)-made);
    return KITSUNE__NO_SNAPSHOT;
}

void kitsune__rehearsal_told(uint64_t stopped_ns) {
    if (copy > 0)
        kitsune__request_rehearsed_by(copy, clone_ns, stopped_ns);
}
