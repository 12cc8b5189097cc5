#define _GNU_SOURCE
#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "control.h"
#include "gather.h"
#include "platform.h"
#include "stuck.h"
#include "tree.h"
#include "wait.h"

#define MAX_GATES 64
#define START_LIMIT_MS 5000
#define FETCH_LIMIT_MS 5000
#define MAX_QUICK_DEATHS 8
/* How long a process waits for a helper that shows no sign of life. */
#define SILENCE_NS 5000000000ull
#define LOOK_NS 50000000

static size_t page_size;

/* Stands in until the mapping is made, so that wrapped calls need no test. */
static struct kitsune_gate no_gate;
struct kitsune_gate *kitsune__control_gate = &no_gate;
static struct kitsune__tree *tree;
/* Of this process; its parent's in a child that has no place. NULL: no channel at all. */
static struct kitsune__control *control;

/* The releases' gates that lie over the shared page (or a private one without a place). An entry is
 * written before the count: the kick's handler reads both. */
static struct kitsune_gate *gates[MAX_GATES];
static _Atomic unsigned gate_count;

static struct kitsune__kept kept;

/* Non-zero in a forked child that found no place in the tree: it has no channel. */
static int is_left_out;
/* What this process has a place under, and what it is to itself: another number in a namespace of process
 * numbers of its own. */
static int32_t own_pid, local_pid;
static int is_renumbered;
/* If it is: of the first process of its namespace; NULL if that has none. */
static struct kitsune__control *namespace_place;
/* It, or whom it comes from, is in a namespace where it cannot be in the tree, as was noted for it. */
static int is_elsewhere;
/* The program has set a filter of its system calls, and has not said that it lets an update pass. */
static int is_filtered;
/* This process has forked since its last update point. */
static int has_forked;
/* Helper of the parent that this process took over from; its last kicks may still arrive. */
static int32_t former_helper;

/* What the program believes to be installed for SIGURG. */
static struct sigaction program_action;

static void on_sigurg(int number, siginfo_t *info, void *context);

/* ---- gates --------------------------------------------------------------------------------- */

uint32_t kitsune__request_pending(void) {
    return __atomic_load_n(&kitsune__control_gate->pending, __ATOMIC_ACQUIRE);
}

/* Set where a page cannot be mapped a second time (emulators of another machine). */
static int has_no_second_mapping;

/* Whether each gate has a page of its own: in a child without a place, and under valgrind and others that
 * know no second mapping of a page; else all are one page. */
static int has_own_gates(void) {
    return is_left_out || has_no_second_mapping || kitsune__under_valgrind();
}

static void change_gates(uint32_t set, uint32_t clear) {
    unsigned count = gate_count;

    __atomic_fetch_or(&kitsune__control_gate->pending, set, __ATOMIC_RELEASE);
    __atomic_fetch_and(&kitsune__control_gate->pending, ~clear, __ATOMIC_RELEASE);
    for (unsigned i = 0; has_own_gates() && i < count; i++) {
        __atomic_fetch_or(&gates[i]->pending, set, __ATOMIC_RELEASE);
        __atomic_fetch_and(&gates[i]->pending, ~clear, __ATOMIC_RELEASE);
    }
}

void kitsune__request_raise(uint32_t bits) {
    change_gates(bits, 0);
}

void kitsune__request_lower(uint32_t bits) {
    change_gates(0, bits);
}

/* Where gates are pages of their own, those of the releases take over what the helper set in the shared one:
 * the kick says that it did. Any context. */
static void copy_gate(void) {
    if (has_no_second_mapping && !is_left_out)
        change_gates(kitsune__request_pending(), 0);
}

static int can_map_twice(void) {
    void *page = mremap(kitsune__control_gate, 0, page_size, MREMAP_MAYMOVE);

    if (page == MAP_FAILED)
        return 0;
    munmap(page, page_size);
    return 1;
}

