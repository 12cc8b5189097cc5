/*
 * Delivers a signal at every single instruction of a wrapped call, and while it sleeps in the kernel: each
 * must end the call. Prints the number of places; exit status 1 names the first that slept on.
 *
 *   wait_steps quick|long kick      a kick for a request
 *   wait_steps quick|long cancel    a cancellation of the thread, whose kick comes at that place
 *   wait_steps quick|long handler   the same while a signal handler has interrupted the call there
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"
#include "control.h"
#include "request.h"
#include "thread.h"
#include "wait.h"

extern const char kitsune__wait_uncancelled[], kitsune__uncancelled_end[];
extern const char kitsune__poll_end[];

/* The block of assembly that is stepped through: of the quick calls, or the other. */
static const char *block = (const char *)kitsune__call_poll, *block_end = kitsune__poll_end;

/* The signal that is delivered. */
static int delivered = SIGURG, is_cancelled;

enum { GIVEN_UP = 14, LIMIT_S = 5 };

static void on_kick(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    kitsune__request_raise(KITSUNE__PENDING_UPDATE);
    kitsune__wait_interrupt(context);
}

/* Its own kick comes when the handler is over, where the call was interrupted. */
static void on_cancel(int number, siginfo_t *info, void *context) {
    static int has_begun;

    (void)number;
    (void)info;
    if (has_begun++)
        kitsune__wait_cancel(context);
    else
        pthread_cancel(pthread_self());
}

static void on_cancel_kick(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    kitsune__wait_cancel(context);
}

static void on_other_signal(int number) {
    (void)number;
    pthread_cancel(pthread_self());
}

static void handle(void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction other = {.sa_handler = on_other_signal, .sa_flags = SA_RESTART};

    sigaction(SIGURG, &action, NULL);
    sigaction(SIGUSR1, &other, NULL);
}

static int wait_in_block(void) {
    struct pollfd none = {-1, POLLIN, 0};

    return block_end == kitsune__poll_end ? kitsune__call_poll(&none, 1, -1)
                                          : kitsune__call_ppoll(&none, 1, NULL, NULL);
}

static void end_well(void *ignored) {
    (void)ignored;
    _exit(0);
}

/* Waits for ever, unless it is kicked. Ends with the result: 0. */
static void child(void) {
    handle(!is_cancelled ? on_kick : delivered == SIGURG ? on_cancel : on_cancel_kick);
    alarm(LIMIT_S);
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    if (!is_cancelled)
        _exit(wait_in_block() == 0 ? 0 : 1);
    pthread_cleanup_push(end_well, NULL);
    wait_in_block();
    pthread_cleanup_pop(0);
    _exit(1);
}

static long place(pid_t pid) {
    struct user_regs_struct registers;

    ptrace(PTRACE_GETREGS, pid, 0, &registers);
    return (long)registers.rip;
}

static int step(pid_t pid) {
    int status;

    ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
    waitpid(pid, &status, 0);
    return WIFSTOPPED(status);
}

/* Steps to the block's first instruction and `steps` further. Returns 0 if that would be beyond the
 * system call, which does not come back by itself. */
static int step_to(pid_t pid, int steps) {
    int status;

    waitpid(pid, &status, 0);
    while (place(pid) != (long)block)
        if (!step(pid))
            return 0;
    for (int i = 0; i < steps; i++) {
        if (place(pid) == (long)block_end - 2) /* the syscall instruction has two bytes */
            return 0;
        step(pid);
    }
    return 1;
}

static int finish(pid_t pid, int number) {
    int status;

    ptrace(PTRACE_CONT, pid, 0, number);
    waitpid(pid, &status, 0);
    while (WIFSTOPPED(status)) {
        int stopped_by = WSTOPSIG(status);

        ptrace(PTRACE_CONT, pid, 0, stopped_by);
        waitpid(pid, &status, 0);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void sleep_ms(long ms) {
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

/* Kicked in the kernel's sleep: no tracing, just later. */
static int kick_asleep(void) {
    pid_t pid = fork();
    int status;

    if (pid == 0)
        child();
    waitpid(pid, &status, 0);
    ptrace(PTRACE_DETACH, pid, 0, 0);
    sleep_ms(200);
    kill(pid, delivered);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(int argc, char **argv) {
    int steps, result;

    if (argc != 3)
        return 2;
    kitsune__threads_start();
    kitsune__wait_open(&kitsune__control_gate->pending);
    if (strcmp(argv[1], "long") == 0) {
        block = kitsune__wait_uncancelled;
        block_end = kitsune__uncancelled_end;
    }
    is_cancelled = strcmp(argv[2], "kick") != 0;
    delivered = strcmp(argv[2], "handler") == 0 ? SIGUSR1 : SIGURG;

    for (steps = 0;; steps++) {
        pid_t pid = fork();

        if (pid == 0)
            child();
        if (!step_to(pid, steps)) {
            kill(pid, SIGKILL);
            waitpid(pid, &result, 0);
            break;
        }
        result = finish(pid, delivered);
        if (result != 0) {
            printf("slept on after a signal at instruction %d: %d\n", steps, result);
            return 1;
        }
    }
    result = kick_asleep();
    printf("%d places, asleep: %d\n", steps, result);
    return result != 0;
}
