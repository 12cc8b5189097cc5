/*
 * Facts of the machine and system calls that must not pass through libc's state: no errno, no locks,
 * no cancellation points. Results are the kernel's: negative errno on failure. Any context, the
 * snapshot clone and the helper process included.
 */
#ifndef KITSUNE_PLATFORM_H
#define KITSUNE_PLATFORM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* For functions that look at memory which a sanitizer takes for somebody else's. */
#define KITSUNE__UNCHECKED __attribute__((noinline, no_sanitize("address")))

/* Raw system call (platform_*.S). The macro fills missing arguments with zero. */
long kitsune__syscall(long number, long a, long b, long c, long d, long e, long f);
#define KITSUNE__SYSCALL(number, ...) KITSUNE__SYSCALL_(number, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define KITSUNE__SYSCALL_(number, a, b, c, d, e, f, ...)                                           \
    kitsune__syscall((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t kitsune__now_ns(void);
/* Takes time that has gone by off what is left of a timer. One that has run out meanwhile is about to. */
struct itimerspec;
void kitsune__advance_timer(struct itimerspec *timer, uint64_t elapsed_ns);
/* Bytes of a page. */
uint64_t kitsune__page_size(void);
/* Non-zero under valgrind. */
int kitsune__under_valgrind(void);
/* Calls `visit` for each thread of this process, from /proc, until it returns non-zero, which is then
 * returned; -1 if /proc cannot be read. An emulator's own threads are none of them. */
int kitsune__each_thread(int (*visit)(void *context, int tid), void *context);
/* sigaction(2) past a sanitizer that stands in for libc and delivers signals when it pleases. Returns 0, or
 * -1 with errno set. */
struct sigaction;
int kitsune__sigaction(int number, const struct sigaction *action);
/* Number of threads of this process, from /proc; -1 if that cannot be read. */
int kitsune__thread_count(void);
/* A copy of the process as fork makes it, but without handlers: 0 in the copy, its process id here, or a
 * negative errno. `flags` are CLONE_FILES or 0, and the signal that its end sends (0: none), so that
 * no wait of the program sees it: only one with kitsune__copy_wait does. Where nothing but fork's own is known
 * (emulators of another machine) it sends SIGCHLD, any wait sees it, and no descriptors are shared. */
long kitsune__copy_process(long flags);
int kitsune__copy_wait(void);
/* Calls `visit` for each descriptor that is open, lowest first, until it returns non-zero, which is then
 * returned; -1 if /proc cannot be read. It may open and close others meanwhile. */
int kitsune__each_descriptor(int (*visit)(void *context, int descriptor), void *context);
/* Reads memory of this process that may not be readable; returns how many bytes it read. Uses nothing of libc. */
size_t kitsune__read_memory(const void *from, void *to, size_t size);
/* Closes descriptors from `first` on to `last`; ~0u: all further ones. */
void kitsune__close_range(unsigned first, unsigned last);
/* The number that follows `name`, with blanks between, at the start of a line of a file of /proc;
 * `otherwise` if there is no such line. Any context; uses nothing of libc. */
uint64_t kitsune__number_behind(const char *text, const char *name, uint64_t otherwise);
/* For a copy of a process, first: closes all descriptors but one (-1: all), in a table of its own, also if it
 * shared its parent's so far (CLONE_FILES). What a copy holds open the program cannot close: a peer sees no
 * end, and an epoll goes on reporting it. */
void kitsune__close_all_but(int kept);
/* Waits until a child that was made by a bare clone has set the word, or has ended; it is not reaped. */
void kitsune__await_word(int child, const volatile uint32_t *word);
/* The descriptor of /proc that kitsune__open_proc uses; -1 if it is not there any more. */
int kitsune__proc_descriptor(void);
/* The number that this process has for /proc as it was mounted at the start: not its own in a namespace of
 * process numbers that was made since. -1 if that cannot be known. */
int kitsune__own_number(void);
/* Opens a file below /proc also after chroot, as long as the descriptor kept for it is there.
 * Negative errno on failure. */
int kitsune__open_proc(const char *name, int flags);
/* Makes /proc the working directory, also after chroot, and returns a descriptor of the one before,
 * which kitsune__leave_proc goes back to and closes; negative errno on failure. */
int kitsune__enter_proc(void);
void kitsune__leave_proc(int former);
/* Called once at the start: keeps a descriptor for /proc, and looks at what runs the program; and in each
 * forked child. */
void kitsune__platform_start(void);
void kitsune__platform_forked(void);
/* Non-zero if the program runs under an emulator of another machine, in whose process it is: see
 * docs/operations.md, "What works where". */
int kitsune__emulated(void);
/* Non-zero for a thread that was there before the program: the emulator's own. */
int kitsune__is_of_emulator(int tid);

/*
 * A small printf into a buffer, without libc: %s %d %u %x %c %p %% with l and ll and z. Always
 * terminates; returns the length written.
 */
size_t kitsune__format(char *buffer, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t kitsune__formatv(char *buffer, size_t size, const char *format, va_list arguments);

#endif
