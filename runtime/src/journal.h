/*
 * The transaction: everything from the moment the old version leaves its update point until the
 * commit can be undone by one path, kitsune__journal_abort*, from any place: an error, a crash, a
 * timer, inside malloc.
 *
 * Invariants:
 *  - The snapshot is a clone of the process (fork-like, no exit signal, own copy of the descriptor
 *    table) that sleeps. It keeps memory, mappings, descriptors, working directory, umask and limits
 *    of the process as they were; after an abort the process is made equal to it. Name, processors
 *    and scheduling are each thread's own, which it puts back itself (park.h).
 *  - What must survive an abort lives in one shared mapping (struct journal in journal.c), which is
 *    no part of the snapshot's memory. The abort itself runs there, with all signals blocked, and
 *    uses neither an allocator nor a lock of libc, nor any memory that it restores.
 *  - Between begin and commit all signals are blocked but the synchronous faults, SIGABRT and the
 *    limit's timer; the program's own mask and dispositions are emulated (wrap_signal.c).
 *    Signals that arrive stay pending in the kernel, so none is lost.
 *  - The old version's stack is suspended; all code of the transaction runs on new ones.
 *  - Of several threads one runs at a time, all others are parked (park.h): first the one that began,
 *    then each of the others is lent the transaction until it hands it back. Whichever fails, the
 *    rollback is the same.
 */
#ifndef KITSUNE_JOURNAL_H
#define KITSUNE_JOURNAL_H

#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/types.h>

#include "outcome.h"
#include "park.h"
#include "switch.h"
#include "time_limits.h"

/* What the new version does, for messages. */
enum kitsune__phase {
    KITSUNE__PHASE_NONE = 0,
    KITSUNE__PHASE_LOAD,       /* dlopen: constructors */
    KITSUNE__PHASE_PRESTART,   /* _kitsune_prestart_xform */
    KITSUNE__PHASE_MAIN,       /* the new main */
    KITSUNE__PHASE_THREAD,     /* another thread of the new version */
    KITSUNE__PHASE_TRANSFORM,  /* the engine and the rules that it calls */
    KITSUNE__PHASE_MAINUPDATE, /* _kitsune_mainupdate_xform */
    KITSUNE__PHASE_COMMIT
};

/* NULL: no transaction, in this process or in one that made it. Only journal.c reads what it
 * is; wrappers of calls that a server makes all the time look whether it is. */
extern struct journal *kitsune__journal;
/* Non-zero if this process is in the transaction that there is, not only its parent. */
int kitsune__journal_is_own(void);

/* Non-zero between begin and commit or abort, in this process: not in its children, of whichever kind. */
static inline int kitsune__journal_active(void) {
    return kitsune__journal != NULL && kitsune__journal_is_own();
}
/* Non-zero in a child of a process that was in a transaction then, until it drops that. */
int kitsune__journal_is_inherited(void);

/*
 * Runs `body(argument)` as a transaction on a fresh stack. Returns only by an abort, in the old
 * context, with everything restored and `verdict` filled (code, reason, notes, times); or if the
 * transaction could not be begun. If `body` commits, this call never returns. Of `limits` the whole's
 * is not 0.
 */
void kitsune__journal_run(void (*body)(void *), void *argument, struct kitsune__berth *places,
                          const struct kitsune__limits *limits, struct kitsune__verdict *verdict);

/*
 * The same in a copy of the process that rehearses: without a snapshot, and nothing is undone or committed.
 * `end` is called where the transaction would end, by whatever way, with all signals blocked, on a stack
 * of its own; it must not return. Nor does this, unless the transaction could not be begun.
 */
void kitsune__journal_rehearse(void (*body)(void *), void *argument, struct kitsune__berth *places,
                               const struct kitsune__limits *limits,
                               void (*end)(struct kitsune__verdict *verdict),
                               struct kitsune__verdict *verdict);
/* Non-zero inside a rehearsal. */
int kitsune__journal_rehearses(void);
/* In place of the commit. */
void kitsune__journal_end_rehearsal(uint64_t objects, uint64_t bytes) __attribute__((noreturn));

/* ---- several threads; `places` above are those of all parked ones ---- */

