/* Work that is shared (beside.h). */
#define _GNU_SOURCE
#include "beside.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "platform.h"

#define TASKS_MAX 7u
#define STACK_BYTES (64u << 10)
#define CPUS_BYTES 1024u
#define NONE UINT64_MAX
#define SA_RESTORED 0x04000000ul /* the kernel's SA_RESTORER, where it has one */

struct task {
    long id;       /* 0: there is none any more */
    uint64_t part; /* that it is at; NONE: it is at none */
    struct share *share;
    uint8_t stack[STACK_BYTES] __attribute__((aligned(64)));
};

struct share {
    void (*work)(void *context, uint64_t part);
    void *context;
    uint64_t parts, next; /* the first that nobody has taken */
    uint32_t task_count;
    struct task *tasks; /* mapped */
};

static struct share *shared; /* while tasks are at it */
static int is_alone;

void kitsune__share_alone(void) {
    is_alone = 1;
}

static uint32_t processors(void) {
    uint64_t cpus[CPUS_BYTES / sizeof(uint64_t)];
    uint32_t count = 0;
    long bytes = KITSUNE__SYSCALL(SYS_sched_getaffinity, 0, sizeof cpus, cpus);
    for (long i = 0; i < bytes / (long)sizeof *cpus; i++)
        count += (uint32_t)__builtin_popcountll(cpus[i]);
    return count;
}

/* Takes parts as long as there are any. `part` is where it is noted which. */
static void take_parts(struct share *of, uint64_t *part) {
    for (;;) {
        uint64_t taken = __atomic_fetch_add(&of->next, 1, __ATOMIC_RELAXED);
        if (taken >= of->parts)
            return;
        __atomic_store_n(part, taken, __ATOMIC_RELAXED);
        of->work(of->context, taken);
        __atomic_store_n(part, NONE, __ATOMIC_RELEASE);
    }
}

/* ---- in a task ------------------------------------------------------------------------------ */

static void end_task(int number) {
    KITSUNE__SYSCALL(SYS_exit_group, number);
}

/* A fault ends the task, without a core: kernels before 5.16 end all who share the memory for that. */
static void catch_faults(void) {
    const struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(int); /* never returned to */
        uint64_t mask;
    } action = {end_task, SA_RESTORED, end_task, 0};
    const uint64_t faults = 1ul << (SIGSEGV - 1) | 1ul << (SIGBUS - 1);
    KITSUNE__SYSCALL(SYS_rt_sigaction, SIGSEGV, &action, 0, sizeof action.mask);
    KITSUNE__SYSCALL(SYS_rt_sigaction, SIGBUS, &action, 0, sizeof action.mask);
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_UNBLOCK, &faults, 0, sizeof faults);
}

static void run_task(void *argument) {
    struct task *task = argument;
    KITSUNE__SYSCALL(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    catch_faults();
    take_parts(task->share, &task->part);
}

/* ---- in the thread -------------------------------------------------------------------------- */

static void start_tasks(struct share *of, uint32_t most) {
    uint64_t all = ~0ull, before = 0;
    /* Blocked before they are there: no handler of the program may run in one. */
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    while (of->task_count < most) {
        struct task *task = &of->tasks[of->task_count];
        task->share = of;
        task->part = NONE;
        task->id = kitsune__start_beside(task->stack + STACK_BYTES, run_task, task);
        if (task->id <= 0)
            break;
        of->task_count++;
    }
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before);
}

/* Its stack is used until it has ended. */
static void reap(struct task *task) {
    while (task->id > 0 && KITSUNE__SYSCALL(SYS_wait4, task->id, 0, __WCLONE, 0) == -EINTR)
        continue;
    task->id = 0;
}

static void end_tasks(struct share *of) {
    for (uint32_t i = 0; i < of->task_count; i++) {
        struct task *task = &of->tasks[i];
        reap(task);
        uint64_t unfinished = __atomic_load_n(&task->part, __ATOMIC_ACQUIRE);
        if (unfinished != NONE)
            of->work(of->context, unfinished);
    }
}

/* How many tasks there are to be. */
static uint32_t helpers(uint64_t parts) {
    uint64_t others = is_alone || parts < 2 ? 0 : processors();
    others = others > 0 ? others - 1 : 0;
    others = others < parts ? others : parts - 1;
    return others < TASKS_MAX ? (uint32_t)others : TASKS_MAX;
}

void kitsune__share(void (*work)(void *context, uint64_t part), void *context, uint64_t parts) {
    struct share of = {.work = work, .context = context, .parts = parts};
    uint64_t own = NONE;
    uint32_t most = helpers(parts);
    size_t bytes = most * sizeof *of.tasks;
    if (most > 0)
        of.tasks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (most == 0 || of.tasks == MAP_FAILED) {
        take_parts(&of, &own);
        return;
    }
    shared = &of;
    start_tasks(&of, most);
    take_parts(&of, &own);
    end_tasks(&of);
    shared = NULL;
    munmap(of.tasks, bytes);
}

void kitsune__share_end(void) {
    for (uint32_t i = 0; shared != NULL && i < shared->task_count; i++) {
        struct task *task = &shared->tasks[i];
        if (task->id > 0)
            KITSUNE__SYSCALL(SYS_kill, task->id, SIGKILL);
        reap(task);
    }
    shared = NULL;
}
