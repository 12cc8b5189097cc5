/*
 * Blocking calls that a request ends: select, pselect, poll, ppoll, epoll_wait, epoll_pwait.
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

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

int kitsune__wait_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
                         struct timeval *timeout);
int kitsune__wait_pselect(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
                          const struct timespec *timeout, const sigset_t *mask);
int kitsune__wait_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int kitsune__wait_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                        const sigset_t *mask);
int kitsune__wait_epoll_wait(int epoll, struct epoll_event *events, int capacity, int timeout_ms);
int kitsune__wait_epoll_pwait(int epoll, struct epoll_event *events, int capacity, int timeout_ms,
                              const sigset_t *mask);

/* The variants of _FORTIFY_SOURCE; `size` is that of `fds` in bytes. */
int kitsune__wait_poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size);
int kitsune__wait_ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                            const sigset_t *mask, size_t size);

/* Work that is done while KITSUNE__PENDING_RETIRE is set and nothing is ready, before a call blocks:
 * one short slice; non-zero if more is left (the callee lowers the bit when none is). NULL: none. */
void kitsune__wait_set_idle_work(int (*slice)(void));

#endif