/* Puts the shared page (or, without a place, a private one) over a gate. */
static int map_gate(struct kitsune_gate *gate) {
    void *page;

    if (kitsune__under_valgrind() || (has_no_second_mapping && !is_left_out))
        return 0;
    if (is_left_out)
        page = mmap(gate, page_size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    else /* an old size of 0 makes a second mapping of a shared page */
        page = mremap(kitsune__control_gate, 0, page_size, MREMAP_MAYMOVE | MREMAP_FIXED, gate);
    return page == MAP_FAILED ? -1 : 0;
}

int kitsune__request_gate_add(struct kitsune_gate *gate) {
    unsigned count = gate_count;

    if (count == MAX_GATES || (uintptr_t)gate % page_size != 0) {
        errno = count == MAX_GATES ? ENOSPC : EINVAL;
        return -1;
    }
    if (control && map_gate(gate) < 0)
        return -1;
    gates[count] = gate;
    gate_count = count + 1;
    if (has_own_gates())
        change_gates(kitsune__request_pending(), 0);
    return 0;
}

void kitsune__request_gate_remove(struct kitsune_gate *gate) {
    unsigned count = gate_count, at = 0;

    while (at < count && gates[at] != gate)
        at++;
    if (at == count)
        return;
    gates[at] = gates[count - 1];
    gate_count = count - 1;
}

/* Whether this process has a place. A child made by a bare clone system call runs no handler of fork: it
 * still has its parent's pages, and must leave them alone. */
int kitsune__request_is_owner(void) {
    return control && tree->root && !is_left_out && control->owner == own_pid &&
           local_pid == (int32_t)getpid();
}

void kitsune__request_expect_filter(void) {
    if (tree && !tree->may_be_filtered)
        kitsune__request_service();
}

void kitsune__request_note_filter(void) {
    is_filtered = tree && !tree->may_be_filtered;
}

int kitsune__request_is_filtered(void) {
    return is_filtered;
}

int kitsune__request_is_root(void) {
    return control && !is_left_out && tree->root == own_pid && local_pid == (int32_t)getpid();
}

uint32_t kitsune__request_round(void) {
    return tree ? tree->round : 0;
}

/* ---- the helper ---------------------------------------------------------------------------- */

/* Notes all ranges of /proc/self/maps. What does not fit would be unmapped in the helper: an error. */
static int note_mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long start, end;

    if (!maps)
        return -1;
    kept.count = 0;
    while (fscanf(maps, "%lx-%lx%*[^\n]", &start, &end) == 2) {
        if (kept.count == sizeof kept.ranges / sizeof kept.ranges[0] - 3) {
            errno = E2BIG;
            break;
        }
        kept.ranges[kept.count++] = (struct kitsune__range){start, end};
    }
    int complete = feof(maps);
    fclose(maps);
    return complete ? 0 : -1;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, long limit_ms) {
    struct timespec limit = {limit_ms / 1000, limit_ms % 1000 * 1000000};

    syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, NULL, 0);
}

/* Waits until the helper listens or says why not. */
static int await_helper(void) {
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        uint32_t ready = tree->ready;

        if (ready != KITSUNE__STARTING)
            return ready == KITSUNE__LISTENING ? 0 : -1;
        futex_wait(&tree->ready, KITSUNE__STARTING, 100);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
             START_LIMIT_MS);
    kitsune__format(tree->failure, sizeof tree->failure,
                    "the helper process did not start in time");
    return -1;
}

/*
 * A raw clone: no thread, so that libc keeps its fast paths; the handlers of pthread_atfork do not run;
 * and with an exit signal other than SIGCHLD no wait of the program sees it (only __WCLONE and __WALL do).
 */
static int spawn_helper(void) {
    sigset_t all, before;
    long pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    tree->ready = KITSUNE__STARTING;
    tree->helper_started = kitsune__now_ns();
    pid = kitsune__copy_process(SIGURG | CLONE_FILES);
    if (pid == 0)
        kitsune__helper_main(tree, &kept);
    tree->helper = pid < 0 ? 0 : (int32_t)pid;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = pid < 0 ? (int)-pid : errno;
    return pid < 0 ? -1 : 0;
}

/* Non-zero if the helper is dead or was reaped by somebody. Keeps it for `reap`. Any context. */
static int helper_is_gone(void) {
    siginfo_t info = {0};

    if (is_filtered || !kitsune__request_is_root() || !tree->helper)
        return 0;
    if (waitid(P_PID, (id_t)tree->helper, &info,
               WEXITED | WNOHANG | WNOWAIT | kitsune__copy_wait()) < 0)
        return errno == ECHILD;
    return info.si_pid != 0;
}

/* A helper that cannot be replaced leaves a program that runs on and cannot be updated. */
static void spawn_another_helper(void) {
    tree->replacements++;
    if (spawn_helper() < 0)
        kitsune__format(tree->failure, sizeof tree->failure, "clone: %s", strerrordesc_np(errno));
}

/* Counts helpers that die as soon as they are started; whatever kills them would kill the next one. */
static int dies_at_once(void) {
    static unsigned quick_deaths;
    uint64_t lived_ns = kitsune__now_ns() - tree->helper_started;

    quick_deaths = lived_ns < 1000000000u ? quick_deaths + 1 : 0;
    return quick_deaths > MAX_QUICK_DEATHS;
}

static void replace_helper(void) {
    int status;

    waitpid(tree->helper, &status, WNOHANG | kitsune__copy_wait());
    tree->helper = 0;
    if (tree->ready != KITSUNE__FAILED && !dies_at_once())
        spawn_another_helper();
}

static void copy_setting(char *to, size_t size, const char *name) {
    const char *value = getenv(name);

    if (value && strlen(value) < size)
        memcpy(to, value, strlen(value) + 1);
}

uint64_t kitsune__control_serial(void) {
    return control ? control->serial : 0;
}

/* ---- fork ---------------------------------------------------------------------------------- */

