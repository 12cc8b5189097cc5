/*
 * A server that closes one end of a pair of sockets, then looks whether the other end sees that: it does
 * not while another process holds the end. The pair is of the time before the last update point. Much
 * memory, so that a copy of the process takes its time to end. Obeys lines: "missed" tells how often
 * the end was not seen, of how many looks. It ends in an update that finds its other sockets changed.
 */
#include <arpa/inet.h>
#include <kitsune.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY ((size_t)64 << 20)

static int pair[2];
static int listener, outgoing, incoming; /* a connection to itself */
static char told[512];
static unsigned long looks, missed;
static char *memory;

static void make_pair(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        exit(8);
}

/* What there is to know of a socket. */
static size_t tell_socket(int of, char *text, size_t size)
{
    struct sockaddr_in own = {0}, peer = {0};
    socklen_t own_size = sizeof own, peer_size = sizeof peer, size_of_fact = sizeof(int);
    int type = 0, accepts = 0, has_peer;

    getsockname(of, (struct sockaddr *)&own, &own_size);
    has_peer = getpeername(of, (struct sockaddr *)&peer, &peer_size) == 0;
    getsockopt(of, SOL_SOCKET, SO_TYPE, &type, &size_of_fact);
    getsockopt(of, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size_of_fact);
    return (size_t)snprintf(text, size, "%d %d %d %d %d %d; ", ntohs(own.sin_port), (int)own_size,
                            has_peer, ntohs(peer.sin_port), type, accepts);
}

static void tell_sockets(char *text, size_t size)
{
    size_t length = tell_socket(listener, text, size);

    length += tell_socket(outgoing, text + length, size - length);
    tell_socket(incoming, text + length, size - length);
}

static void connect_to_itself(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    listener = socket(AF_INET, SOCK_STREAM, 0);
    outgoing = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        connect(outgoing, (struct sockaddr *)&address, size) != 0 ||
        (incoming = accept(listener, NULL, NULL)) < 0)
        exit(8);
    tell_sockets(told, sizeof told);
}

/* The new version asks what the old one knew; if nothing may be sent to the world, too. */
static void compare_sockets(void)
{
    char now[sizeof told];
    struct pollfd input = {.fd = incoming, .events = POLLIN | POLLOUT};

    tell_sockets(now, sizeof now);
    if (strcmp(now, told) != 0 || poll(&input, 1, 0) != 1 || input.revents != POLLOUT)
        abort();
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
        connect_to_itself();
    }
    kitsune_do_automigrate();
    if (kitsune_is_updating())
        compare_sockets();
    for (;;) {
        struct pollfd input = {.fd = 0, .events = POLLIN};

        kitsune_update("serve");
        look();
        if (poll(&input, 1, 0) == 1)
            obey();
    }
}
