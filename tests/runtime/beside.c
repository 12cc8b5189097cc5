/* Drives kitsune__share: argv[1] says what is tried. Exit status 0: it was as it must be. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "beside.h"
#include "platform.h"

#define PARTS 3000

static uint32_t done[PARTS];
static long self;
static jmp_buf out;
static volatile int sink;

static int is_task(void) {
    return KITSUNE__SYSCALL(SYS_getpid) != self;
}

static void take_time(void) {
    for (int i = 0; i < 20000; i++)
        sink = i;
}

static void mark(void *context, uint64_t part) {
    (void)context;
    take_time();
    __atomic_add_fetch(&done[part], 1, __ATOMIC_RELAXED);
}

static void mark_or_fault(void *context, uint64_t part) {
    if (is_task() && part > 10)
        *(volatile int *)context = 0;
    mark(context, part);
}

static void mark_or_leave(void *context, uint64_t part) {
    mark(context, part);
    if (!is_task() && part > 10) {
        kitsune__share_end();
        longjmp(out, 1);
    }
}

static int all_are_done(void) {
    for (int i = 0; i < PARTS; i++)
        if (done[i] == 0)
            return printf("part %d was left out\n", i), 0;
    return 1;
}

/* Whoever is there is a task that was left. */
static int nobody_is_left(void) {
    return waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD;
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    int is_left = 0;
    self = KITSUNE__SYSCALL(SYS_getpid);
    if (strcmp(what, "alone") == 0)
        kitsune__share_alone();
    if (strcmp(what, "fault") == 0)
        kitsune__share(mark_or_fault, NULL, PARTS);
    else if (strcmp(what, "leave") != 0)
        kitsune__share(mark, NULL, PARTS);
    else if (setjmp(out) == 0)
        kitsune__share(mark_or_leave, NULL, PARTS);
    else
        is_left = 1;
    kitsune__share(mark, NULL, 0);
    return (is_left || all_are_done()) && nobody_is_left() ? 0 : 1;
}