static struct kitsune__candidate *find_candidate(int32_t pid) {
    for (unsigned i = 0; i < KITSUNE__CANDIDATES; i++)
        if (tree->candidates[i].pid == pid)
            return &tree->candidates[i];
    return NULL;
}

/* The count of a process' settling; NULL for one that has no part in the channel. */
static _Atomic uint32_t *settled_of(int32_t pid) {
    struct kitsune__candidate *slot = pid == tree->root ? NULL : find_candidate(pid);

    return pid == tree->root ? &tree->settled : slot ? &slot->settled : NULL;
}

/* Takes a free slot, or that of a process that is gone; NULL if there is none. */
static struct kitsune__candidate *register_candidate(int32_t pid, int32_t parent) {
    for (unsigned i = 0; i < KITSUNE__CANDIDATES; i++) {
        struct kitsune__candidate *slot = &tree->candidates[i];
        int32_t held = slot->pid;

        if (held != 0 && (kill(held, 0) == 0 || errno != ESRCH))
            continue;
        if (atomic_compare_exchange_strong(&slot->pid, &held, pid)) {
            slot->parent = parent;
            return slot;
        }
    }
    return NULL;
}

/*
 * This process lives on after its forks: its children, and theirs, are workers and never heirs. One that
 * has not registered itself yet sees from the count that it need not: the count is raised before
 * the slots are looked at, and a child looks at it after it took its slot.
 */
static void settle_children(void) {
    int32_t self = own_pid;
    _Atomic uint32_t *settled = settled_of(self);
    int changed;

    has_forked = 0;
    if (is_elsewhere || is_renumbered)
        return;
    if (settled)
        (*settled)++;
    do {
        changed = 0;
        for (unsigned i = 0; i < KITSUNE__CANDIDATES; i++) {
            struct kitsune__candidate *slot = &tree->candidates[i];
            int32_t parent = slot->parent;
            int is_worker = slot->pid != 0 &&
                            (parent == self || (parent != tree->root && !find_candidate(parent)));

            if (is_worker) {
                slot->pid = 0;
                changed = 1;
            }
        }
    } while (changed);
}

/* Of the fork under way, as the parent was when it began: it may have gone on to another update, or through
 * one, when the child begins to run. */
static struct {
    struct kitsune__lineage origin;
    uint32_t pending;
    uint32_t settled; /* the parent's count */
    int saved_errno;
    int is_unreachable; /* the child will be */
} forking;

/* Where forks under way are counted, if they are. */
static _Atomic int32_t *forks_under_way(void) {
    if (!is_renumbered)
        return &tree->forking;
    return namespace_place ? &namespace_place->forking : NULL;
}

static void count_fork(_Atomic int32_t *count, int more) {
    if (count)
        *count += more;
}

/* The last thing before the fork: errno tells its outcome to after_fork_in_parent. */
static void before_fork(void) {
    _Atomic uint32_t *settled;

    if (is_filtered) /* nor is anything done after the fork */
        return;
    forking.saved_errno = errno;
    forking.origin = (struct kitsune__lineage){.parent = own_pid,
                                               .serial = control->serial,
                                               .running = control->running,
                                               .running_since = control->running_since};
    forking.pending = kitsune__request_pending();
    settled = settled_of(forking.origin.parent);
    forking.settled = settled ? *settled : 0;
    count_fork(forks_under_way(), 1);
    if (!is_left_out) /* after it: who reads this number waits for the children that it counts */
        control->forks++;
    errno = 0;
}

/* If no update point follows, the parent ends: daemonising. Else it is told there. */
static void after_fork_in_parent(void) {
    if (is_filtered)
        return;
    if (errno != 0) /* there is no child that could do it */
        count_fork(forks_under_way(), -1);
    errno = forking.saved_errno;
    has_forked = 1;
    kitsune__request_raise(KITSUNE__PENDING_SERVICE);
}

static void become_candidate(void) {
    struct kitsune__candidate *slot;
    _Atomic uint32_t *settled = settled_of(forking.origin.parent);

    if (!settled || is_elsewhere || is_renumbered)
        return;
    slot = register_candidate(local_pid, forking.origin.parent);
    if (slot && *settled != forking.settled)
        slot->pid = 0;
}

/* A child of one that has no place has none: what the parent runs is noted nowhere. Nor has a child that
 * a new version makes before its commit: it goes on in what may never be the program. */
static struct kitsune__control *find_place(void) {
    local_pid = (int32_t)getpid();
    own_pid = is_renumbered ? kitsune__own_number() : local_pid;
    if (is_left_out || is_elsewhere || !tree->root || kitsune__under_valgrind() ||
        (forking.pending & KITSUNE__PENDING_TRANSACTION) || own_pid < 0)
        return NULL;
    return kitsune__tree_enter(tree, own_pid, &forking.origin);
}

static void wait_on(struct kitsune__control *place) {
    kitsune__control_gate = kitsune__tree_gate(place);
    kitsune__wait_open(&kitsune__control_gate->pending);
}

