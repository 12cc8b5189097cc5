/*
 * A server that is linked with control and waking only (request, helper, check, wait): for the tests
 * of both. It obeys lines on its standard input, which it waits for in the wrapped call that its
 * first argument names; an update only changes its name of the version.
 *
 * usage: control_program CALL PROGRAM VERSION BUILD_ID
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "request.h"
#include "thread.h"
#include "wait.h"

/* The release's gate has a page of its own. */
static union {
    struct kitsune_gate gate;
    char page[4096];
} own_page __attribute__((aligned(4096)));
#define gate own_page.gate

static struct kitsune__running running;
static int epoll_fd, refuse_updates, deaf, program_signals, idle_slices;
static unsigned long rounds;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...) {
    char text[8192];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (write(1, text, (size_t)length) < 0)
        _exit(3);
}

static void take_update(void) {
    struct kitsune__request request;
    struct kitsune__outcome outcome = {.committed = 1, .begun = 1, .objects = 7, .pause_ns = 1000};

    if (!kitsune__request_take(&request))
        return;
    if (access(request.load_path, R_OK) < 0)
        say("unreadable %s: %s\n", request.load_path, strerror(errno));
    close(request.fd);
    if (refuse_updates) {
        outcome.committed = 0;
        strcpy(outcome.code, "K353");
        strcpy(outcome.reason, "refused for the test");
        strcpy(outcome.not_undone, "nothing");
    } else {
        running = request.release;
    }
    kitsune__request_outcome(&outcome, outcome.committed ? &running : NULL);
    if (outcome.committed)
        kitsune__request_retired(request.serial, "unloaded");
}

/* The slow path of an update point. */
static void update_point(void) {
    uint32_t pending = gate.pending;

    if (pending & KITSUNE__PENDING_SERVICE)
        kitsune__request_service();
    if ((pending & KITSUNE__PENDING_UPDATE) && !deaf)
        take_update();
}

/* Waits for standard input, for ever; 1 if it is readable, 0 for a time-out. */
static int wait_for_input(const char *call) {
    struct pollfd fds = {0, POLLIN, 0};
    struct epoll_event event;
    sigset_t mask;
    fd_set set;

    FD_ZERO(&set);
    FD_SET(0, &set);
    sigfillset(&mask); /* a program that blocks all signals but for one call */
    if (strcmp(call, "select") == 0)
        return kitsune__call_select(1, &set, NULL, NULL, NULL);
    if (strcmp(call, "pselect") == 0)
        return kitsune__call_pselect(1, &set, NULL, NULL, NULL, &mask);
    if (strcmp(call, "ppoll") == 0)
        return kitsune__call_ppoll(&fds, 1, NULL, &mask);
    if (strcmp(call, "epoll_wait") == 0)
        return kitsune__call_epoll_wait(epoll_fd, &event, 1, -1);
    if (strcmp(call, "epoll_pwait") == 0)
        return kitsune__call_epoll_pwait(epoll_fd, &event, 1, -1, &mask);
    if (strcmp(call, "long_select") == 0)
        return kitsune__call_select(1, &set, NULL, NULL, &(struct timeval){3600, 0});
    if (strcmp(call, "long_poll") == 0)
        return kitsune__call_poll(&fds, 1, 3600000);
    if (strcmp(call, "read") == 0)
        return 1;
    return kitsune__call_poll(&fds, 1, -1);
}

static void on_program_signal(int number) {
    (void)number;
    program_signals++;
}

static int count_threads(void) {
    char line[256];
    int threads = 0;
    FILE *status = fopen("/proc/self/status", "r");

    while (fgets(line, sizeof line, status))
        sscanf(line, "Threads: %d", &threads);
    fclose(status);
    return threads;
}

