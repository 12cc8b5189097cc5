/*
 * The program's threads: those that its own code creates (pthread_create and thrd_create are wrapped)
 * are tracked, from before they start until their thread-specific destructors run.
 *
 * Invariants:
 *  - The list is guarded by its lock, which no parked thread holds. It is ordinary memory of the
 *    launcher: a rollback restores it.
 *  - A thread's start function runs above a frame of the launcher at the base of the thread's own
 *    stack (`base`), on whichever stack the version has: when it returns, the frame returns to libc.
 *  - `place` is not NULL from when the thread parks until it is given a command that ends that, and
 *    set to NULL by whoever gives that command: a thread that was let go counts as not parked.
 */
#ifndef KITSUNE_THREAD_H
#define KITSUNE_THREAD_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "kitsune_abi.h"
#include "park.h"
#include "trace.h"

#define KITSUNE__POINT_SIZE 128

/* Of a look at a thread: KITSUNE__SAMPLE_WANTED is its answer to the next kick. */
enum { KITSUNE__NOT_SAMPLED = 0, KITSUNE__SAMPLE_WANTED, KITSUNE__SAMPLED };

struct kitsune__thread {
    struct kitsune__thread *next;
    pid_t tid; /* 0 until it runs */
    pthread_t id;
    int is_c11; /* its start function returns an int */
    const void *start;
    void *argument;
    pthread_attr_t attributes; /* as it was created with; for hooks to see */
    int has_attributes;
    /* What libc waits for at the base of its own stack, and that stack: used is what lies below `top`. */
    struct kitsune__context base;
    void *cleanup, *result;
    uint8_t *low, *top;
    struct kitsune__stack stack; /* of the running version; empty: its own */
    struct kitsune__berth *place;
    struct kitsune__berth *left; /* of a thread that was let go by a commit: still to be unmapped */
    char point[KITSUNE__POINT_SIZE]; /* where it stands or last stood; "" if not known */
    /* The wrapped call that it is in (a constant; NULL: none), and the descriptor or address. */
    const char *volatile call;
    volatile long detail;
    const volatile uint8_t *in_call; /* its kitsune__in_call; set before `tid` */
    /* Where a look at it found it, running. */
    volatile uint32_t sampled; /* KITSUNE__NOT_SAMPLED … */
    uint32_t sample_count;
    const void *sample[KITSUNE__FRAMES];
    void (*callback)(void *);
    void *callback_argument;
    /* In a transaction: how it goes on in the new version. */
    struct ktthread_info info;
    int is_removed, is_made;
    void *thread_locals; /* of the old image */
    size_t thread_locals_size;
};

/* The calling thread; NULL: not tracked. The main thread is tracked, but not in the list. */
extern _Thread_local struct kitsune__thread *kitsune__self;

extern struct kitsune__thread *kitsune__main_thread;

static inline int kitsune__is_main(void) {
    return kitsune__self == kitsune__main_thread;
}

/* The calling thread is in a wrapped call from here on (NULL: no longer). Quick calls say so by
 * kitsune__in_call. */
static inline void kitsune__note_call(const char *call, long detail) {
    if (kitsune__self == NULL)
        return;
    kitsune__self->detail = detail;
    kitsune__self->call = call;
}

/* Another thread, which has begun to run. */
static inline int kitsune__thread_is_in_call(const struct kitsune__thread *thread) {
    return thread->call != NULL || *thread->in_call != 0;
}

/* Once, in the main thread, before the first release is loaded. */
void kitsune__threads_start(void);

/* The list, newest first. Lock it where other threads may run. */
void kitsune__threads_lock(void);
void kitsune__threads_unlock(void);
struct kitsune__thread *kitsune__threads(void);
/* Whether it is ThreadSanitizer's own, which needs no update point. */
int kitsune__thread_is_sanitizers(pid_t tid);
/* The tracked thread of this id; NULL: none. */
struct kitsune__thread *kitsune__thread_of(pid_t tid);

/* In a child process after fork: the calling thread is its only one, and the main one. Returns the
 * stack that it runs on (empty: its own). */
struct kitsune__stack kitsune__threads_drop_in_child(void);

/* Calls the start function `start` of the thread on the present stack, and ends the thread with what it
 * returns. */
void kitsune__thread_run(struct kitsune__thread *thread, const void *start, void *argument)
    __attribute__((noreturn));
/* In a thread that was let go without having run in the transaction: gives its place up and takes back
 * the signals that it had. */
void kitsune__thread_leave_place(struct kitsune__thread *thread);
/* Creates a thread that parks before it calls anything. NULL, or the thread, which has a place then. */
struct kitsune__thread *kitsune__thread_make(const struct ktthread_info *info, uint32_t *arrivals);

/* libc's pointer to the innermost handler of pthread_cleanup_push of the calling thread. */
void *kitsune__cleanup_get(void);
void kitsune__cleanup_set(void *innermost);

/* Entries of struct kitsune_launcher. */
void kitsune__thread_callback(void (*callback)(void *), void *argument);

#endif