static void leave_out(void) {
    is_left_out = 1;
    mmap(kitsune__control_gate, page_size, PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (!tree->root || is_elsewhere)
        return;
    if (own_pid > 0)
        kitsune__tree_note_left_out(tree, own_pid, 0);
    else
        tree->unknown++;
}

/* Of a parent that filters its system calls the child keeps the gate: nobody asks either. */
static void after_fork_in_child(unsigned long flags) {
    _Atomic int32_t *counted = forks_under_way();
    struct kitsune__control *place;

    kitsune__platform_forked();
    if ((flags & CLONE_NEWPID) && !is_renumbered)
        kitsune__tree_renumber(tree);
    is_renumbered |= (flags & CLONE_NEWPID) != 0;
    if (is_filtered) {
        is_left_out = 1;
        return;
    }
    place = find_place();
    if (flags & CLONE_NEWPID)
        namespace_place = place;
    errno = forking.saved_errno;
    has_forked = 0;
    if (place) {
        control = place;
        wait_on(place);
    } else {
        leave_out();
    }
    for (unsigned i = 0; i < gate_count; i++)
        map_gate(gates[i]);
    become_candidate();
    count_fork(counted, -1);
}

static void after_plain_fork_in_child(void) {
    after_fork_in_child(0);
}

void kitsune__request_expect_clone(unsigned long flags) {
    if (!tree)
        return;
    forking.is_unreachable =
        (flags & CLONE_NEWUSER) || ((flags & CLONE_NEWPID) && kitsune__own_number() != own_pid);
    before_fork();
}

void kitsune__request_cloned(long result, unsigned long flags) {
    if (!tree)
        return;
    if (result == 0) {
        is_elsewhere |= forking.is_unreachable;
        after_fork_in_child(flags);
        return;
    }
    after_fork_in_parent();
    if (result < 0 || !forking.is_unreachable || is_elsewhere || is_filtered || !tree->root)
        return;
    if (is_renumbered)
        tree->unknown++;
    else
        kitsune__tree_note_left_out(tree, (int32_t)result, 1);
}

static struct kitsune__control *place_of(int32_t pid) {
    for (uint32_t i = 0; i < kitsune__tree_used(tree); i++)
        if (kitsune__tree_place(tree, i)->owner == pid)
            return kitsune__tree_place(tree, i);
    return NULL;
}

/* The daemon is the program that was started, so it has its history. */
static void inherit_history(const struct kitsune__control *from) {
    control->started = from->started;
    if (control->past_count)
        return;
    memcpy(control->past, from->past, sizeof control->past);
    control->past_count = from->past_count;
}

/* Makes this process, the only child left of a root that ended, the root of the tree. */
static void take_over(void) {
    struct kitsune__control *former = place_of(tree->root);

    if (former)
        inherit_history(former);
    former_helper = tree->helper;
    for (unsigned i = 0; i < KITSUNE__CANDIDATES; i++)
        tree->candidates[i].pid = 0;
    tree->root = own_pid;
    tree->adopted = own_pid;
    spawn_another_helper();
}

static int is_heir(void) {
    return !is_left_out && tree->heir == own_pid && !kitsune__request_is_root();
}

void kitsune__request_service(void) {
    int saved = errno;

    if (is_filtered) { /* it was serviced before */
        kitsune__request_lower(KITSUNE__PENDING_SERVICE);
        return;
    }
    if (!control || (!is_left_out && !kitsune__request_is_owner()))
        return;
    /* After it: a helper that starts now would take the request for one that is under way. */
    if (kitsune__request_pending() & KITSUNE__PENDING_TRANSACTION)
        return;
    kitsune__request_lower(KITSUNE__PENDING_SERVICE);
    if (is_heir())
        take_over();
    if (has_forked)
        settle_children();
    if (helper_is_gone())
        replace_helper();
    errno = saved;
}

/* ---- SIGURG -------------------------------------------------------------------------------- */

static int has_program_handler(void) {
    return program_action.sa_handler != SIG_DFL && program_action.sa_handler != SIG_IGN;
}

/* Ours: flags as the program's own handler wants them, else restarting. On the alternate stack, if there
 * is one: the program may run on stacks of its own that are small. */
static int install_handler(void) {
    struct sigaction action = {.sa_sigaction = on_sigurg};

    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    if (has_program_handler()) {
        action.sa_mask = program_action.sa_mask;
        action.sa_flags = program_action.sa_flags & (SA_RESTART | SA_NODEFER);
    }
    action.sa_flags |= SA_SIGINFO;
    /* Valgrind goes on using an alternate stack that was disabled: a transaction's, long unmapped. */
    if (!kitsune__under_valgrind())
        action.sa_flags |= SA_ONSTACK;
    return kitsune__sigaction(SIGURG, &action);
}

int kitsune__kick_is_shared(void) {
    return has_program_handler();
}

int kitsune__kick_sigaction(const struct sigaction *action, struct sigaction *previous) {
    struct sigaction before = program_action;

    if (action) {
        program_action = *action;
        if (install_handler() < 0) {
            program_action = before;
            return -1;
        }
        /* Its threads may block the signal from now on, and a kick of a cancelled one with it. */
        if (has_program_handler())
            kitsune__wait_expect_cancels();
    }
    if (previous)
        *previous = before;
    return 0;
}

void kitsune__kick_filter(sigset_t *blocked) {
    if (!has_program_handler())
        sigdelset(blocked, SIGURG);
}

/* The signal was not ours. */
static void call_program_handler(int number, siginfo_t *info, void *context) {
    struct sigaction action = program_action;

    if (!has_program_handler())
        return;
    if (action.sa_flags & SA_RESETHAND)
        program_action.sa_handler = SIG_DFL;
    if (action.sa_flags & SA_SIGINFO)
        action.sa_sigaction(number, info, context);
    else
        action.sa_handler(number);
}

/* Who has no number in this process' own namespace is outside it, where the helper is. */
static int is_helper(int32_t pid) {
    return pid == 0 ? is_renumbered
                    : control && (pid == tree->helper || pid == former_helper) && !is_renumbered;
}

/* The helper is about to give a request up. */
static void look_if_wanted(const void *context) {
    if (!kitsune__request_is_owner() || control->look != KITSUNE__LOOK_WANTED)
        return;
    kitsune__stuck_look_inside(&control->report.threads[0], context);
    control->report.thread_count = 1;
    control->look = KITSUNE__LOOK_DONE;
}

/* A kick, the helper's death, or the program's own. Pending signals of one number are one: a death may
 * hide behind a kick, so each looks after the helper. */
static void on_sigurg(int number, siginfo_t *info, void *context) {
    int saved = errno, is_kick = info->si_code == SI_TKILL || info->si_code == SI_USER;
    int is_program = 0;
    int is_death =
        info->si_code == CLD_EXITED || info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED;

    if (kitsune__gather_is_kick(info, context)) {
        /* done */
    } else if ((is_kick || is_death) && is_helper(info->si_pid)) {
        if (helper_is_gone() || is_heir())
            kitsune__request_raise(KITSUNE__PENDING_SERVICE);
        copy_gate();
        look_if_wanted(context);
        kitsune__wait_interrupt(context);
    } else {
        call_program_handler(number, info, context);
        is_program = has_program_handler();
    }
    /* The call that the program's own signal ended is to fail with EINTR. */
    if (!is_program)
        kitsune__wait_cancel(context);
    errno = saved;
}

static int take_sigurg(void) {
    sigset_t kick;

    if (sigaction(SIGURG, NULL, &program_action) < 0 || install_handler() < 0)
        return -1;
    sigemptyset(&kick);
    sigaddset(&kick, SIGURG);
    return sigprocmask(SIG_UNBLOCK, &kick, NULL);
}

/* ---- start --------------------------------------------------------------------------------- */

int kitsune__request_prepare(void) {
    char allows[8] = "";

    page_size = (size_t)sysconf(_SC_PAGESIZE);
    tree = kitsune__tree_map();
    if (!tree || note_mappings() < 0 || take_sigurg() < 0)
        return -1;
    own_pid = local_pid = (int32_t)getpid();
    control = kitsune__tree_enter(tree, own_pid, NULL);
    wait_on(control);
    has_no_second_mapping = !can_map_twice();
    copy_setting(tree->runtime_directory, sizeof tree->runtime_directory, "KITSUNE_RUNTIME_DIR");
    copy_setting(allows, sizeof allows, "KITSUNE_SECCOMP");
    tree->may_be_filtered = strcmp(allows, "allow") == 0;
    copy_setting(tree->user_directory, sizeof tree->user_directory, "XDG_RUNTIME_DIR");
    errno = pthread_atfork(before_fork, after_fork_in_parent, after_plain_fork_in_child);
    return errno ? -1 : 0;
}

int kitsune__request_start(const struct kitsune__running *running, char *why, size_t why_size) {
    if (!control) {
        kitsune__format(why, why_size, "no memory is shared with the helper");
        return -1;
    }
    control->running_since = control->started;
    control->running = *running;
    tree->root = own_pid;
    if (kitsune__under_valgrind()) {
        kitsune__format(why, why_size, "valgrind cannot run the helper process");
        return -1;
    }
    if (spawn_helper() < 0) {
        kitsune__format(why, why_size, "clone: %s", strerrordesc_np(errno));
        return -1;
    }
    if (await_helper() < 0) {
        kitsune__format(why, why_size, "%s", tree->failure);
        return -1;
    }
    return 0;
}

/* ---- a request ----------------------------------------------------------------------------- */

static int move_state(uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong(&control->state, &from, to);
}

/* `format` holds one %s. */
static void fail_taken(enum kitsune__code code, const char *format, const char *detail) {
    struct kitsune__outcome outcome = {0};

    kitsune__format(outcome.code, sizeof outcome.code, "K%u", (unsigned)code);
    kitsune__format(outcome.reason, sizeof outcome.reason, format, detail);
    kitsune__request_outcome(&outcome, NULL);
}

/* Receives the one descriptor of a message; -1 if there is none, or none was free for it. */
static int receive_descriptor(int connection) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } extra;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &extra, .msg_controllen = sizeof extra};
    struct cmsghdr *header;
    ssize_t got;
    int fd;

    do
        got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got >= 0) /* a message without a descriptor is no error to the kernel */
        errno = message.msg_flags & MSG_CTRUNC ? EMFILE : ECONNRESET;
    header = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        return -1;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

