/*
 * Blocking calls that a request ends as if their time were over: select, pselect, poll, ppoll,
 * epoll_wait, epoll_pwait. In the main thread the request itself ends them, in other threads the
 * gathering of all threads (gather.h). The other calls: block.h.
 *
 * Invariants:
 *  - A request that is made before, at or after the system call's instruction ends the call: the test
 *    of the gate and the system call are one block of assembly (platform_wait_*.S), and the handler of
 *    the kick moves an instruction pointer that stands inside the block to its way out.
 *  - The call that was ended looks like a time-out: 0 is returned, fd sets are empty, `revents` are 0,
 *    what the kernel wrote of the remaining time is left. A call that had something to report, or
 *    that a signal of the program ended (EINTR), reports that.
 *  - A request ends one call at once; while it still waits, later calls block for some milliseconds
 *    at most, so that a program that needs several rounds to its update point does not spin.
 *  - Without a request each call makes the same one system call as libc's.
 *
 * Context: any thread, not from signal handlers.
 */
#ifndef KITSUNE_WAIT_H
#define KITSUNE_WAIT_H

#include <stdint.h>

/* The calls are entries of calls.h: kitsune__call_select and so on. */

/*
 * Cancellation. libc takes a thread to be cancellable at once while it is in a blocking call, which costs
 * more than the call itself. As nobody can cancel but by pthread_cancel, which the launcher defines for
 * all (thread.c), that is put off until it is called first:
 *
 *  - kitsune__wait_expect_cancels: from then on each call tells libc; the gate of the quick ones is closed.
 *  - A thread that was in a call by then gets a kick, which sends it the same way (the tests of the gate
 *    and of kitsune__wait_cancels are in the block of assembly), or, if it is in a signal handler that
 *    interrupted the call, is acted on there (kitsune__in_call says so).
 */
extern uint32_t kitsune__wait_cancels;
/* The calling thread is in such a call, a quick one of this number; 255: another, 0: none. Written by the
 * assembly; the gathering reads that of others. */
extern _Thread_local volatile uint8_t kitsune__in_call;
/* The name of a quick call; NULL: none has this number. */
const char *kitsune__quick_name(uint8_t number);
/* Any context but a signal handler's. For ever. */
void kitsune__wait_expect_cancels(void);
/* In the handler of SIGURG, whoever sent it: the thread may have been cancelled. May not return. */
void kitsune__wait_cancel(void *context);
/* What quick calls wait on, once SIGURG has its handler. */
void kitsune__wait_open(const uint32_t *gate);

/* Work that is done while KITSUNE__PENDING_RETIRE is set and nothing is ready, before a call blocks:
 * one short slice; non-zero if more is left (the callee lowers the bit when none is). NULL: none. */
void kitsune__wait_set_idle_work(int (*slice)(void));

#endif
