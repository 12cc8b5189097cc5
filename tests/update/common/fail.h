/* Failing on purpose, as the file named by $FAIL_FILE says: the place and the way, as words. */
#ifndef FAIL_H
#define FAIL_H

#include <fcntl.h>
#include <kitsune.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Spoils the state of the running version in the scenario's own way. */
static void spoil_old_state(void);

#ifdef FAIL_OTHERWISE
/* Fails in a way that is not among those below. */
static void fail_otherwise(const char *way);
#endif

static volatile int fail_zero E_MANUAL_MIGRATE;

static __attribute__((noinline)) int fail_deeper(volatile char *above)
{
    volatile char here[4096];

    here[0] = *above;
    return fail_deeper(here) + here[0];
}

static void fail_bus(void)
{
    int fd = fileno(tmpfile());
    volatile char *page;

    if (ftruncate(fd, 4096) != 0)
        return;
    page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (ftruncate(fd, 0) == 0)
        fail_zero = page[0];
}

/* Takes memory until there is no more. */
static void fail_greedy(void)
{
    while (memset(malloc(1 << 20), 1, 1 << 20))
        ;
}

static void fail_by(const char *way)
{
    char here = 0;

    if (strcmp(way, "spoil") == 0)
        spoil_old_state();
    if (strcmp(way, "segv") == 0 || strcmp(way, "spoil") == 0)
        *(volatile int *)16 = 1;
    else if (strcmp(way, "bus") == 0)
        fail_bus();
    else if (strcmp(way, "fpe") == 0)
        fail_zero = 1000 / fail_zero;
    else if (strcmp(way, "ill") == 0)
        __builtin_trap();
    else if (strcmp(way, "abrt") == 0)
        abort();
    else if (strcmp(way, "overflow") == 0)
        fail_zero = fail_deeper(&here);
    else if (strcmp(way, "loop") == 0)
        while (!fail_zero)
            ;
    else if (strcmp(way, "greedy") == 0)
        fail_greedy();
    else if (strcmp(way, "exit") == 0)
        exit(3);
    else if (strcmp(way, "_exit") == 0)
        _exit(3);
#ifdef FAIL_OTHERWISE
    else
        fail_otherwise(way);
#endif
}

/* Returns non-zero if this is the place and `way` was asked for, so that the caller does it. */
static int fail_at_is(const char *place, const char *way)
{
    char text[64] = "", where[32] = "", how[32] = "";
    const char *path = getenv("FAIL_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return 0;
    if (read(fd, text, sizeof text - 1) > 0)
        sscanf(text, "%31s %31s", where, how);
    close(fd);
    if (strcmp(where, place) != 0)
        return 0;
    if (way)
        return strcmp(how, way) == 0;
    fail_by(how);
    return 0;
}

static void fail_at(const char *place)
{
    fail_at_is(place, NULL);
}

#endif
