#define _GNU_SOURCE
#include "block.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"
#include "control.h"
#include "gather.h"
#include "journal.h"
#include "machine.h"
#include "platform.h"
#include "thread.h"
#include "wait.h"
#include "wrap_clone.h"
#include "wrap_signal.h"

#define NS_PER_S 1000000000ull
#define KERNEL_SIGSET_SIZE 8
#define FUTEX_OPERATION 0x7f
#ifdef SYS_pause
#define PAUSE SYS_pause
#else
#define PAUSE SYS_ppoll /* of no descriptor, without a limit */
#endif

/* ---- what ends them ------------------------------------------------------------------------- */

/*
 * Calls that can only be ended by EINTR are left alone in a program that never saw it, having no handler
 * that could end them: it may take it for an error. KITSUNE_INTERRUPT=always or never says otherwise.
 */
static int may_interrupt(void) {
    static int wish = -1;
    if (wish < 0) {
        const char *text = getenv("KITSUNE_INTERRUPT");
        wish = text == NULL                  ? 2
               : strcmp(text, "never") == 0  ? 0
               : strcmp(text, "always") == 0 ? 1
                                             : 2;
    }
    return wish == 2 ? kitsune__signals_may_interrupt() : wish;
}

int kitsune__block_interrupts(void) {
    return may_interrupt();
}

/* Bits of the gate that end a call of the calling thread. */
static uint32_t bits_for(uint32_t of_main) {
    if (kitsune__is_main())
        return of_main;
    return kitsune__self != NULL ? KITSUNE__PENDING_GATHER : 0;
}

static uint32_t interrupting(void) {
    return may_interrupt() ? bits_for(KITSUNE__PENDING_INTERRUPT) : 0;
}

static uint32_t waking(void) {
    return bits_for(KITSUNE__PENDING_UPDATE);
}

