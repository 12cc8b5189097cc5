/* Giving rights up, as servers do it after their start: the way as words. */
#ifndef RIGHTS_H
#define RIGHTS_H

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALLOW(number)                                  \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE(number, action)                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, action)
#define NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))

#ifdef SYS_poll
#define CALL_OF_POLL SYS_poll
#else
#define CALL_OF_POLL SYS_ppoll
#endif

/* By prctl, which the launcher sees as well as syscall(); or by neither, as a library does it. */
static enum { BY_SYSCALL, BY_PRCTL, UNSEEN } filter_how;

static long call_unseen(long number, long a, long b, const void *c)
{
#if defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register const void *x2 __asm__("x2") = c;

    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#else
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
#endif
}

static int set_filter(const struct sock_filter *filter, size_t size)
{
    struct sock_fprog program = {(unsigned short)(size / sizeof *filter),
                                 (struct sock_filter *)filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    if (filter_how == BY_PRCTL)
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    if (filter_how == UNSEEN)
        return (int)call_unseen(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/* What a session needs, and death for everything else. */
static int filter_strictly(void)
{
    static const struct sock_filter filter[] = {
        NUMBER,
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_lseek),
        ALLOW(CALL_OF_POLL),
        ALLOW(SYS_newfstatat),
        ALLOW(SYS_brk),
        ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };

    return set_filter(filter, sizeof filter);
}

/* With no update point in between. */
static int fork_and_filter(void)
{
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0); /* or until it is gone, where nobody is to wait for it */
    return child > 0 ? filter_strictly() : -1;
}

/* What the parent needs, which forks; death for everything else. */
static int filter_parent(void)
{
    static const struct sock_filter filter[] = {
        NUMBER,
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_lseek),
        ALLOW(CALL_OF_POLL),
        ALLOW(SYS_accept),
        ALLOW(SYS_close),
        ALLOW(SYS_clone),
        ALLOW(SYS_set_robust_list),
        ALLOW(SYS_rseq),
        ALLOW(SYS_brk),
        ALLOW(SYS_getpid),
        ALLOW(SYS_getrandom),
        ALLOW(SYS_newfstatat),
        ALLOW(SYS_rt_sigreturn),
        ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };

    return set_filter(filter, sizeof filter);
}

/* Death for some calls that no server makes. */
static int filter_loosely(void)
{
    static const struct sock_filter filter[] = {
        NUMBER,
        REFUSE(SYS_execve, SECCOMP_RET_KILL_PROCESS),
        REFUSE(SYS_ptrace, SECCOMP_RET_KILL_PROCESS),
        REFUSE(SYS_mount, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    return set_filter(filter, sizeof filter);
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return -1;
    return (int)syscall(SYS_capset, &header, none);
}

/* No file may be opened, or no process made; the hard limit stays, or not. (With none at all, poll fails.) */
static int limit_to_none(int resource, int is_hard)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0)
        return -1;
    limit.rlim_cur = 2;
    if (is_hard)
        limit.rlim_max = 2;
    return setrlimit(resource, &limit);
}

/* Returns 0, or -1 if that failed or is not known. */
static int give_up(const char *what)
{
    if (strncmp(what, "chroot ", 7) == 0)
        return chroot(what + 7) == 0 ? chdir("/") : -1;
    if (strncmp(what, "user ", 5) == 0) {
        uid_t user = (uid_t)atoi(what + 5);
        return setresgid(user, user, user) == 0 ? setresuid(user, user, user) : -1;
    }
    if (strcmp(what, "capabilities") == 0)
        return drop_capabilities();
    if (strcmp(what, "new privileges") == 0)
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (strcmp(what, "networks") == 0)
        return (int)syscall(SYS_unshare, 0x40000000 /* CLONE_NEWNET */);
    if (strcmp(what, "files") == 0)
        return limit_to_none(RLIMIT_NOFILE, 0);
    if (strcmp(what, "files for ever") == 0)
        return limit_to_none(RLIMIT_NOFILE, 1);
    if (strcmp(what, "processes") == 0)
        return limit_to_none(RLIMIT_NPROC, 0);
    if (strcmp(what, "most calls") == 0)
        return filter_strictly();
    if (strcmp(what, "most calls after a fork") == 0)
        return fork_and_filter();
    if (strcmp(what, "most calls by prctl") == 0) {
        filter_how = BY_PRCTL;
        return filter_strictly();
    }
    if (strcmp(what, "most calls unseen") == 0) {
        filter_how = UNSEEN;
        return filter_strictly();
    }
    if (strcmp(what, "most calls of a parent") == 0)
        return filter_parent();
    if (strcmp(what, "some calls") == 0)
        return filter_loosely();
    if (strcmp(what, "descriptors") == 0)
        return close_range(64, ~0u, 0);
    return -1;
}

#endif