static int count_descriptors(void) {
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* As daemons do it: `forks` times fork and exit, a session of its own after the first. */
static void daemonise(int forks) {
    for (int i = 0; i < forks; i++) {
        pid_t child = fork();

        if (child > 0)
            _exit(0);
        if (i == 0)
            setsid();
    }
}

static void worker(void) {
    pid_t child = fork();

    if (child == 0) {
        for (;;) { /* workers wait in wrapped calls too, and tell how often they returned */
            struct pollfd none = {-1, 0, 0};
            int result = kitsune__call_poll(&none, 1, 60000);
            say("worker woken %d\n", result);
        }
    }
    say("worker %d\n", (int)child);
}

static void wait_all(void) {
    int status;
    pid_t got = waitpid(-1, &status, WNOHANG);

    say("waited %d %s\n", (int)got, got < 0 ? strerror(errno) : "");
}

static void drop_to(uid_t user) {
    if (setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 ||
        setresuid(user, user, user) < 0)
        say("setuid failed\n");
    say("uid %d\n", (int)geteuid());
}

static int slice(void) {
    usleep(100);
    if (--idle_slices > 0)
        return 1;
    kitsune__request_lower(KITSUNE__PENDING_RETIRE);
    return 0;
}

static void request_inside(const char *path) {
    struct kitsune__outcome outcome;

    if (kitsune__request_inside(path, 0, &outcome) == 0)
        say("requested\n");
    else
        say("refused %s %s\n", outcome.code, outcome.reason);
}

static void show_wait(int number) {
    fd_set set;
    struct timeval limit = {0, 20000};
    struct pollfd fds = {-1, POLLIN, 77};
    int result;

    FD_ZERO(&set);
    if (number == 0)
        result = kitsune__call_select(0, &set, NULL, NULL, &limit);
    else if (number == 1)
        result = kitsune__call_poll(&fds, 1, 20);
    else
        result = kitsune__call_select(-1, NULL, NULL, NULL, &limit);
    say("result %d errno %d left %ld revents %d\n", result, result < 0 ? errno : 0,
        limit.tv_sec * 1000000 + limit.tv_usec, fds.revents);
}

/* A child that reports what its update point would see. */
static void ask_child(void) {
    pid_t child = fork();

    if (child == 0) {
        say("pending %d\n", gate.pending & KITSUNE__PENDING_UPDATE ? 1 : 0);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void fork_often(int times) {
    for (int i = 0; i < times; i++) {
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
}

/* Children that wait until `disperse` or the program's end closes the pipe. */
static int crowd_pipe[2];

static void crowd(int count) {
    if (pipe(crowd_pipe) < 0)
        say("no pipe\n");
    for (int i = 0; i < count; i++) {
        pid_t child = fork();

        if (child == 0) {
            char byte;

            close(crowd_pipe[1]);
            _exit(read(crowd_pipe[0], &byte, 1) != 0);
        }
        if (child < 0) {
            say("only %d\n", i);
            return;
        }
    }
    say("crowded\n");
}

static void disperse(void) {
    close(crowd_pipe[0]);
    close(crowd_pipe[1]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    say("dispersed\n");
}

/* A child of a bare clone: no handler of fork ran, the gate is the parent's. */
static void clone_bare(void) {
    struct pollfd none = {-1, 0, 0};
    long child;

    kitsune__request_raise(KITSUNE__PENDING_SERVICE);
    child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        struct kitsune__request request;
        int result = kitsune__call_poll(&none, 1, 50);

        say("clone %d %d\n", result, kitsune__request_take(&request));
        _exit(0);
    }
    waitpid((pid_t)child, NULL, 0);
}

static void use_up_descriptors(int left) {
    struct rlimit limit = {(rlim_t)(count_descriptors() + left), 4096};

    say("limit %d\n", setrlimit(RLIMIT_NOFILE, &limit));
}

static void grow(size_t megabytes) {
    static char *volatile block;

    block = malloc(megabytes << 20);
    memset(block, 1, megabytes << 20);
    say("grown\n");
}

static void obey(char *line) {
    struct sigaction action = {.sa_handler = on_program_signal};
    char *argument = strchr(line, ' ');

    if (argument)
        *argument++ = '\0';
    if (strcmp(line, "version") == 0)
        say("version %s rounds %lu\n", running.version, rounds);
    else if (strcmp(line, "quit") == 0)
        _exit(0);
    else if (strcmp(line, "crash") == 0)
        raise(SIGKILL);
    else if (strcmp(line, "threads") == 0)
        say("threads %d\n", count_threads());
    else if (strcmp(line, "descriptors") == 0)
        say("descriptors %d\n", count_descriptors());
    else if (strcmp(line, "wait") == 0)
        wait_all();
    else if (strcmp(line, "worker") == 0)
        worker();
    else if (strcmp(line, "fork-daemon") == 0)
        daemonise(atoi(argument)), say("daemon %d\n", (int)getpid());
    else if (strcmp(line, "daemon") == 0)
        say("daemon %d\n", daemon(0, 1) == 0 ? (int)getpid() : -1);
    else if (strcmp(line, "setuid") == 0)
        drop_to((uid_t)atoi(argument));
    else if (strcmp(line, "closefrom") == 0)
        closefrom(3), say("closed\n");
    else if (strcmp(line, "refuse") == 0)
        refuse_updates = 1, say("refusing\n");
    else if (strcmp(line, "deaf") == 0)
        deaf = 1, say("deaf\n");
    else if (strcmp(line, "hear") == 0)
        deaf = 0, say("hearing\n");
    else if (strcmp(line, "sleep") == 0)
        usleep((useconds_t)atoi(argument) * 1000), say("slept\n");
    else if (strcmp(line, "inside") == 0)
        request_inside(argument);
    else if (strcmp(line, "withdraw") == 0)
        say("withdrawn %d\n", kitsune__request_withdraw());
    else if (strcmp(line, "handle-urgent") == 0)
        kitsune__kick_sigaction(&action, NULL), say("handling\n");
    else if (strcmp(line, "signals") == 0)
        say("signals %d\n", program_signals);
    else if (strcmp(line, "idle-work") == 0)
        idle_slices = atoi(argument), kitsune__wait_set_idle_work(slice),
        kitsune__request_raise(KITSUNE__PENDING_RETIRE), say("working\n");
    else if (strcmp(line, "slices") == 0)
        say("slices %d\n", idle_slices);
    else if (strcmp(line, "show-wait") == 0)
        show_wait(atoi(argument));
    else if (strcmp(line, "pending") == 0)
        say("pending %d\n", gate.pending & KITSUNE__PENDING_UPDATE ? 1 : 0);
    else if (strcmp(line, "child-pending") == 0)
        ask_child();
    else if (strcmp(line, "forks") == 0)
        fork_often(atoi(argument)), say("forked\n");
    else if (strcmp(line, "crowd") == 0)
        crowd(atoi(argument));
    else if (strcmp(line, "disperse") == 0)
        disperse();
    else if (strcmp(line, "clone-bare") == 0)
        clone_bare();
    else if (strcmp(line, "use-up-descriptors") == 0)
        use_up_descriptors(0);
    else if (strcmp(line, "leave-one-descriptor") == 0)
        use_up_descriptors(1);
    else if (strcmp(line, "grow") == 0)
        grow((size_t)atoi(argument));
    else if (strcmp(line, "chroot") == 0)
        say("chroot %d\n", chroot(argument) == 0 && chdir("/") == 0);
    else
        say("what? %s\n", line);
}

static void read_lines(void) {
    static char buffer[8192];
    static size_t used;
    ssize_t got = read(0, buffer + used, sizeof buffer - used);
    char *end;

    if (got == 0)
        _exit(0);
    if (got < 0)
        return;
    used += (size_t)got;
    while ((end = memchr(buffer, '\n', used))) {
        char line[8192];
        size_t length = (size_t)(end - buffer);

        memcpy(line, buffer, length);
        line[length] = '\0';
        used -= length + 1;
        memmove(buffer, end + 1, used);
        obey(line);
    }
}

static void set_running(char **texts) {
    strcpy(running.program, texts[0]);
    strcpy(running.version, texts[1]);
    for (int i = 0; i < KITSUNE_BUILD_ID_SIZE; i++)
        sscanf(texts[2] + 2 * i, "%2hhx", &running.build_id[i]);
    memcpy(running.version_id, running.build_id, sizeof running.version_id);
}

int main(int count, char **arguments) {
    char why[256] = "prepare";

    if (count != 5)
        return 2;
    kitsune__threads_start();
    if (kitsune__request_prepare() < 0 || kitsune__request_gate_add(&gate) < 0)
        say("failed %s\n", strerror(errno));
    set_running(arguments + 2);
    if (kitsune__request_start(&running, why, sizeof why) < 0)
        say("failed %s\n", why);
    else
        say("ready %d\n", (int)getpid());
    epoll_fd = epoll_create1(0);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &(struct epoll_event){.events = EPOLLIN});
    for (;; rounds++) {
        int result;

        update_point();
        result = wait_for_input(arguments[1]);
        if (result < 0) { /* a server that takes EINTR for an error */
            say("wait failed: %s\n", strerror(errno));
            _exit(9);
        }
        if (result > 0)
            read_lines();
    }
}
