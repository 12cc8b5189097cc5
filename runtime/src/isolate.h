/*
 * A copy of the process is cut off from what it shares with the program: mappings, open files, and, by
 * withhold.h, the rest of the world.
 *
 * Invariants:
 *  - Only in the copy, on its only thread. The program notices nothing of it.
 *  - Every shared mapping becomes a private copy of its contents, but for one range and for devices.
 *  - Files and directories are opened anew, so that no offset is shared; epolls, eventfds, timerfds and
 *    signalfds are replaced by ones that are alike, sockets and pipes by idle ones that stand in for them;
 *    calls on them, and on all other descriptors, are withheld.
 */
#ifndef KITSUNE_ISOLATE_H
#define KITSUNE_ISOLATE_H

#include <stddef.h>
#include <sys/types.h>

#include "control.h"

/* `kept` stays shared. `parent` is the parent of `program`, of which this is a copy. `let_go` is called
 * when the copy holds open nothing any more that the program may close. Returns 0, or -1 with the reason. */
int kitsune__isolate(const struct kitsune__range *kept, pid_t program, pid_t parent,
                     void (*let_go)(void), char *reason, size_t size);

#endif
