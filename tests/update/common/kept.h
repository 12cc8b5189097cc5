/*
 * The file that $FAIL_FILE names says what a new version does: "main" or "thread" changes all and crashes
 * there, "keep" changes all, "user" has libc change the groups of all threads.
 *
 * What the process and its threads have of the kernel and of libc, besides memory. `settle(n)` sets all
 * of it to values that n tells apart, `print_kept` shows it.
 */
#ifndef KEPT_H
#define KEPT_H

#include <grp.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "serve.h"

#define ALTSTACK_SIZE 65536

static pthread_t worker;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char shown[64]; /* what the thread has; under the lock */

static char altstacks[3][ALTSTACK_SIZE];

static void on_usr1(int number)
{
    (void)number;
    printf("USR1 in %d\n", VERSION);
}

static void settle(int number)
{
    struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};
    struct itimerval timer = {{1000 * number, 0}, {1000 * number, 0}};
    struct rlimit limit = {100 + number, 200};
    stack_t stack = {.ss_sp = altstacks[number], .ss_size = ALTSTACK_SIZE};
    char name[16];
    sigset_t mask;
    cpu_set_t cpu;

    sigemptyset(&mask);
    sigaddset(&mask, SIGRTMIN + number);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGUSR2, number == 1 ? SIG_IGN : SIG_DFL);
    sigaltstack(&stack, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    setlocale(LC_NUMERIC, number == 1 ? "C.UTF-8" : "C");
    setenv("KEPT", number == 1 ? "one" : "two", 1);
    umask(number == 1 ? 027 : 077);
    if (chdir(number == 1 ? "/usr" : "/") != 0)
        exit(2);
    setrlimit(RLIMIT_NPROC, &limit);
    snprintf(name, sizeof name, "kept-%d", number);
    prctl(PR_SET_NAME, name);
    setpriority(PRIO_PROCESS, 0, number);
    CPU_ZERO(&cpu);
    CPU_SET(number - 1, &cpu);
    sched_setaffinity(0, sizeof cpu, &cpu);
    syscall(SYS_setgroups, 1, &(gid_t){1000 + number}); /* of this thread alone */
    prctl(PR_SET_CHILD_SUBREAPER, number == 1);
    prctl(PR_SET_PDEATHSIG, number == 1 ? SIGKILL : SIGTERM);
    prctl(PR_SET_TIMERSLACK, 50000 + number);
    prctl(PR_SET_DUMPABLE, number == 1);
}

static unsigned shown_mask(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return mask;
}

static void print_kept(void)
{
    char directory[64], name[16];
    struct sigaction usr1, usr2;
    struct itimerval timer;
    struct rlimit limit;
    stack_t stack;
    sigset_t mask;
    cpu_set_t cpu;
    gid_t group = 0;
    int reaper = 0, death = 0, stack_number = 0, blocked = 0;

    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int number = 1; number <= 2; number++)
        blocked += sigismember(&mask, SIGRTMIN + number) * number;
    sigaction(SIGUSR1, NULL, &usr1);
    sigaction(SIGUSR2, NULL, &usr2);
    sigaltstack(NULL, &stack);
    for (int number = 1; number <= 2; number++)
        stack_number += (stack.ss_sp == altstacks[number]) * number;
    getitimer(ITIMER_REAL, &timer);
    getrlimit(RLIMIT_NPROC, &limit);
    prctl(PR_GET_NAME, name);
    sched_getaffinity(0, sizeof cpu, &cpu);
    prctl(PR_GET_CHILD_SUBREAPER, &reaper);
    prctl(PR_GET_PDEATHSIG, &death);
    if (getgroups(1, &group) != 1)
        group = 0;
    printf("mask %d own handler %d usr2 %s altstack %d timer %ld locale %s env %s umask %o in %s "
           "nproc %ld name %s nice %d cpu %d reaper %d death %d slack %d dumpable %d group %u\n",
           blocked, usr1.sa_handler == on_usr1, usr2.sa_handler == SIG_IGN ? "ignored" : "default",
           stack_number, (long)timer.it_interval.tv_sec, setlocale(LC_NUMERIC, NULL),
           getenv("KEPT"), shown_mask(), getcwd(directory, sizeof directory),
           (long)limit.rlim_cur, name, getpriority(PRIO_PROCESS, 0),
           CPU_ISSET(1, &cpu) + 1, reaper, death, prctl(PR_GET_TIMERSLACK),
           prctl(PR_GET_DUMPABLE), group);
}

/* ---- a thread's own -------------------------------------------------------------------------- */

static int is_told(const char *word)
{
    char text[16] = "";
    FILE *file = fopen(getenv("FAIL_FILE"), "r");

    if (file) {
        if (!fgets(text, sizeof text, file))
            text[0] = '\0';
        fclose(file);
    }
    return strcmp(text, word) == 0;
}

static void settle_thread(int number)
{
    char name[16];

    snprintf(name, sizeof name, "worker-%d", number);
    prctl(PR_SET_NAME, name);
    setpriority(PRIO_PROCESS, 0, 2 + number);
}

static void show_thread(void)
{
    char name[16];

    prctl(PR_GET_NAME, name);
    pthread_mutex_lock(&lock);
    snprintf(shown, sizeof shown, "%s nice %d", name, getpriority(PRIO_PROCESS, 0));
    pthread_mutex_unlock(&lock);
}

static void *work(void *argument)
{
    struct timespec while_nobody_asks = {0, 1000000};

    if (!kitsune_is_updating()) {
        settle_thread(1);
    } else if (is_told("thread") || is_told("keep")) {
        settle_thread(2);
        if (is_told("thread"))
            abort();
    }
    for (;;) {
        kitsune_update("work");
        show_thread();
        nanosleep(&while_nobody_asks, NULL);
    }
    return argument;
}

static void print_thread(void)
{
    pthread_mutex_lock(&lock);
    printf("%s\n", shown);
    pthread_mutex_unlock(&lock);
}

#endif
