/*
 * What a thread that does not arrive is doing, for the answer to the operator.
 *
 * The functions of the program that a thread is in are found without any debug information: words on
 * its stack that are return addresses. One of them may be left over from an earlier call.
 *
 * Nothing here takes a lock or memory of libc.
 */
#ifndef KITSUNE_STUCK_H
#define KITSUNE_STUCK_H

#include <stddef.h>
#include <sys/types.h>

#include "thread.h"
#include "trace.h"

/* Looks at a thread of this process that waits, or was sampled; in the main thread while it gathers.
 * `thread` is NULL for one that is not tracked. */
void kitsune__stuck_look(struct kitsune__stuck *stuck, pid_t tid,
                         const struct kitsune__thread *thread);
/* The same for the calling thread, from the handler of a signal that interrupted it. */
void kitsune__stuck_look_inside(struct kitsune__stuck *stuck, const void *ucontext);
/* "it waits for …, in take_job+0x1c < serve+0x40": what was seen, as part of a sentence. */
size_t kitsune__stuck_text(const struct kitsune__stuck *stuck, char *text, size_t size);

/* Notes in the thread where it was interrupted; in a signal handler of it. */
void kitsune__stuck_sample(struct kitsune__thread *thread, const void *ucontext);
/* Non-zero if it runs, or is ready to: it waits in no system call. */
int kitsune__stuck_is_running(pid_t tid);
/* The name of a thread; size at least 17. */
void kitsune__stuck_name(pid_t tid, char *name, size_t size);

#endif