/* Has a parked thread run `entry(argument)` on the stack of its place, inside the transaction, and
 * returns when it has handed back. */
void kitsune__journal_lend(struct kitsune__berth *place, void (*entry)(void *), void *argument);
/* In that thread: first thing on the new stack. */
void kitsune__journal_enter(void);
/* In that thread: hands back and parks. Returns after the commit, by GO_ON, with all signals blocked
 * and the transaction's alternate stack. */
void kitsune__journal_hand_back(void);
/* Notes a parked thread that the transaction made: a rollback ends it. -1 if there are too many. */
int kitsune__journal_made(struct kitsune__berth *place);
#define KITSUNE__MADE_MAX 64
/* The place of the thread that runs; NULL: the one that began. */
struct kitsune__berth *kitsune__journal_running(void);

/* Undoes everything and resumes the old version. Any context inside a transaction, signal handlers
 * included. The text is formatted without libc: %s %d %u %lu %ld %x %lx %p %c %%. */
void kitsune__journal_abort(uint32_t code, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
void kitsune__journal_abortv(uint32_t code, const char *format, va_list arguments)
    __attribute__((noreturn));

/*
 * The commit: one store, after which the old context can no longer be resumed; then the kernel's
 * signal state becomes what `apply` (called next, still with all signals blocked) makes of it. The
 * clone is killed, and reaped later (kitsune__journal_reap). `verdict` gets the times. The caller goes
 * on on the new stack, which it owns from now on; signals are still blocked: the caller sets the mask.
 */
void kitsune__journal_commit(void (*apply)(void), struct kitsune__verdict *verdict,
                             struct kitsune__stack *stack);

/* Sets the phase and returns the one before. `what` is named in messages if not NULL and must stay
 * valid (a hook's or variable's name). */
enum kitsune__phase kitsune__journal_phase(enum kitsune__phase phase, const char *what);
enum kitsune__phase kitsune__journal_current_phase(void);

/* Where the new version's code lies: a crash in a library is then told by the function that called
 * it. */
void kitsune__journal_set_code(const void *start, const void *end);

/* Notes something that a rollback cannot undo ("started process 123"); told with the outcome. */
void kitsune__journal_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reaps a dead snapshot clone without waiting. Returns non-zero if none is left. */
int kitsune__journal_reap(void);
/* The same, and waits for it: before the process ends. */
void kitsune__journal_reap_last(void);

/* In a child process after fork: forgets the transaction, whose state is the parent's. Returns
 * non-zero if there was one. Async-signal-safe. */
int kitsune__journal_drop_in_child(void);

/* Before the new version changes a timer of the process: a rollback puts the timers back. */
void kitsune__journal_save_timers(void);
/* A kernel timer (timer_create) that a rollback must delete; and that the new version has deleted itself. */
void kitsune__journal_note_timer(int kernel_timer);
void kitsune__journal_forget_timer(int kernel_timer);
/* Non-zero if the transaction made it. */
int kitsune__journal_made_timer(int kernel_timer);
/* Before the new version sets a kernel timer: if it is the old one's, a rollback sets it back. */
void kitsune__journal_save_timer(int kernel_timer);

/* Before the new version changes what the kernel keeps for an open file, which it shares with the
 * snapshot: status flags of a descriptor, what an epoll watches, a timerfd's setting. A rollback puts it
 * back. */
void kitsune__journal_save_flags(int descriptor);
void kitsune__journal_save_watches(int epoll);
void kitsune__journal_save_timerfd(int timer);

/* What the kernel has while the transaction replaces it: the old version's dispositions of the
 * signals that report faults, its mask, its alternate stack. Non-zero if `number` is replaced. */
int kitsune__journal_kept_action(int number, struct sigaction *action);
void kitsune__journal_kept_mask(sigset_t *mask);
void kitsune__journal_kept_altstack(stack_t *stack);
/* The suspended stack pointer of the old version, and the stack that the new one runs on. */
void *kitsune__journal_old_stack_pointer(void);
const struct kitsune__stack *kitsune__journal_stack(void);

/* Non-zero: snapshots are off (KITSUNE_SNAPSHOT=off, or under valgrind). */
int kitsune__journal_snapshot_off(void);

#endif
