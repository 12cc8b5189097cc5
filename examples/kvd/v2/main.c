/*
 * kvd: a key-value server that speaks the protocol of redis. One thread, one event loop.
 *
 * kvd [--port N] [--bind ADDRESS]
 */
#define _GNU_SOURCE /* accept4 */

#include "client.h"
#include "keyspace.h"
#include "loop.h"
#include "server.h"
#include "statistics.h"
#include "version.h"

#include <kitsune.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_PORT 6380
#define BACKLOG 511

volatile sig_atomic_t server_stopping;
int64_t server_started_ms;
int server_port = DEFAULT_PORT;

static struct event listener;

/* A descriptor to give up when there are no more, so that a client can at least be refused. */
static int spare_fd = -1;

static void die(const char *what)
{
    fprintf(stderr, "kvd: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_stop(int signal_number)
{
    (void)signal_number;
    server_stopping = 1;
}

static void refuse_one(int fd)
{
    close(spare_fd);
    int refused = accept(fd, NULL, NULL);
    if (refused >= 0)
        close(refused);
    spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connection(struct event *event, uint32_t ready)
{
    (void)ready;
    int fd = accept4(event->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        client_accept(fd);
    } else if (errno == EMFILE || errno == ENFILE) {
        refuse_one(event->fd);
    }
}

static void listen_on(const char *address)
{
    struct sockaddr_in where = {.sin_family = AF_INET};
    socklen_t size = sizeof where;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    where.sin_port = htons((uint16_t)server_port);
    if (inet_pton(AF_INET, address, &where.sin_addr) != 1) {
        errno = EINVAL;
        die(address);
    }
    if (bind(fd, (struct sockaddr *)&where, sizeof where) != 0)
        die("bind");
    if (listen(fd, BACKLOG) != 0)
        die("listen");
    if (getsockname(fd, (struct sockaddr *)&where, &size) != 0)
        die("getsockname");
    server_port = ntohs(where.sin_port);
    listener = (struct event){.fd = fd, .interest = EPOLLIN, .handler = on_connection};
    loop_add(&listener);
}

static void usage(void)
{
    fprintf(stderr, "usage: kvd [--port N] [--bind ADDRESS]\n");
    exit(2);
}

static int port_number(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || port < 0 || port > 65535)
        usage();
    return (int)port;
}

/* Returns the address to listen on. */
static const char *read_options(int argc, char **argv)
{
    const char *address = "127.0.0.1";

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            usage();
        if (strcmp(argv[i], "--port") == 0)
            server_port = port_number(argv[i + 1]);
        else if (strcmp(argv[i], "--bind") == 0)
            address = argv[i + 1];
        else
            usage();
    }
    return address;
}

static void catch_signals(void)
{
    struct sigaction stop = {.sa_handler = on_stop};

    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void start(int argc, char **argv)
{
    const char *address = read_options(argc, argv);

    server_started_ms = now_ms();
    spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    loop_start();
    keyspace_start();
    statistics_start();
    listen_on(address);
    printf("kvd %s: ready on port %d\n", KVD_VERSION, server_port);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    kitsune_do_automigrate();
    catch_signals();
    if (!kitsune_is_updating())
        start(argc, argv);
    while (!server_stopping) {
        kitsune_update("main loop");
        loop_once();
    }
    printf("kvd %s: stopped\n", KVD_VERSION);
    return 0;
}
