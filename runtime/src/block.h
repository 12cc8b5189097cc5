/*
 * Blocking calls that a request ends in a way that their callers must know anyway:
 *
 *  - with EINTR, as by a signal whose handler is not SA_RESTART: read, readv, recv, recvfrom, recvmsg,
 *    accept, accept4, sendfile, sem_wait and its kin, sigwait and its kin, pause, futex(2) through syscall();
 *    with what is left of the time: sleep, usleep, nanosleep, clock_nanosleep, thrd_sleep;
 *  - as by a stray wake-up, which POSIX allows: pthread_cond_wait and its kin, cnd_wait, cnd_timedwait.
 *
 * Invariants:
 *  - In other threads than the main one the gathering (gather.h) ends them. In the main thread the
 *    request ends sleeps and waits for a condition at once, but those that can only be ended by EINTR
 *    not before it has waited for a while (KITSUNE__PENDING_INTERRUPT): most such calls end by themselves.
 *  - EINTR is for programs that know it (kitsune__block_interrupts).
 *  - Nothing that was there is lost: a call that had a result reports it.
 *  - While the request still waits, later calls block for some milliseconds at most, and succeed if they
 *    can.
 *
 * Context: any thread, not from signal handlers.
 */
#ifndef KITSUNE_BLOCK_H
#define KITSUNE_BLOCK_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Returned by kitsune__wait_call instead of a result; no system call returns it. */
#define KITSUNE__WOKEN (-4096l)
/* How long calls block that come while a request still waits. */
#define KITSUNE__PATIENCE_NS 5000000u

/* The system call, unless one of `bits` is set in the gate (platform_wait_*.S). */
extern long kitsune__wait_call(const uint32_t *gate, uint32_t bits, long number,
                               const long arguments[6]);
/* The same, unless threads may be cancelled. */
extern long kitsune__wait_uncancelled(const uint32_t *gate, uint32_t bits, long number,
                                      const long arguments[6]);
/* The same as a cancellation point, noted as `name`. */
long kitsune__wait_enter(const char *name, const uint32_t *gate, uint32_t bits, long number,
                         const long arguments[6]);
/* Never set: for calls that are not to be ended by the gate, but still by a kick. */
extern const uint32_t kitsune__no_gate;
/* Non-zero if this thread's call was ended for the present request before; from now on it was. */
int kitsune__wait_has_ended(void);

/* Non-zero if calls that can only be ended by EINTR are ended. */
int kitsune__block_interrupts(void);

/* In the kick's handler: ends a wait inside libc (for a condition, a semaphore). */
void kitsune__block_interrupt(void *context);

/* What the assembly of read, recv and recvmsg jumps to if it is no plain call (platform_wait_*.S). */
ssize_t kitsune__read_slowly(int descriptor, void *buffer, size_t size);
ssize_t kitsune__recv_slowly(int descriptor, void *buffer, size_t size, int flags);
ssize_t kitsune__recvmsg_slowly(int descriptor, struct msghdr *message, int flags);

#endif
