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

/* The calls are entries of calls.h: kitsune__call_select and so on. */

/* Work that is done while KITSUNE__PENDING_RETIRE is set and nothing is ready, before a call blocks:
 * one short slice; non-zero if more is left (the callee lowers the bit when none is). NULL: none. */
void kitsune__wait_set_idle_work(int (*slice)(void));

#endif