/* The name of the helper's socket lies where children of fewer rights can write. */
static int is_trusted(int connection) {
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        (peer.uid == 0 || peer.uid == geteuid()))
        return 1;
    errno = EPERM;
    return 0;
}

/* It waits while many processes of a tree ask at once. */
static int connect_to_helper(int connection) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strnlen(tree->fetch_name, sizeof tree->fetch_name);
    int result;

    memcpy(address.sun_path + 1, tree->fetch_name, length);
    do
        result = connect(connection, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length));
    while (result < 0 && errno == EINTR);
    return result;
}

/*
 * Gets the checked copy from the helper. By an abstract socket of random name, because neither a path
 * nor a descriptor kept from the start would do: the program may have changed its root or user, or closed
 * all that it did not open. The helper asks the kernel who connects. Signals wait: as a socket has limits
 * of time, each would end what waits there, SA_RESTART or not. (To be stopped and go on still does.)
 */
static int fetch_copy(void) {
    struct timeval limit = {FETCH_LIMIT_MS / 1000, FETCH_LIMIT_MS % 1000 * 1000};
    uint64_t all = ~0ull, before = 0;
    int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd = -1;

    if (connection < 0)
        return -1;
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    if (connect_to_helper(connection) == 0 && is_trusted(connection))
        fd = receive_descriptor(connection);
    int saved = errno;
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before);
    close(connection);
    errno = saved;
    return fd;
}

