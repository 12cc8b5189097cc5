/*
 * The one list of calls that a release makes through the launcher. From it come: the wrappers in the
 * release (wrap.c), the table between both (struct kitsune_calls), its contents in the launcher
 * (table.c, which expects a function kitsune__call_NAME for each), and the linker's --wrap flags
 * (kitsune_tool/launcher.py reads the names here: one entry per line).
 *
 * X(returned type, NAME, (parameters), (arguments)); V for void; N for calls that do not return. Calls
 * that take an argument or none (fcntl, ioctl, prctl) are listed with all: they lie in the same registers.
 * A change of the list changes the interface: KITSUNE_ABI must grow with it.
 */
#ifndef KITSUNE_CALLS_H
#define KITSUNE_CALLS_H

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <threads.h>
#include <time.h>

typedef void kitsune__exit_function(void);
typedef void kitsune__signal_handler(int);

/* clang-format off */
#define KITSUNE_CALLS(X, V, N) \
    /* the process's end (wrap_exit.c) */ \
    N(void, exit, (int status), (status)) \
    N(void, _exit, (int status), (status)) \
    N(void, _Exit, (int status), (status)) \
    N(void, quick_exit, (int status), (status)) \
    X(int, atexit, (kitsune__exit_function *function), (function)) \
    X(int, on_exit, (void (*function)(int, void *), void *argument), (function, argument)) \
    X(int, __cxa_atexit, (void (*function)(void *), void *argument, void *dso), (function, argument, dso)) \
    X(int, at_quick_exit, (kitsune__exit_function *function), (function)) \
    X(int, daemon, (int nochdir, int noclose), (nochdir, noclose)) \
    /* signals (wrap_signal.c) */ \
    X(int, sigaction, (int number, const struct sigaction *action, struct sigaction *old), (number, action, old)) \
    X(kitsune__signal_handler *, signal, (int number, kitsune__signal_handler *handler), (number, handler)) \
    X(kitsune__signal_handler *, __sysv_signal, (int number, kitsune__signal_handler *handler), (number, handler)) \
    X(int, siginterrupt, (int number, int interrupt), (number, interrupt)) \
    X(int, sigprocmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old)) \
    X(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old)) \
    X(int, sigsuspend, (const sigset_t *mask), (mask)) \
    X(int, sigaltstack, (const stack_t *stack, stack_t *old), (stack, old)) \
    /* timers (wrap_timer.c) */ \
    X(int, setitimer, (int which, const struct itimerval *value, struct itimerval *old), (which, value, old)) \
    X(unsigned, alarm, (unsigned seconds), (seconds)) \
    X(useconds_t, ualarm, (useconds_t first, useconds_t interval), (first, interval)) \
    X(int, timer_create, (clockid_t clock, struct sigevent *event, timer_t *timer), (clock, event, timer)) \
    X(int, timer_settime, (timer_t timer, int flags, const struct itimerspec *value, struct itimerspec *old), (timer, flags, value, old)) \
    X(int, timer_delete, (timer_t timer), (timer)) \
    X(int, timerfd_settime, (int timer, int flags, const struct itimerspec *value, struct itimerspec *old), (timer, flags, value, old)) \
    /* blocking calls that a request ends (wait.c) */ \
    X(int, select, (int count, fd_set *readable, fd_set *writable, fd_set *exceptional, struct timeval *timeout), (count, readable, writable, exceptional, timeout)) \
    X(int, pselect, (int count, fd_set *readable, fd_set *writable, fd_set *exceptional, const struct timespec *timeout, const sigset_t *mask), (count, readable, writable, exceptional, timeout, mask)) \
    X(int, poll, (struct pollfd *fds, nfds_t count, int timeout_ms), (fds, count, timeout_ms)) \
    X(int, ppoll, (struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask), (fds, count, timeout, mask)) \
    X(int, __poll_chk, (struct pollfd *fds, nfds_t count, int timeout_ms, size_t size), (fds, count, timeout_ms, size)) \
    X(int, __ppoll_chk, (struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t size), (fds, count, timeout, mask, size)) \
    X(int, epoll_wait, (int epoll, struct epoll_event *events, int capacity, int timeout_ms), (epoll, events, capacity, timeout_ms)) \
    X(int, epoll_pwait, (int epoll, struct epoll_event *events, int capacity, int timeout_ms, const sigset_t *mask), (epoll, events, capacity, timeout_ms, mask)) \
    /* blocking calls that a request ends by EINTR, or as by a stray wake-up (block.c) */ \
    X(ssize_t, read, (int descriptor, void *buffer, size_t size), (descriptor, buffer, size)) \
    X(ssize_t, __read_chk, (int descriptor, void *buffer, size_t size, size_t room), (descriptor, buffer, size, room)) \
    X(ssize_t, readv, (int descriptor, const struct iovec *parts, int count), (descriptor, parts, count)) \
    X(ssize_t, recv, (int descriptor, void *buffer, size_t size, int flags), (descriptor, buffer, size, flags)) \
    X(ssize_t, __recv_chk, (int descriptor, void *buffer, size_t size, size_t room, int flags), (descriptor, buffer, size, room, flags)) \
    X(ssize_t, recvfrom, (int descriptor, void *buffer, size_t size, int flags, void *address, socklen_t *length), (descriptor, buffer, size, flags, address, length)) \
    X(ssize_t, __recvfrom_chk, (int descriptor, void *buffer, size_t size, size_t room, int flags, void *address, socklen_t *length), (descriptor, buffer, size, room, flags, address, length)) \
    X(ssize_t, recvmsg, (int descriptor, struct msghdr *message, int flags), (descriptor, message, flags)) \
    X(ssize_t, sendfile, (int to, int from, off_t *offset, size_t size), (to, from, offset, size)) \
    X(ssize_t, sendfile64, (int to, int from, off_t *offset, size_t size), (to, from, offset, size)) \
    X(int, accept, (int descriptor, void *address, socklen_t *length), (descriptor, address, length)) \
    X(int, accept4, (int descriptor, void *address, socklen_t *length, int flags), (descriptor, address, length, flags)) \
    X(long, syscall, (long number, long a, long b, long c, long d, long e, long f), (number, a, b, c, d, e, f)) \
    X(int, prctl, (int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d), (option, a, b, c, d)) \
    X(int, nanosleep, (const struct timespec *time, struct timespec *rest), (time, rest)) \
    X(int, clock_nanosleep, (clockid_t clock, int flags, const struct timespec *time, struct timespec *rest), (clock, flags, time, rest)) \
    X(unsigned, sleep, (unsigned seconds), (seconds)) \
    X(int, usleep, (useconds_t microseconds), (microseconds)) \
    X(int, thrd_sleep, (const struct timespec *time, struct timespec *rest), (time, rest)) \
    X(int, pause, (void), ()) \
    X(int, sigwait, (const sigset_t *set, int *number), (set, number)) \
    X(int, sigwaitinfo, (const sigset_t *set, siginfo_t *info), (set, info)) \
    X(int, sigtimedwait, (const sigset_t *set, siginfo_t *info, const struct timespec *timeout), (set, info, timeout)) \
    X(int, sem_wait, (sem_t *semaphore), (semaphore)) \
    X(int, sem_timedwait, (sem_t *semaphore, const struct timespec *until), (semaphore, until)) \
    X(int, sem_clockwait, (sem_t *semaphore, clockid_t clock, const struct timespec *until), (semaphore, clock, until)) \
    X(int, pthread_cond_wait, (pthread_cond_t *condition, pthread_mutex_t *mutex), (condition, mutex)) \
    X(int, pthread_cond_timedwait, (pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until), (condition, mutex, until)) \
    X(int, pthread_cond_clockwait, (pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until), (condition, mutex, clock, until)) \
    X(int, cnd_wait, (cnd_t *condition, mtx_t *mutex), (condition, mutex)) \
    X(int, cnd_timedwait, (cnd_t *condition, mtx_t *mutex, const struct timespec *until), (condition, mutex, until)) \
    /* what the kernel keeps for a descriptor (wrap_descriptor.c) */ \
    X(int, epoll_ctl, (int epoll, int operation, int descriptor, struct epoll_event *event), (epoll, operation, descriptor, event)) \
    X(int, fcntl, (int descriptor, int command, long argument), (descriptor, command, argument)) \
    X(int, fcntl64, (int descriptor, int command, long argument), (descriptor, command, argument)) \
    X(int, ioctl, (int descriptor, unsigned long request, void *argument), (descriptor, request, argument)) \
    /* jumps (wrap_jump.c) */ \
    N(void, longjmp, (struct __jmp_buf_tag *environment, int value), (environment, value)) \
    N(void, _longjmp, (struct __jmp_buf_tag *environment, int value), (environment, value)) \
    N(void, siglongjmp, (struct __jmp_buf_tag *environment, int value), (environment, value)) \
    N(void, __longjmp_chk, (struct __jmp_buf_tag *environment, int value), (environment, value)) \
    /* another program (wrap_exit.c) */ \
    X(int, execve, (const char *path, char *const *arguments, char *const *variables), (path, arguments, variables)) \
    X(int, execv, (const char *path, char *const *arguments), (path, arguments)) \
    X(int, execvp, (const char *file, char *const *arguments), (file, arguments)) \
    X(int, execvpe, (const char *file, char *const *arguments, char *const *variables), (file, arguments, variables)) \
    X(int, fexecve, (int descriptor, char *const *arguments, char *const *variables), (descriptor, arguments, variables)) \
    /* threads (thread.c) */ \
    X(int, pthread_create, (pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument), (thread, attributes, start, argument)) \
    X(int, thrd_create, (thrd_t *thread, int (*start)(void *), void *argument), (thread, start, argument)) \
    N(void, pthread_exit, (void *result), (result)) \
    N(void, thrd_exit, (int result), (result)) \
    /* destructors of thread-specific values (wrap_key.c) */ \
    X(int, pthread_key_create, (pthread_key_t *key, void (*destructor)(void *)), (key, destructor)) \
    X(int, pthread_key_delete, (pthread_key_t key), (key)) \
    X(int, tss_create, (tss_t *key, tss_dtor_t destructor), (key, destructor)) \
    V(void, tss_delete, (tss_t key), (key)) \
    /* handlers of fork (wrap_fork.c) */ \
    X(int, pthread_atfork, (kitsune__exit_function *before, kitsune__exit_function *parent, kitsune__exit_function *child), (before, parent, child))

/* Calls whose arguments are a list, and the call of the list above that takes them as a vector: L(NAME,
 * that call). wrap.c makes one of the other. */
#define KITSUNE_LIST_CALLS(L) \
    L(execl, execv) \
    L(execlp, execvp) \
    L(execle, execve)
/* clang-format on */

struct kitsune_calls {
#define KITSUNE__POINTER(type, name, parameters, arguments) type(*name) parameters;
    KITSUNE_CALLS(KITSUNE__POINTER, KITSUNE__POINTER, KITSUNE__POINTER)
#undef KITSUNE__POINTER
};

/* The launcher's side of each. */
#define KITSUNE__DECLARE(type, name, parameters, arguments) type kitsune__call_##name parameters;
KITSUNE_CALLS(KITSUNE__DECLARE, KITSUNE__DECLARE, KITSUNE__DECLARE)
#undef KITSUNE__DECLARE

#endif
