/*
 * A server that closes one end of a pair of sockets, then looks whether the other end sees that: it does
 * not while another process holds the end. The pair is of the time before the last update point. Much
 * memory, so that a copy of the process takes its time to end. Obeys lines: "missed" tells how often
 * the end was not seen, of how many looks.
 */
#include <kitsune.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY ((size_t)64 << 20)

static int pair[2];
static unsigned long looks, missed;
static char *memory;

static void make_pair(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        exit(8);
}

static void look(void)
{
    char byte;

    close(pair[0]);
    looks++;
    if (recv(pair[1], &byte, 1, MSG_DONTWAIT) != 0)
        missed++;
    close(pair[1]);
    make_pair();
}

static void obey(void)
{
    char line[64];

    if (!fgets(line, sizeof line, stdin))
        exit(0);
    printf("%lu of %lu\n.\n", missed, looks);
    fflush(stdout);
}

int main(void)
{
    if (!kitsune_is_updating()) {
        setvbuf(stdin, NULL, _IONBF, 0);
        memory = memset(malloc(MEMORY), 1, MEMORY);
        make_pair();
    }
    kitsune_do_automigrate();
    for (;;) {
        struct pollfd input = {.fd = 0, .events = POLLIN};

        kitsune_update("serve");
        look();
        if (poll(&input, 1, 0) == 1)
            obey();
    }
}
