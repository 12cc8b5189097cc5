/*
 * fork by the number of a system call, as programs do that want their children in namespaces of their own.
 * libc does not know of it, and calls no handlers of fork, neither the program's nor ours: ours are called
 * here, in the order in which libc would. What libc itself does in a child stays undone, as it would be
 * without us.
 */
#define _GNU_SOURCE
#include "wrap_clone.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "quiesce.h"
#include "request.h"

static unsigned long flags_of(long number, long a) {
    const struct clone_args *arguments = (const void *)(uintptr_t)a;
    return number == SYS_clone3 ? arguments->flags : number == SYS_clone ? (unsigned long)a : 0;
}

static int is_on_another_stack(long number, long a, long b) {
    const struct clone_args *arguments = (const void *)(uintptr_t)a;
    return number == SYS_clone3 ? arguments->stack != 0 : number == SYS_clone && b != 0;
}

static int is_call(long number, long a) {
#ifdef SYS_fork
    if (number == SYS_fork)
        return 1;
#endif
    return number == SYS_clone || (number == SYS_clone3 && a != 0);
}

int kitsune__makes_process(long number, long a, long b) {
    return is_call(number, a) && !(flags_of(number, a) & (CLONE_VM | CLONE_THREAD)) &&
           !is_on_another_stack(number, a, b);
}

long kitsune__make_process(long number, long a, long b, long c, long d, long e, long f) {
    unsigned long flags = flags_of(number, a);
    kitsune__quiesce_before_fork();
    kitsune__request_expect_clone(flags);
    long result = syscall(number, a, b, c, d, e, f);
    int error = errno;
    kitsune__request_cloned(result, flags);
    if (result == 0)
        kitsune__quiesce_drop_in_child();
    else
        kitsune__quiesce_note_child();
    if (result < 0)
        errno = error;
    return result;
}