static int failed(long result) {
    errno = (int)-result;
    return -1;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

/* Whether a call returns at once, whatever there is. The kernel never ends it, so no caller knows EINTR. */
static int never_blocks(long number, const long arguments[6]) {
    long flags = KITSUNE__SYSCALL(SYS_fcntl, arguments[0], F_GETFL);
    int is_told = (number == SYS_recvfrom && (arguments[3] & MSG_DONTWAIT)) ||
                  (number == SYS_recvmsg && (arguments[2] & MSG_DONTWAIT));
    return is_told || (flags >= 0 && (flags & O_NONBLOCK));
}

/* As ppoll of one descriptor, which is refused (EINVAL) where none may be opened: RLIMIT_NOFILE is 0. */
static long select_one(const char *name, uint32_t bits, const struct pollfd *place,
                       struct timespec *limit) {
    fd_set wanted;
    if (place->fd < 0 || place->fd >= FD_SETSIZE)
        return -EINVAL;
    FD_ZERO(&wanted);
    FD_SET(place->fd, &wanted);
    long set = (long)&wanted, in = place->events == POLLIN ? set : 0;
    const long look[6] = {place->fd + 1, in, in ? 0 : set, 0, (long)limit, 0};
    return kitsune__wait_enter(name, &kitsune__no_gate, bits, SYS_pselect6, look);
}

/* Something may be there for the call, or room: looks for that long, and tries if so. */
static long try_for(long patience_ns, const char *name, uint32_t bits, long number,
                    const long arguments[6]) {
    short wanted = number == SYS_sendfile ? POLLOUT : POLLIN;
    struct pollfd place = {.fd = (int)arguments[0], .events = wanted};
    struct timespec limit = {0, patience_ns};
    const long look[6] = {(long)&place, 1, (long)&limit, 0, KERNEL_SIGSET_SIZE, 0};
    long ready = kitsune__wait_enter(name, &kitsune__no_gate, bits, SYS_ppoll, look);
    if (ready == -EINVAL)
        ready = select_one(name, bits, &place, &limit);
    if (ready == 1)
        ready = kitsune__wait_enter(name, &kitsune__no_gate, bits, number, arguments);
    else
        ready = -EINTR;
    return ready == KITSUNE__WOKEN ? -EINTR : ready;
}

static long enter(const char *name, long number, const long arguments[6]) {
    uint32_t bits = interrupting();
    for (;;) {
        long result =
            kitsune__wait_enter(name, &kitsune__control_gate->pending, bits, number, arguments);
        if (__builtin_expect(result != KITSUNE__WOKEN, 1))
            return result;
        if (!(kitsune__request_pending() & bits))
            continue; /* a kick that was not meant for it */
        if (never_blocks(number, arguments))
            return KITSUNE__SYSCALL(number, arguments[0], arguments[1], arguments[2], arguments[3],
                                    arguments[4], arguments[5]);
        /* One that comes again gets some time, so that its caller does not spin. */
        long patience_ns = kitsune__wait_has_ended() ? KITSUNE__PATIENCE_NS : 0;
        return try_for(patience_ns, name, bits, number, arguments);
    }
}

static long descriptor_call(const char *name, long number, const long arguments[6]) {
    long result = enter(name, number, arguments);
    return result < 0 ? failed(result) : result;
}

ssize_t kitsune__read_slowly(int descriptor, void *buffer, size_t size) {
    return descriptor_call("read", SYS_read, (long[6]){descriptor, (long)buffer, (long)size});
}

ssize_t kitsune__call_readv(int descriptor, const struct iovec *parts, int count) {
    return descriptor_call("readv", SYS_readv, (long[6]){descriptor, (long)parts, count});
}

ssize_t kitsune__call_recvfrom(int descriptor, void *buffer, size_t size, int flags, void *address,
                               socklen_t *length) {
    return descriptor_call(
        "recv", SYS_recvfrom,
        (long[6]){descriptor, (long)buffer, (long)size, flags, (long)address, (long)length});
}

ssize_t kitsune__recv_slowly(int descriptor, void *buffer, size_t size, int flags) {
    return kitsune__call_recvfrom(descriptor, buffer, size, flags, NULL, NULL);
}

ssize_t kitsune__recvmsg_slowly(int descriptor, struct msghdr *message, int flags) {
    return descriptor_call("recvmsg", SYS_recvmsg, (long[6]){descriptor, (long)message, flags});
}

ssize_t kitsune__call_sendfile(int to, int from, off_t *offset, size_t size) {
    return descriptor_call("sendfile", SYS_sendfile, (long[6]){to, from, (long)offset, (long)size});
}

ssize_t kitsune__call_sendfile64(int to, int from, off_t *offset, size_t size) {
    return kitsune__call_sendfile(to, from, offset, size);
}

int kitsune__call_accept(int descriptor, void *address, socklen_t *length) {
    return (int)descriptor_call("accept", SYS_accept,
                                (long[6]){descriptor, (long)address, (long)length});
}

int kitsune__call_accept4(int descriptor, void *address, socklen_t *length, int flags) {
    return (int)descriptor_call("accept4", SYS_accept4,
                                (long[6]){descriptor, (long)address, (long)length, flags});
}

/* Of _FORTIFY_SOURCE. A buffer that is too small is libc's to report, in its own way. */
extern ssize_t __read_chk(int descriptor, void *buffer, size_t size, size_t room);
extern ssize_t __recv_chk(int descriptor, void *buffer, size_t size, size_t room, int flags);
extern ssize_t __recvfrom_chk(int descriptor, void *buffer, size_t size, size_t room, int flags,
                              struct sockaddr *address, socklen_t *length);

ssize_t kitsune__call___read_chk(int descriptor, void *buffer, size_t size, size_t room) {
    return size > room ? __read_chk(descriptor, buffer, size, room)
                       : kitsune__call_read(descriptor, buffer, size);
}

ssize_t kitsune__call___recv_chk(int descriptor, void *buffer, size_t size, size_t room,
                                 int flags) {
    return size > room ? __recv_chk(descriptor, buffer, size, room, flags)
                       : kitsune__call_recv(descriptor, buffer, size, flags);
}

ssize_t kitsune__call___recvfrom_chk(int descriptor, void *buffer, size_t size, size_t room,
                                     int flags, void *address, socklen_t *length) {
    return size > room ? __recvfrom_chk(descriptor, buffer, size, room, flags, address, length)
                       : kitsune__call_recvfrom(descriptor, buffer, size, flags, address, length);
}

/* ---- sleeps --------------------------------------------------------------------------------- */

static uint64_t ns_of(const struct timespec *time) {
    if (time->tv_sec < 0 || time->tv_sec > INT64_MAX / (int64_t)NS_PER_S - 1)
        return INT64_MAX;
    return (uint64_t)time->tv_sec * NS_PER_S + (uint64_t)time->tv_nsec;
}

static struct timespec timespec_of(uint64_t ns) {
    return (struct timespec){(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
}

/* For a while, of a time of which the rest is counted down. */
static long nap(clockid_t clock, struct timespec *rest) {
    uint64_t left = ns_of(rest);
    uint64_t now = left < KITSUNE__PATIENCE_NS ? left : KITSUNE__PATIENCE_NS;
    struct timespec time = timespec_of(now), unslept = time;
    const long arguments[6] = {clock, 0, (long)&time, (long)&unslept, 0, 0};
    long result =
        kitsune__wait_enter("sleep", &kitsune__no_gate, waking(), SYS_clock_nanosleep, arguments);
    uint64_t slept = result == 0 ? now : now - ns_of(&unslept);
    *rest = timespec_of(left - slept);
    return left == slept ? 0 : -EINTR;
}

/* Returns 0 or a negative error; on -EINTR `rest` is what is left of a relative time. */
static long sleep_for(clockid_t clock, int flags, const struct timespec *time,
                      struct timespec *rest) {
    uint32_t bits = waking();
    *rest = *time;
    for (;;) {
        struct timespec now = *rest;
        const long arguments[6] = {clock, flags, (long)&now, (long)rest, 0, 0};
        long result = kitsune__wait_enter("sleep", &kitsune__control_gate->pending, bits,
                                          SYS_clock_nanosleep, arguments);
        if (result != KITSUNE__WOKEN)
            return result;
        if (!(kitsune__request_pending() & bits))
            continue;
        return kitsune__wait_has_ended() && !(flags & TIMER_ABSTIME) ? nap(clock, rest) : -EINTR;
    }
}

int kitsune__call_clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                                  struct timespec *rest) {
    struct timespec left;
    int result = (int)-sleep_for(clock, flags, time, &left);
    if (result == EINTR && rest != NULL && !(flags & TIMER_ABSTIME))
        *rest = left;
    return result;
}

int kitsune__call_nanosleep(const struct timespec *time, struct timespec *rest) {
    int error = kitsune__call_clock_nanosleep(CLOCK_REALTIME, 0, time, rest);
    return error == 0 ? 0 : failed(-error);
}

unsigned kitsune__call_sleep(unsigned seconds) {
    struct timespec time = {seconds, 0}, rest = {0, 0};
    int saved = errno;
    if (kitsune__call_nanosleep(&time, &rest) != 0)
        return (unsigned)rest.tv_sec + (rest.tv_nsec > 0);
    errno = saved;
    return 0;
}

int kitsune__call_usleep(useconds_t microseconds) {
    struct timespec time = timespec_of(microseconds * 1000ull);
    return kitsune__call_nanosleep(&time, NULL);
}

int kitsune__call_thrd_sleep(const struct timespec *time, struct timespec *rest) {
    int error = kitsune__call_clock_nanosleep(CLOCK_REALTIME, 0, time, rest);
    return error == 0 ? 0 : error == EINTR ? -1 : -2;
}

/* ---- signals -------------------------------------------------------------------------------- */

/* Waits that are ended by EINTR and have nothing to look at again. */
static long enter_plainly(const char *name, uint32_t bits, long number, const long arguments[6]) {
    for (;;) {
        long result =
            kitsune__wait_enter(name, &kitsune__control_gate->pending, bits, number, arguments);
        if (result != KITSUNE__WOKEN)
            return result;
        if (!(kitsune__request_pending() & bits))
            continue;
        if (kitsune__wait_has_ended()) {
            struct timespec rest = timespec_of(KITSUNE__PATIENCE_NS);
            nap(CLOCK_MONOTONIC, &rest);
        }
        return -EINTR;
    }
}

int kitsune__call_pause(void) {
    return failed(enter_plainly("pause", waking(), PAUSE, (long[6]){0}));
}

/* The kick is none of the program's signals: one that waits for all must not get it. */
static long wait_for_signal(const char *name, const sigset_t *set, siginfo_t *info,
                            const struct timespec *timeout) {
    sigset_t wanted = *set;
    kitsune__kick_filter(&wanted);
    return enter_plainly(name, interrupting(), SYS_rt_sigtimedwait,
                         (long[6]){(long)&wanted, (long)info, (long)timeout, KERNEL_SIGSET_SIZE});
}

int kitsune__call_sigtimedwait(const sigset_t *set, siginfo_t *info,
                               const struct timespec *timeout) {
    long result = wait_for_signal("sigtimedwait", set, info, timeout);
    return result < 0 ? failed(result) : (int)result;
}

int kitsune__call_sigwaitinfo(const sigset_t *set, siginfo_t *info) {
    long result = wait_for_signal("sigwaitinfo", set, info, NULL);
    return result < 0 ? failed(result) : (int)result;
}

int kitsune__call_sigwait(const sigset_t *set, int *number) {
    long result = wait_for_signal("sigwait", set, NULL, NULL);
    if (result < 0)
        return (int)-result;
    *number = (int)result;
    return 0;
}

/* ---- system calls by number ----------------------------------------------------------------- */

static int is_futex_wait(long number, long operation) {
    operation &= FUTEX_OPERATION;
    return number == SYS_futex && (operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET);
}

static int sets_filter(long number, long a) {
    return number == SYS_seccomp ? a == SECCOMP_SET_MODE_FILTER || a == SECCOMP_SET_MODE_STRICT
                                 : number == SYS_prctl && a == PR_SET_SECCOMP;
}

/* No rollback can take it away, and the rollback's own calls might not pass it. */
static long set_filter(long number, long a, long b, long c, long d, long e, long f) {
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__REFUSED_CALL,
                               "the new version set a filter of system calls, which needs a guard "
                               "if (!kitsune_is_updating()),");
    /* It may forbid the kick that a cancelled thread would need later. */
    kitsune__wait_expect_cancels();
    kitsune__gather_kick_all();
    kitsune__request_expect_filter();
    long result = syscall(number, a, b, c, d, e, f);
    if (result == 0)
        kitsune__request_note_filter();
    return result;
}

/* What the wrapped functions do for libc's names of these calls. */
static void refuse_end(long number, long status) {
    if (!kitsune__journal_active())
        return;
    if (number == SYS_exit_group || number == SYS_exit)
        kitsune__journal_abort(KITSUNE__EXITED, "the new version called syscall(%s, %d)",
                               number == SYS_exit ? "SYS_exit" : "SYS_exit_group", (int)status);
    if (number == SYS_execve || number == SYS_execveat)
        kitsune__journal_abort(KITSUNE__REFUSED_CALL,
                               "the new version called syscall(SYS_execve), which needs a guard "
                               "if (!kitsune_is_updating()),");
}

/* The kernel's own mask stays, which lets through what ends the transaction. */
static long change_mask(int how, const uint64_t *set, uint64_t *old, size_t size) {
    sigset_t wanted, before;
    if (size != sizeof *set) {
        errno = EINVAL;
        return -1;
    }
    sigemptyset(&wanted);
    if (set != NULL)
        memcpy(&wanted, set, sizeof *set);
    if (kitsune__call_sigprocmask(how, set != NULL ? &wanted : NULL, &before) != 0)
        return -1;
    if (old != NULL)
        memcpy(old, &before, sizeof *old);
    return 0;
}

long kitsune__call_syscall(long number, long a, long b, long c, long d, long e, long f) {
    refuse_end(number, a);
    if (number == SYS_rt_sigprocmask && kitsune__journal_active())
        return change_mask((int)a, (const uint64_t *)b, (uint64_t *)c, (size_t)d);
    if (sets_filter(number, a))
        return set_filter(number, a, b, c, d, e, f);
    if (kitsune__makes_process(number, a, b))
        return kitsune__make_process(number, a, b, c, d, e, f);
    if (!is_futex_wait(number, b))
        return syscall(number, a, b, c, d, e, f);
    long result = enter_plainly("futex", interrupting(), number, (long[6]){a, b, c, d, e, f});
    return result < 0 ? failed(result) : result;
}

int kitsune__call_prctl(int option, unsigned long a, unsigned long b, unsigned long c,
                        unsigned long d) {
    if (option == PR_SET_SECCOMP)
        return (int)set_filter(SYS_prctl, option, (long)a, (long)b, (long)c, (long)d, 0);
    return prctl(option, a, b, c, d);
}

/* ---- waits inside libc ---------------------------------------------------------------------- */

/* What the calling thread waits for, and whether that was ended; for its own signal handler. */
static _Thread_local pthread_cond_t *volatile condition_waited_for;
static _Thread_local volatile int condition_ended;
static _Thread_local volatile uint32_t semaphore_bits;

/* Whether the call that comes, or comes again, is the wait of a group of waiters: libc also waits for locks. */
static int waits_for_condition(const void *context, pthread_cond_t *condition) {
    const void *word = (const void *)kitsune__interrupted_argument(context, 0);
    long operation = kitsune__interrupted_argument(context, 1);
    return is_futex_wait(SYS_futex, operation) &&
           (word == &condition->__data.__g_signals[0] || word == &condition->__data.__g_signals[1]);
}

/*
 * The thread's wait for a condition ends as if its time were over, and so leaves it as libc does it. It
 * cannot broadcast to itself: to take in those that came later libc waits until everybody has gone whom it
 * has told before, which may be this thread. What was about to be made again has no time limit; a wait that
 * has one has ended with EINTR, which none of libc's other waits there does.
 */
static void end_condition_wait(void *context, int is_before) {
    if (!(kitsune__request_pending() & waking()))
        return;
    if (is_before && waits_for_condition(context, condition_waited_for))
        kitsune__interrupted_skip_call(context, -ETIMEDOUT);
    else if (!is_before)
        kitsune__interrupted_return(context, -ETIMEDOUT);
    else
        return;
    condition_ended = 1;
}

/* Only where the thread waits in the kernel, or has just been woken by the kick: a semaphore's wait then
 * looks as if the kernel had said EINTR. */
void kitsune__block_interrupt(void *context) {
    if (condition_waited_for == NULL && semaphore_bits == 0)
        return;
    int is_before = kitsune__interrupted_before_call(context) == SYS_futex;
    int is_behind = kitsune__interrupted_result(context) == -EINTR &&
                    kitsune__interrupted_behind_call(context, SYS_futex);
    if (!is_before && !is_behind)
        return;
    int is_meant = (kitsune__request_pending() & semaphore_bits) != 0;
    if (condition_waited_for != NULL) {
        end_condition_wait(context, is_before);
    } else if (is_before && is_meant) {
        kitsune__interrupted_skip_call(context, -EINTR);
    } else if (is_behind && !is_meant) { /* its time limit is absolute */
        kitsune__interrupted_wait_again(context, SYS_futex);
    }
}

/* A wait with or without a time. `until` NULL: none. */
struct condition_wait {
    pthread_cond_t *condition;
    pthread_mutex_t *mutex;
    clockid_t clock;
    int has_clock; /* pthread_cond_clockwait */
    const struct timespec *until;
};

static int wait_once(const struct condition_wait *wait, const struct timespec *until) {
    if (until == NULL)
        return pthread_cond_wait(wait->condition, wait->mutex);
    return wait->has_clock
               ? pthread_cond_clockwait(wait->condition, wait->mutex, wait->clock, until)
               : pthread_cond_timedwait(wait->condition, wait->mutex, until);
}

static void note_condition_end(void *ignored) {
    (void)ignored;
    condition_waited_for = NULL;
    kitsune__note_call(NULL, 0);
}

static int wait_noted(const struct condition_wait *wait, const struct timespec *until) {
    int result;
    kitsune__note_call("pthread_cond_wait", (long)wait->condition);
    condition_ended = 0;
    condition_waited_for = wait->condition;
    pthread_cleanup_push(note_condition_end, NULL);
    result = wait_once(wait, until);
    pthread_cleanup_pop(1);
    return result == ETIMEDOUT && condition_ended ? 0 : result;
}

/* A request that is there ends the first wait at once; later ones are ended by the kicks. */
static int condition_wait(const struct condition_wait *wait) {
    if (kitsune__self == NULL)
        return wait_once(wait, wait->until);
    if ((kitsune__request_pending() & waking()) && !kitsune__wait_has_ended())
        return 0;
    return wait_noted(wait, wait->until);
}

int kitsune__call_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    struct condition_wait wait = {.condition = condition, .mutex = mutex};
    return condition_wait(&wait);
}