/* For a request from inside there is no copy yet. */
static int copy_here(void) {
    struct kitsune__problem problem;
    struct kitsune__running release;
    int fd;

    switch (kitsune__check_release(control->path, geteuid(), &control->running, &release, &fd,
                                   &problem)) {
    case KITSUNE__RELEASE_ACCEPTED:
        control->release = release;
        return fd;
    case KITSUNE__RELEASE_IS_RUNNING:
        fail_taken(KITSUNE__WITHDRAWN, "version %s is running already", release.version);
        return -1;
    case KITSUNE__RELEASE_REFUSED:
        break;
    }
    fail_taken(problem.code, "%s", problem.text);
    return -1;
}

int kitsune__request_take(struct kitsune__request *request) {
    int saved = errno;

    if (!kitsune__request_is_owner())
        return 0;
    kitsune__request_lower(KITSUNE__PENDING_UPDATE | KITSUNE__PENDING_INTERRUPT);
    if (!move_state(KITSUNE__PENDING, KITSUNE__TAKEN))
        return 0;
    if (control->origin == KITSUNE__FROM_INSIDE) {
        request->fd = copy_here();
    } else {
        request->fd = fetch_copy();
        if (request->fd < 0)
            fail_taken(KITSUNE__HELPER_FAILED,
                       "the program could not get the release from its helper: %s",
                       strerrordesc_np(errno));
    }
    if (request->fd >= 0) {
        request->serial = control->serial;
        request->limits = control->limits;
        request->wait_ms = control->wait_ms;
        request->round = control->round;
        request->is_rehearsal = control->is_rehearsal != 0;
        memcpy(request->source, control->path, sizeof request->source);
        request->release = control->release;
        kitsune__check_load_path(request->fd, request->load_path, sizeof request->load_path);
    }
    errno = saved;
    return request->fd >= 0;
}

/* ---- a round -------------------------------------------------------------------------------- */

int kitsune__request_put_off(const struct kitsune__request *request) {
    if (!request->round || control->forks_known == KITSUNE__ANY_FORKS ||
        control->forks == control->forks_known)
        return 0;
    control->puts_off = 1;
    control->state = KITSUNE__DONE;
    return 1;
}

/* Why this process does not wait any longer; NULL: it does. */
static const char *patience_end(uint64_t now, uint64_t deadline, uint64_t beat_ns) {
    if (now >= deadline)
        return "the time limit ran out while it waited for the other processes of its tree";
    if (now - beat_ns > SILENCE_NS)
        return "the helper process that updates the tree died or was stopped";
    return NULL;
}

