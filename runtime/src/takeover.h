/*
 * The other threads' way into the new version: when the main thread has reached its update point, each
 * of them, one after the other, runs its start function in the new version, on a fresh stack of the
 * same kernel thread, up to the update point of the same name as the one where it stood.
 *
 * Invariants:
 *  - One thread runs at a time (journal.h); the threads go in the order in which they were created.
 *  - Their thread-locals are migrated before their start function runs.
 *  - What a hook changed in the set of threads is ordinary memory: a rollback restores it.
 *  - After the commit nothing can fail: stacks, addresses and threads were found before it.
 */
#ifndef KITSUNE_TAKEOVER_H
#define KITSUNE_TAKEOVER_H

#include "kitsune_abi.h"
#include "transform.h"

struct kitsune__takeover {
    const struct kitsune_release *old, *new;
    const struct kitsune__registry *from, *to; /* theirs, of the main thread */
    struct kitsune_xf *xf;
    const void *(*successor)(const void *function);
    /* What the point of this name in the old version is called in the new one. */
    const char *(*point)(const struct kitsune_plan *plan, const char *name);
};

/* In the main thread at its update point, before the hook _kitsune_mainupdate_xform: says how each thread
 * is to go on. `what` must stay valid. */
void kitsune__takeover_prepare(const struct kitsune__takeover *what);
/* After the hook: has all threads reach their points. */
void kitsune__takeover_run(void);
/* In one of them, at the update point `name`: if it is its point, hands over; returns after the commit,
 * with the program's signals. */
void kitsune__takeover_at_point(const char *name);
/* The point that the calling thread goes to: in the new version, in the old one. */
const char *kitsune__takeover_point(int in_old_version);
/* Of `takeover` in the main thread: after the commit, with signals blocked. Old stacks are given up. */
void kitsune__takeover_clear(void);
/* After that, and after the memory was looked at that must not change: all go on. */
void kitsune__takeover_release(void);

/* Whether a stack of the old version that ends with it holds the address; and a range around all. */
int kitsune__takeover_is_dying(const void *address);
struct kitsune__range kitsune__takeover_dying(void);

/* Entries of struct kitsune_launcher; in hooks. */
void kitsune__threads_reset(void);
struct ktthread_info *kitsune__threads_next(void);
void kitsune__thread_remove(void);
int kitsune__thread_add(const struct ktthread_info *info);

#endif