int kitsune__call_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                         const struct timespec *until) {
    struct condition_wait wait = {.condition = condition, .mutex = mutex, .until = until};
    return condition_wait(&wait);
}

int kitsune__call_pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                         clockid_t clock, const struct timespec *until) {
    struct condition_wait wait = {condition, mutex, clock, 1, until};
    return condition_wait(&wait);
}

/* libc's are these under other names. */
int kitsune__call_cnd_wait(cnd_t *condition, mtx_t *mutex) {
    return kitsune__call_pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex) ==
                   0
               ? thrd_success
               : thrd_error;
}

int kitsune__call_cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    int error = kitsune__call_pthread_cond_timedwait((pthread_cond_t *)condition,
                                                     (pthread_mutex_t *)mutex, until);
    return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

/* ---- semaphores ----------------------------------------------------------------------------- */

struct semaphore_wait {
    sem_t *semaphore;
    clockid_t clock;
    const struct timespec *until; /* NULL: none */
};

static int take_once(const struct semaphore_wait *wait, const struct timespec *until) {
    return until == NULL ? sem_wait(wait->semaphore)
                         : sem_clockwait(wait->semaphore, wait->clock, until);
}

static void note_semaphore_end(void *ignored) {
    (void)ignored;
    semaphore_bits = 0;
    kitsune__note_call(NULL, 0);
}

static int take_noted(const struct semaphore_wait *wait, uint32_t bits) {
    int result;
    kitsune__note_call("sem_wait", (long)wait->semaphore);
    semaphore_bits = bits;
    pthread_cleanup_push(note_semaphore_end, NULL);
    result = take_once(wait, wait->until);
    pthread_cleanup_pop(1);
    return result;
}

static int take(const struct semaphore_wait *wait) {
    uint32_t bits = interrupting();
    if (!(kitsune__request_pending() & bits) || kitsune__wait_has_ended())
        return take_noted(wait, bits);
    return sem_trywait(wait->semaphore) == 0 ? 0 : failed(-EINTR);
}

int kitsune__call_sem_wait(sem_t *semaphore) {
    struct semaphore_wait wait = {semaphore, CLOCK_MONOTONIC, NULL};
    return take(&wait);
}

int kitsune__call_sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    struct semaphore_wait wait = {semaphore, CLOCK_REALTIME, until};
    return take(&wait);
}

int kitsune__call_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
    struct semaphore_wait wait = {semaphore, clock, until};
    return take(&wait);
}
