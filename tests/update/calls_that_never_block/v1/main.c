#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#ifndef VERSION
#define VERSION 1
#endif

/* Longer than calls are given to end by themselves, when an update has been asked for. */
#define LONG_MS 300

static int armed, full[2], empty[2], sockets[2], file;
static char results[5][16];

static void ignore(int number)
{
    (void)number;
}

/* This program has a handler that ends calls, so it may be told EINTR where a call blocks. */
static void arm(void)
{
    struct sigaction action = {.sa_handler = ignore};
    char name[] = "/tmp/never-blocks-XXXXXX";

    sigaction(SIGUSR1, &action, NULL);
    file = mkstemp(name);
    unlink(name);
    if (pipe(full) || pipe(empty) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) ||
        write(file, "file", 4) != 4 || write(full[1], "full", 4) != 4 || write(sockets[1], "data", 4) != 4)
        _exit(9);
    fcntl(empty[0], F_SETFL, O_NONBLOCK);
    lseek(file, 0, SEEK_SET);
    armed = 1;
}

static void note(int number, long result)
{
    if (result < 0)
        snprintf(results[number], sizeof results[number], "%s",
                 errno == EAGAIN ? "EAGAIN" : errno == EINTR ? "EINTR" : "another");
    else
        snprintf(results[number], sizeof results[number], "%ld", result);
}

/* What a callback does that comes between a request and the update point. */
static void read_all(void)
{
    struct timespec start, now;
    char bytes[8];

    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < LONG_MS);
    note(0, read(full[0], bytes, sizeof bytes));
    note(1, read(empty[0], bytes, sizeof bytes));
    note(2, recv(sockets[0], bytes, sizeof bytes, 0));
    note(3, recv(sockets[0], bytes, sizeof bytes, MSG_DONTWAIT));
    note(4, read(file, bytes, sizeof bytes));
    armed = 0;
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "arm") == 0) {
        arm();
        printf("armed\n");
    } else {
        printf("%d %s %s %s %s %s\n", VERSION, results[0], results[1], results[2], results[3], results[4]);
    }
}

int main(void)
{
    char line[256];
    size_t length = 0;

    kitsune_do_automigrate();
    for (;;) {
        struct pollfd input = {.fd = 0, .events = POLLIN};

        if (length == 0)
            kitsune_update("serve");
        if (poll(&input, 1, -1) != 1) {
            if (armed)
                read_all();
            continue;
        }
        if (read(0, line + length, 1) != 1)
            return 0;
        if (line[length++] == '\n') {
            line[length - 1] = '\0';
            length = 0;
            serve_line(line);
        }
    }
}
