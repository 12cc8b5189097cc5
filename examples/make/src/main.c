/* Takes lines "NAME POINTS" from a FIFO and prints what the player has now, and which rank. */
#include "config.h"

#include <fcntl.h>
#include <kitsune.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scores.h"

static struct scores scores;
static int input = -1;

static const struct rank {
    int from;
    const char *name;
} ranks[] = {
#include "ranks.h"
};

static const char *rank_of(int points)
{
    const char *found = "nobody";
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks && points >= ranks[i].from; i++)
        found = ranks[i].name;
    return found;
}

static void take_line(const char *line)
{
    char name[24];
    int points;
    struct player *player;
    if (sscanf(line, "%23s %d", name, &points) != 2 || !(player = scores_player(&scores, name)))
        return;
    player->points += points;
    printf("%s %d %s\n", player->name, player->points, rank_of(player->points));
    fflush(stdout);
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

int main(int argc, char **argv)
{
    if (!kitsune_is_updating() && argc == 2 && mkfifo(argv[1], 0600) == 0)
        input = open(argv[1], O_RDWR); /* for writing too: it then never ends */
    kitsune_do_automigrate();
    if (input < 0) {
        fprintf(stderr, "usage: %s NEW-FIFO\n", argv[0]);
        return 2;
    }
    printf("%s\n", PACKAGE_STRING);
    fflush(stdout);
    for (;;) {
        struct pollfd ready = {.fd = input, .events = POLLIN};
        kitsune_update("turn");
        if (poll(&ready, 1, -1) > 0)
            take_lines();
    }
}
