/*
 * What a server has of the world: a client, files, memory that is shared, a child, descriptors of every
 * kind. The directory is the working directory.
 */
#ifndef WORLD_H
#define WORLD_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

struct world {
    int listener, client, log, data, epoll, event, timer, pipe[2];
    int *shared;
    pid_t self, parent, child;
    unsigned short port;
};

static void open_listener(struct world *world)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof name;

    world->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(world->listener, (struct sockaddr *)&name, sizeof name) < 0 ||
        listen(world->listener, 5) < 0 ||
        getsockname(world->listener, (struct sockaddr *)&name, &size) < 0)
        exit(2);
    world->port = ntohs(name.sin_port);
}

static void open_world(struct world *world)
{
    struct itimerspec late = {{0, 0}, {1000, 0}};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct epoll_event watch = {.events = EPOLLIN, .data = {.u64 = 77}};

    umask(022);
    if (chdir(getenv("KT_DIR")) < 0)
        exit(2);
    open_listener(world);
    world->client = -1;
    world->log = open("log", O_WRONLY | O_APPEND | O_CREAT, 0600);
    world->data = open("data", O_RDWR | O_CREAT, 0600);
    world->epoll = epoll_create1(0);
    world->event = eventfd(5, EFD_NONBLOCK);
    world->timer = timerfd_create(CLOCK_MONOTONIC, 0);
    world->shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pipe(world->pipe) < 0 || write(world->log, "log\n", 4) != 4 ||
        write(world->data, "0123456789", 10) != 10 || lseek(world->data, 3, SEEK_SET) != 3 ||
        write(world->pipe[1], "piped", 5) != 5 || fcntl(world->data, F_SETLK, &lock) < 0)
        exit(2);
    *world->shared = 41;
    epoll_ctl(world->epoll, EPOLL_CTL_ADD, world->listener, &watch);
    timerfd_settime(world->timer, 0, &late, NULL);
    world->self = getpid();
    world->parent = getppid();
    world->child = fork();
    if (world->child == 0)
        for (;;)
            pause();
}

/* All of it that can be seen without changing it. */
static void print_world(const struct world *world)
{
    struct stat data, log;
    struct itimerspec left;
    struct epoll_event ready;
    char watches[32];
    int flags = fcntl(world->client, F_GETFL), delay = 0;
    socklen_t size = sizeof delay;

    fstat(world->data, &data);
    fstat(world->log, &log);
    timerfd_gettime(world->timer, &left);
    getsockopt(world->client, SOL_SOCKET, SO_KEEPALIVE, &delay, &size);
    snprintf(watches, sizeof watches, "%d", epoll_wait(world->epoll, &ready, 1, 0));
    printf("offset %ld size %ld log %ld shared %d client %x %d timer %d epoll %s child %d umask %o\n",
           (long)lseek(world->data, 0, SEEK_CUR), (long)data.st_size, (long)log.st_size,
           *world->shared, flags, delay, left.it_value.tv_sec > 0, watches,
           kill(world->child, 0) == 0 && waitpid(world->child, NULL, WNOHANG) == 0, umask(022));
}

static void accept_client(struct world *world)
{
    struct pollfd waiting = {.fd = world->listener, .events = POLLIN};

    while (poll(&waiting, 1, -1) != 1)
        ;
    world->client = accept(world->listener, NULL, NULL);
    printf("%d\n", world->client >= 0);
}

/* What the kernel holds for the program, taken: it must still be there. */
static void take(const struct world *world)
{
    char client[16] = "", piped[16] = "";
    unsigned long count = 0;
    int accepted = accept(world->listener, NULL, NULL);

    if (recv(world->client, client, sizeof client - 1, MSG_DONTWAIT) < 0 ||
        read(world->pipe[0], piped, sizeof piped - 1) < 0 ||
        read(world->event, &count, sizeof count) < 0)
        printf("lost: ");
    printf("%s %s %lu %d\n", client, piped, count, accepted >= 0);
}

#endif
