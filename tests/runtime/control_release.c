/*
 * A release without state, written by hand: a server that sleeps for ever in the wrapped call that its
 * first argument names, and takes EINTR for a reason to die. Built as version "even" and "odd", each
 * of which follows the other.
 *
 * usage: CALL [PREPARATION…]: fork, fork2, daemon, closefrom, drop, locale, thread, alone; done by the
 * first version
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kitsune.h>
#include <kitsune_release.h>

#define EPOLL_FD 100
#define NOBODY 65534
#define DIGEST 7

static const struct kitsune_plan plan = {
    .abi = KITSUNE_ABI,
    .size = sizeof plan,
    .old_layout_digest = DIGEST,
    .flags = KITSUNE_PLAN_NOTHING_MOVES,
};

__attribute__((used,
               section(KITSUNE_IDENTITY_SECTION))) static const struct kitsune_identity identity = {
    .magic = KITSUNE_MAGIC,
    .abi = KITSUNE_ABI,
    .size = sizeof identity,
    .program = "sleeper",
    .version = VERSION,
    .parent_count = 1,
    .parents = {{PARENT}}};

KITSUNE_DEFINE_RELEASE(&identity, DIGEST, &plan);

static void fork_and_leave(void) {
    if (fork() > 0)
        _exit(0);
}

static pthread_t thread;
static int thread_pipe[2];

static void *wait_for_end(void *unused) {
    char byte;

    (void)unused;
    return read(thread_pipe[0], &byte, 1) == 1 ? NULL : &thread;
}

static void start_thread(void) {
    if (pipe(thread_pipe) < 0 || pthread_create(&thread, NULL, wait_for_end, NULL) != 0)
        _exit(4);
}

/* Returns 0 if the thread ended as it should. */
static int end_thread(void) {
    void *result = NULL;

    if (write(thread_pipe[1], "", 1) != 1 || pthread_join(thread, &result) != 0)
        return 1;
    return result != NULL;
}

/* A limit below would be lifted for an update, as one that was set to have none. */
#define FEWEST 8

/* How many processes the user may have: no further one if it has so many, or as many as before. */
static int limit_processes(int few) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NPROC, &limit) < 0)
        return -1;
    limit.rlim_cur = few ? FEWEST : limit.rlim_max;
    return setrlimit(RLIMIT_NPROC, &limit);
}

static void prepare(const char *what) {
    if (strcmp(what, "fork") == 0 || strcmp(what, "fork2") == 0) {
        fork_and_leave();
        setsid();
        if (what[4])
            fork_and_leave();
    } else if (strcmp(what, "daemon") == 0) {
        if (daemon(0, 1) < 0)
            _exit(4);
    } else if (strcmp(what, "closefrom") == 0) {
        closefrom(3);
    } else if (strcmp(what, "locale") == 0) {
        setlocale(LC_ALL, "C.UTF-8");
    } else if (strcmp(what, "thread") == 0) {
        start_thread();
    } else if (strcmp(what, "alone") == 0) {
        if (limit_processes(1) < 0)
            _exit(4);
    } else if (strcmp(what, "drop") == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(4);
    }
}

static void open_epoll(void) {
    struct epoll_event event = {.events = EPOLLIN};

    if (fcntl(EPOLL_FD, F_GETFD) >= 0)
        return;
    dup2(epoll_create1(0), EPOLL_FD);
    epoll_ctl(EPOLL_FD, EPOLL_CTL_ADD, 0, &event);
}

/* The count is not known to the compiler, so that _FORTIFY_SOURCE takes its checked variants. */
static int wait_for_input(const char *call, nfds_t count) {
    struct pollfd fds[2] = {{0, POLLIN, 0}};
    struct epoll_event event;
    sigset_t none;
    fd_set set;

    FD_ZERO(&set);
    FD_SET(0, &set);
    sigemptyset(&none);
    if (strcmp(call, "select") == 0)
        return select(1, &set, NULL, NULL, NULL);
    if (strcmp(call, "pselect") == 0)
        return pselect(1, &set, NULL, NULL, NULL, &none);
    if (strcmp(call, "ppoll") == 0)
        return ppoll(fds, count, NULL, &none);
    if (strcmp(call, "epoll_wait") == 0)
        return epoll_wait(EPOLL_FD, &event, 1, -1);
    if (strcmp(call, "epoll_pwait") == 0)
        return epoll_pwait(EPOLL_FD, &event, 1, -1, &none);
    return poll(fds, count, -1);
}

static void answer(void) {
    char line[256];
    ssize_t got = read(0, line, sizeof line - 1);

    if (got <= 0)
        _exit(0);
    line[got] = '\0';
    if (strcmp(line, "wait\n") == 0)
        printf("children %d\n", (int)waitpid(-1, NULL, WNOHANG));
    else if (strcmp(line, "join\n") == 0)
        printf("joined %d\n", end_thread());
    else if (strcmp(line, "company\n") == 0)
        printf("limit %d\n", limit_processes(0));
    else
        printf("%s %d\n", VERSION, (int)getpid());
    fflush(stdout);
}

int main(int count, char **arguments) {
    for (int i = 2; i < count && !kitsune_is_updating(); i++)
        prepare(arguments[i]);
    open_epoll();
    if (!kitsune_is_updating()) {
        printf("ready %d\n", (int)getpid());
        fflush(stdout);
    }
    for (;;) {
        int ready;

        kitsune_update("serve");
        ready = wait_for_input(arguments[1], (nfds_t)(count > 0));
        if (ready < 0)
            _exit(9);
        if (ready > 0)
            answer();
    }
}
