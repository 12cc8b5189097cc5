/*
 * Gathering: when the main thread has taken a request at its update point, all other threads are brought
 * to theirs and park there.
 *
 * Invariants:
 *  - Only the main thread gathers. Until it does, the other threads run as if there were no request.
 *  - A thread that is in a wrapped call (thread.h) is kicked until it is out of it, ever less
 *    often; one that runs the program's code is left alone. No wake-up is lost for good.
 *  - If a thread does not arrive in time, all are let go, and the reason names it.
 */
#ifndef KITSUNE_GATHER_H
#define KITSUNE_GATHER_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "kitsune_abi.h"
#include "park.h"

/* Returns 0 when all other threads are parked: `places` is the list of their places. Else a code of
 * outcome.h with a reason; then nobody is parked. */
uint32_t kitsune__gather(uint64_t limit_ns, struct kitsune__berth **places, char *reason,
                         size_t reason_size);
/* All parked threads go on in the old version. */
void kitsune__gather_undo(void);
/* What parked threads count up; not private memory. */
uint32_t *kitsune__gather_arrivals(void);

/* In another thread than the main one, at an update point while one gathers: parks. Returns if the update
 * was given up. */
void kitsune__gather_park(const char *name);

/* In the handler of SIGURG: non-zero if it is a kick of this process, which then was dealt with. */
int kitsune__gather_is_kick(const void *info, void *context);

/* A thread was cancelled: if it is in a wrapped call, it is to see that (wait.h). */
void kitsune__gather_kick_cancelled(pthread_t thread);
/* All threads that are in a wrapped call are kicked, once. */
void kitsune__gather_kick_all(void);

/* Another thread asked for an update: the main one is to come to its update point. */
void kitsune__gather_kick_main(void);

/* In a child process after fork. */
void kitsune__gather_drop_in_child(void);

#endif
