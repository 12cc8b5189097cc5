/*
 * A server with children, a handler of its own faults, and a choice of how it waits; for it an
 * interrupted wait is fatal. The version is VERSION; version 2 has a field more.
 */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"

struct job {
    pid_t pid;
    int tell, result; /* pipes: any byte ends it; what it said */
#if VERSION == 2
    long extra;
#endif
    struct job *next;
};

static struct job *jobs;
static char method[16];
static int epoll = -1;
static int faults;
static char own_stack[65536];
static sigjmp_buf before_fault E_MANUAL_MIGRATE;

static void spoil_old_state(void)
{
}

static void on_fault(int number)
{
    char here;

    (void)number;
    faults += &here > own_stack && &here < own_stack + sizeof own_stack;
    siglongjmp(before_fault, 1);
}

static void catch_faults(void)
{
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};

    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

static int count_jobs(void)
{
    int count = 0;

    for (const struct job *job = jobs; job; job = job->next)
        count++;
    return count;
}

/* Passes update points and waits in wrapped calls, as its parent does. */
static void work(int tell, int result)
{
    struct pollfd told = {.fd = tell, .events = POLLIN};

    do
        kitsune_update("serve");
    while (poll(&told, 1, -1) != 1);
    dprintf(result, "child of %d with %d jobs", VERSION, count_jobs());
    exit(10 + VERSION);
}

static void start_job(void)
{
    struct job *job = calloc(1, sizeof *job);
    int tell[2], result[2];

    if (!job || pipe(tell) != 0 || pipe(result) != 0)
        exit(8);
    job->pid = fork();
    if (job->pid == 0)
        work(tell[0], result[1]);
    close(tell[0]);
    close(result[1]);
    job->tell = tell[1];
    job->result = result[0];
    job->next = jobs;
    jobs = job;
}

static void finish_jobs(void)
{
    for (struct job *job = jobs; job; job = jobs) {
        char text[64] = "";
        int status = 0;

        if (write(job->tell, "x", 1) != 1 || read(job->result, text, sizeof text - 1) < 0)
            exit(8);
        waitpid(job->pid, &status, 0);
        printf("%s ends with %d\n", text, WEXITSTATUS(status));
        close(job->tell);
        close(job->result);
        jobs = job->next;
        free(job);
    }
    printf("%d left\n", waitpid(-1, NULL, WNOHANG) < 0 ? 0 : 1);
}

static void answer(char *line)
{
    if (strncmp(line, "wait ", 5) == 0)
        snprintf(method, sizeof method, "%s", line + 5);
    else if (strcmp(line, "pid") == 0)
        printf("%d\n", (int)getpid());
    else if (strcmp(line, "version") == 0)
        printf("%d\n", VERSION);
    else if (strcmp(line, "child") == 0)
        start_job();
    else if (strcmp(line, "finish") == 0)
        finish_jobs();
    else if (strcmp(line, "fault") == 0) {
        if (sigsetjmp(before_fault, 1) == 0)
            *(volatile int *)16 = 1;
        printf("%d faults caught by %d\n", faults, VERSION);
    }
    printf(".\n");
    fflush(stdout);
}

/* Returns non-zero if there is input. */
static int wait_for_input(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    struct epoll_event event = {.events = EPOLLIN};
    fd_set set;
    int ready;

    FD_ZERO(&set);
    FD_SET(0, &set);
    if (strcmp(method, "select") == 0)
        ready = select(1, &set, NULL, NULL, NULL);
    else if (strcmp(method, "epoll") == 0)
        ready = epoll_wait(epoll, &event, 1, -1);
    else
        ready = poll(&input, 1, -1);
    if (ready < 0) {
        perror(method);
        exit(9);
    }
    return ready;
}

static void watch_input(void)
{
    struct epoll_event event = {.events = EPOLLIN};

    epoll = epoll_create1(0);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event) != 0)
        exit(8);
}

static void daemonise(void)
{
    if (fork() != 0)
        _exit(0);
    setsid();
}

int main(void)
{
    static char line[256];
    static size_t length;

    fail_at("main");
    if (!kitsune_is_updating()) {
        if (getenv("DAEMON"))
            daemonise();
        watch_input();
    }
    catch_faults();
    kitsune_do_automigrate();
    fail_at("migrated");
    for (;;) {
        kitsune_update("serve");
        if (!wait_for_input())
            continue;
        if (length == sizeof line || read(0, line + length, 1) != 1)
            return 0;
        if (line[length++] == '\n') {
            line[length - 1] = '\0';
            length = 0;
            answer(line);
        }
    }
}

#endif
