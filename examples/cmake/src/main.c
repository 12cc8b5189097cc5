/* Takes lines "MILLISECONDS TEXT" from a FIFO and prints each text when its time has come. */
#include <fcntl.h>
#include <kitsune.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "heap.h"

static struct heap heap E_MANUAL_MIGRATE;
static int input = -1;

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void take_line(char *line)
{
    struct reminder *made = calloc(1, sizeof *made);
    char *text = line;
    if (!made)
        return;
    made->due_ms = now_ms() + strtol(line, &text, 10);
    snprintf(made->text, sizeof made->text, "%s", text + strspn(text, " "));
    if (heap_add(&heap, made) != 0)
        free(made);
}

static void take_lines(void)
{
    char lines[4096];
    ssize_t length = read(input, lines, sizeof lines - 1);
    if (length <= 0)
        return;
    lines[length] = '\0';
    for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n"))
        take_line(line);
}

static void say_what_is_due(void)
{
    struct reminder *top;
    while ((top = heap_top(&heap)) && top->due_ms <= now_ms()) {
        printf("%s\n", top->text);
        fflush(stdout);
        free(heap_take(&heap));
    }
}

static int wait_ms(void)
{
    const struct reminder *top = heap_top(&heap);
    long left = top ? top->due_ms - now_ms() : 60000;
    return left < 0 ? 0 : (int)left + 1;
}

int main(int argc, char **argv)
{
    if (!kitsune_is_updating() && argc == 2 && mkfifo(argv[1], 0600) == 0)
        input = open(argv[1], O_RDWR); /* for writing too: it then never ends */
    kitsune_do_automigrate();
    MIGRATE_STATIC(heap);
    if (input < 0) {
        fprintf(stderr, "usage: %s NEW-FIFO\n", argv[0]);
        return 2;
    }
#ifdef HAVE_TIMERFD
    printf("reminder %s, timerfd\n", VERSION);
#else
    printf("reminder %s\n", VERSION);
#endif
    fflush(stdout);
    for (;;) {
        struct pollfd ready = {.fd = input, .events = POLLIN};
        kitsune_update("turn");
        if (poll(&ready, 1, wait_ms()) > 0)
            take_lines();
        say_what_is_due();
    }
}
