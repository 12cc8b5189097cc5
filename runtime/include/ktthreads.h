/*
 * The updating language's part for programs with threads. Threads that the program creates are tracked
 * with no change in its source; docs/threads.md says how they are brought to their update points and
 * how they go on in the new version.
 */
#ifndef KTTHREADS_H
#define KTTHREADS_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "kitsune.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- waiting --------------------------------------------------------------------------------- */

/* As those of pthread.h (which do the same): return early, with 0, when an update is requested. */
static __inline int ktthreads_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    return pthread_cond_wait(condition, mutex);
}
static __inline int ktthreads_pthread_cond_timedwait(pthread_cond_t *condition,
                                                     pthread_mutex_t *mutex,
                                                     const struct timespec *until) {
    return pthread_cond_timedwait(condition, mutex, until);
}
/* Sleeps; returns early when an update is requested. */
static __inline void ktthreads_ms_sleep(int ms) {
    (void)poll(0, 0, ms);
}
/* As pthread_join, but returns EINTR when an update is requested: then the thread is not joined yet.
 * (pthread_join itself is never ended.) */
int ktthreads_pthread_join(pthread_t thread, void **result) KITSUNE__HIDDEN;
/* `cb` is called, by another thread, when this thread is to come to its update point: it wakes it. */
void ktthreads_update_callback(void (*cb)(void *), void *arg) KITSUNE__HIDDEN;

/* ---- in hooks: which threads go on in the new version ---------------------------------------- */

#ifndef KITSUNE__THREAD_INFO
#define KITSUNE__THREAD_INFO
/* How a thread goes on. All but `attr` may be changed. */
typedef struct ktthread_info {
    void *arg;                  /* of its start function */
    void *(*start_fun)(void *); /* in the new version; the old one where there is none */
    const char *update_pt;      /* where it stands, by the name in the new version */
    pthread_attr_t *attr;       /* that it was created with; NULL: none */
} ktthread_info;
#endif

/* Begins with the first thread again. */
void kitsune_threads_reset(void) KITSUNE__HIDDEN;
/* The next one, in the order of creation; NULL: there is none. The main thread is not among them. */
ktthread_info *kitsune_threads_next(void) KITSUNE__HIDDEN;
/* The one last given ends at the update: its start function never returns, pthread_join gives NULL. */
void kitsune_thread_remove(void) KITSUNE__HIDDEN;
/* One more. It runs from its start function as in an update from `update_pt`, and waits there for the
 * commit; without an update point it begins after the commit. Returns 0. */
int kitsune_thread_add(void *arg, void *(*start_fun)(void *), const char *update_pt,
                       pthread_attr_t *attr) KITSUNE__HIDDEN;

#ifdef __cplusplus
}
#endif

#endif