uint32_t kitsune__request_hold(const struct kitsune__request *request, uint64_t limit_ns,
                               char *reason, size_t reason_size) {
    uint64_t all = ~0ull, now = kitsune__now_ns(), deadline = now + limit_ns, beat_ns = now;
    uint32_t open = request->round * KITSUNE__DECISIONS, beat = tree->beat;
    struct timespec look = {0, LOOK_NS};

    if (!request->round)
        return 0;
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, 0, sizeof all);
    control->state = KITSUNE__READY;
    for (;; now = kitsune__now_ns()) {
        const char *end = patience_end(now, deadline, beat_ns);
        uint32_t verdict = tree->verdict, expected = open;

        if (verdict == open + KITSUNE__COMMIT_ALL)
            return 0;
        if (verdict != open) {
            kitsune__format(reason, reason_size, "%s", tree->cause);
            return KITSUNE__TREE_UNDONE;
        }
        if (end &&
            atomic_compare_exchange_strong(&tree->verdict, &expected, open + KITSUNE__UNDO_ALL)) {
            control->gave_up = 1;
            kitsune__format(reason, reason_size, "%s", end);
            return KITSUNE__TREE_UNDONE;
        }
        if (tree->beat != beat) {
            beat = tree->beat;
            beat_ns = now;
        }
        KITSUNE__SYSCALL(SYS_futex, &tree->verdict, FUTEX_WAIT, open, &look);
    }
}

void kitsune__control_note(struct kitsune__control *to, const struct kitsune__outcome *outcome) {
    struct kitsune__past *past = &to->past[to->past_count % KITSUNE__HISTORY];
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    memset(past, 0, sizeof *past);
    past->serial = to->serial;
    past->at = now.tv_sec;
    past->committed = (uint32_t)outcome->committed;
    for (const char *at = outcome->code; *at; at++)
        if (*at >= '0' && *at <= '9')
            past->code = past->code * 10 + (uint32_t)(*at - '0');
    memcpy(past->from, to->running.version, sizeof past->from);
    memcpy(past->to, to->release.version, sizeof past->to);
    memcpy(past->reason, outcome->reason, sizeof past->reason - 1);
    past->pause_ns = outcome->pause_ns;
    past->objects = outcome->objects;
    to->past_count++;
}

struct kitsune__report *kitsune__request_report(void) {
    return &control->report;
}

/* The slot of the calling thread, or one that is free, or of a thread that has ended; NULL if all are taken. */
static struct kitsune__seen *claim_slot(int32_t tid) {
    for (unsigned i = 0; i < KITSUNE__SEEN; i++)
        if (control->seen[i].tid == tid)
            return &control->seen[i];
    for (unsigned i = 0; i < KITSUNE__SEEN; i++) {
        struct kitsune__seen *slot = &control->seen[i];
        int32_t held = slot->tid;

        if (held != 0 && KITSUNE__SYSCALL(SYS_tgkill, local_pid, held, 0) == 0)
            continue;
        if (atomic_compare_exchange_strong(&slot->tid, &held, tid))
            return slot;
    }
    return NULL;
}

void kitsune__request_note_point(const char *name) {
    struct kitsune__seen *slot;
    struct timespec now;

    if (is_filtered || !kitsune__request_is_owner()) /* the calls below might end the program */
        return;
    slot = claim_slot((int32_t)KITSUNE__SYSCALL(SYS_gettid));
    if (!slot)
        return;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    slot->at = now.tv_sec;
    kitsune__format(slot->point, sizeof slot->point, "%s", name);
}

void kitsune__request_image(uint32_t index, uint32_t count, const struct kitsune__mapped *image) {
    if (!control || !kitsune__request_is_owner())
        return;
    if (index < KITSUNE__IMAGES)
        control->images[index] = *image;
    control->image_count = count < KITSUNE__IMAGES ? count : KITSUNE__IMAGES;
}

static struct kitsune__held *held_at(uint64_t start) {
    for (uint32_t i = 0; control && kitsune__request_is_owner() && i < control->image_count; i++)
        if (control->images[i].start == start)
            return &control->images[i].held;
    return NULL;
}

void kitsune__request_image_called(uint64_t start) {
    struct kitsune__held *held = held_at(start);

    if (held)
        __atomic_add_fetch(&held->calls, 1, __ATOMIC_RELAXED);
}

void kitsune__request_image_runs(uint64_t start) {
    struct kitsune__held *held = held_at(start);

    if (held)
        held->code = KITSUNE__CODE_RUNS;
}

void kitsune__request_outcome(const struct kitsune__outcome *outcome,
                              const struct kitsune__running *running) {
    if (!kitsune__request_is_owner() ||
        (control->state != KITSUNE__TAKEN && control->state != KITSUNE__READY))
        return;
    control->outcome = *outcome;
    if (!control->is_rehearsal)
        kitsune__control_note(control, outcome);
    if (running) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        control->running = *running;
        control->running_since = now.tv_sec;
    }
    control->state = control->origin == KITSUNE__FROM_INSIDE ? KITSUNE__IDLE : KITSUNE__DONE;
    if (helper_is_gone())
        kitsune__request_raise(KITSUNE__PENDING_SERVICE);
}

/* ---- a rehearsal --------------------------------------------------------------------------- */

void kitsune__request_rehearses(void) {
    control->has_outcome = 0;
    control->copy = 0;
    control->copy_has_let_go = 0;
    control->clone_ns = control->stopped_ns = 0;
    control->state = KITSUNE__REHEARSING;
}

