/*
 * What a thread that does not arrive is doing, for the answer to the operator.
 *
 * Context: the main thread while it gathers.
 */
#ifndef KITSUNE_STUCK_H
#define KITSUNE_STUCK_H

#include <stddef.h>
#include <sys/types.h>

#include "thread.h"

/* "thread 123 'name' …". Returns the length. `thread` is NULL for one that is not tracked. */
size_t kitsune__stuck_describe(pid_t tid, const struct kitsune__thread *thread, char *text,
                               size_t size);
/* Non-zero if it runs, or is ready to: it waits in no system call. */
int kitsune__stuck_is_running(pid_t tid);
/* The name of a thread; size at least 17. */
void kitsune__stuck_name(pid_t tid, char *name, size_t size);

#endif
