/*
 * A server for update scenarios: a command is a line on descriptor 0, the answer what `answer`
 * prints, ended by a line with a full stop. The update point stands between two commands.
 */
#ifndef SERVE_H
#define SERVE_H

#include <kitsune.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void answer(const char *word, const char *rest);

static void serve_line(char *line)
{
    char *rest = line + strcspn(line, " ");

    if (*rest)
        *rest++ = '\0';
    answer(line, rest);
    printf(".\n");
    fflush(stdout);
}

__attribute__((unused)) static void serve(void)
{
    char line[256];
    size_t length = 0;

    for (;;) {
        struct pollfd input = {.fd = 0, .events = POLLIN};

        if (length == 0)
            kitsune_update("serve");
        if (poll(&input, 1, -1) != 1) /* a request ends it like a time-out */
            continue;
        if (read(0, line + length, 1) != 1)
            return;
        if (line[length] == '\n') {
            line[length] = '\0';
            serve_line(line);
            length = 0;
        } else if (length < sizeof line - 1) {
            length++;
        }
    }
}

#endif