int kitsune__request_is_rehearsed(void) {
    return kitsune__request_is_owner() && control->state == KITSUNE__REHEARSING;
}

void kitsune__request_rehearsed_by(int32_t copy, uint64_t clone_ns, uint64_t stopped_ns) {
    if (copy < 0) {
        control->state = KITSUNE__TAKEN;
        return;
    }
    control->stopped_ns = stopped_ns;
    control->clone_ns = clone_ns;
}

int kitsune__request_enter_copy(struct kitsune__range *shared) {
    control->copy = is_renumbered ? kitsune__own_number() : (int32_t)KITSUNE__SYSCALL(SYS_getpid);
    is_left_out = 1;
    has_forked = 0;
    for (unsigned i = 0; i < gate_count; i++)
        map_gate(gates[i]);
    mmap(kitsune__control_gate, page_size, PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    *shared = (struct kitsune__range){(uintptr_t)tree, (uintptr_t)kitsune__tree_end(tree)};
    return control->state == KITSUNE__REHEARSING ? 0 : -1;
}

void kitsune__request_copy_lets_go(void) {
    control->copy_has_let_go = 1;
}

void kitsune__request_await_letting_go(int32_t copy) {
    kitsune__await_word(copy, &control->copy_has_let_go);
}

void kitsune__request_rehearsed(const struct kitsune__outcome *outcome) {
    control->outcome = *outcome;
    control->has_outcome = 1;
}

/* The copy may be faster than the program, which tells for how long it stood. */
void kitsune__request_rehearsal_ends(void) {
    const struct timespec nap = {0, 50000};

    while (control->stopped_ns == 0 && control->state == KITSUNE__REHEARSING &&
           KITSUNE__SYSCALL(SYS_getppid) == local_pid)
        KITSUNE__SYSCALL(SYS_nanosleep, &nap, 0);
    move_state(KITSUNE__REHEARSING, KITSUNE__DONE);
}

void kitsune__request_retired(uint64_t serial, const char *state) {
    for (unsigned i = 0; kitsune__request_is_owner() && i < KITSUNE__HISTORY; i++) {
        struct kitsune__past *past = &control->past[i];

        if (past->serial == serial && past->committed)
            kitsune__format(past->old_image, sizeof past->old_image, "%s", state);
    }
}

/* ---- requests from inside ------------------------------------------------------------------ */

static int refuse_inside(struct kitsune__outcome *outcome, enum kitsune__code code,
                         const char *reason) {
    memset(outcome, 0, sizeof *outcome);
    kitsune__format(outcome->code, sizeof outcome->code, "K%u", (unsigned)code);
    kitsune__format(outcome->reason, sizeof outcome->reason, "%s", reason);
    return -1;
}

int kitsune__request_inside(const char *path, uint64_t limit_ms, struct kitsune__outcome *outcome) {
    struct kitsune__problem problem = {KITSUNE__WITHDRAWN, "this version is running already"};
    int fd;

    if (!kitsune__request_is_owner())
        return refuse_inside(outcome, KITSUNE__HELPER_FAILED, "this process cannot be updated");
    if (is_filtered)
        return refuse_inside(outcome, KITSUNE__FILTERED,
                             "the program filters its system calls; see KITSUNE_SECCOMP");
    if (strlen(path) >= sizeof control->path)
        return refuse_inside(outcome, KITSUNE__NO_FILE, "the release's path is too long");
    if (!move_state(KITSUNE__IDLE, KITSUNE__CHECKING))
        return refuse_inside(outcome, KITSUNE__BUSY, "another update is under way");
    control->serial++;
    control->origin = KITSUNE__FROM_INSIDE;
    control->round = 0;
    memset(&control->report, 0, sizeof control->report);
    control->limits = (struct kitsune__limits){.total_ms = limit_ms};
    control->wait_ms = KITSUNE__DEFAULT_WAIT_MS;
    control->is_rehearsal = 0;
    memcpy(control->path, path, strlen(path) + 1);
    memset(&control->release, 0, sizeof control->release);
    if (kitsune__check_release(path, geteuid(), &control->running, &control->release, &fd,
                               &problem) != KITSUNE__RELEASE_ACCEPTED) {
        refuse_inside(outcome, problem.code, problem.text);
        kitsune__control_note(control, outcome);
        control->state = KITSUNE__IDLE;
        return -1;
    }
    close(fd); /* copied again when it is taken: the program may close what it does not know */
    control->state = KITSUNE__PENDING;
    kitsune__request_raise(KITSUNE__PENDING_UPDATE);
    return 0;
}

int kitsune__request_withdraw(void) {
    if (!kitsune__request_is_owner() || !move_state(KITSUNE__PENDING, KITSUNE__IDLE))
        return 0;
    kitsune__request_lower(KITSUNE__PENDING_UPDATE | KITSUNE__PENDING_INTERRUPT);
    return 1;
}
