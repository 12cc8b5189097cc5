#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "fail.h"
#include "serve.h"
#include "world.h"

struct item {
    int value;
    struct item *next;
    int weight;
};

static struct item *items;
static struct world world;

extern char **environ;

/* In a rehearsal nobody sees what comes out of it but by the number of the line. */
#define EXPECT(condition)       \
    do {                        \
        if (!(condition))       \
            exit(__LINE__);     \
    } while (0)

static void harm_client(void)
{
    char text[16];
    struct iovec part = {"evil", 4};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    int on = 1;

    EXPECT(write(world.client, "evil", 4) == 4);
    EXPECT(send(world.client, "evil", 4, MSG_NOSIGNAL) == 4);
    EXPECT(sendmsg(world.client, &message, 0) == 4);
    EXPECT(writev(world.client, &part, 1) == 4);
    EXPECT(dup2(world.client, 200) == 200 && write(200, "evil", 4) == 4);
    EXPECT(dprintf(world.client, "evil") == 4);
    EXPECT(recv(world.client, text, sizeof text, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    EXPECT(read(world.pipe[0], text, sizeof text) == -1 && errno == EAGAIN);
    EXPECT(write(world.pipe[1], "evil", 4) == 4);
    EXPECT(accept(world.listener, NULL, NULL) == -1 && errno == EAGAIN);
    EXPECT(setsockopt(world.client, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0);
    EXPECT(fcntl(world.client, F_SETFL, O_NONBLOCK | O_RDWR) == 0);
    EXPECT(ioctl(world.client, FIONBIO, &on) == 0);
    EXPECT(shutdown(world.client, SHUT_RDWR) == 0);
    EXPECT(close(world.client) == 0);
    printf("noise\n");
    fflush(stdout);
    EXPECT(write(2, "noise\n", 6) == 6);
}

static void harm_files(void)
{
    char text[16] = "";
    FILE *file = fopen("log", "a");
    void *mapped;

    EXPECT(file && fprintf(file, "evil") == 4 && fclose(file) == 0);
    EXPECT(write(world.log, "evil", 4) == 4);
    EXPECT(read(world.data, text, 3) == 3 && strcmp(text, "345") == 0);
    EXPECT(lseek(world.data, 0, SEEK_SET) == 0);
    EXPECT(pwrite(world.data, "evil", 4, 0) == 4);
    EXPECT(ftruncate(world.data, 1) == 0);
    mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, world.data, 0);
    EXPECT(mapped != MAP_FAILED);
    memcpy(mapped, "evil", 4);
    EXPECT((file = fopen("data", "r+")) && fgets(text, 5, file) && strcmp(text, "0123") == 0);
    EXPECT(fputs("evil", file) >= 0 && fclose(file) == 0);
    EXPECT((file = fopen("new", "w+")) && fputs("new", file) >= 0 && fflush(file) == 0);
    rewind(file);
    EXPECT(fgets(text, sizeof text, file) && strcmp(text, "new") == 0 && fclose(file) == 0);
    EXPECT(open("none", O_RDWR) == -1 && errno == ENOENT);
    EXPECT(open("data", O_RDWR | O_CREAT | O_EXCL, 0600) == -1 && errno == EEXIST);
    EXPECT((file = fopen("/dev/null", "w")) && fputs("x", file) >= 0 && fclose(file) == 0);
    EXPECT(unlink("data") == 0 && rename("log", "lost") == 0 && mkdir("made", 0700) == 0);
    EXPECT(chmod("log", 0) == 0 && truncate("log", 0) == 0 && symlink("a", "b") == 0);
    EXPECT(flock(world.data, LOCK_EX) == 0);
}

/* The connection that waits there is not for the copy; but it is watched as before. */
static int watches_listener(void)
{
    char path[64], line[256], wanted[64];
    int found = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", world.epoll);
    snprintf(wanted, sizeof wanted, "tfd: %8d events: %8x data: %16x", world.listener,
             EPOLLIN | EPOLLERR | EPOLLHUP, 77);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        found |= strncmp(line, wanted, strlen(wanted)) == 0;
    return file && fclose(file) == 0 && found;
}

static void harm_kernel_objects(void)
{
    struct itimerspec never = {{0, 0}, {0, 0}};
    struct epoll_event ready;
    unsigned long count = 0;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    EXPECT(epoll_wait(world.epoll, &ready, 1, 0) == 0 && watches_listener());
    EXPECT(epoll_ctl(world.epoll, EPOLL_CTL_DEL, world.listener, NULL) == 0);
    EXPECT(read(world.event, &count, sizeof count) == 8 && count == 5);
    EXPECT(timerfd_settime(world.timer, 0, &never, NULL) == 0);
    EXPECT(fcntl(world.data, F_SETLK, &lock) == 0);
    EXPECT(*world.shared == 41);
    *world.shared = 13;
    umask(0777);
    EXPECT(chdir("/") == 0 && fchdir(open("/proc/self", O_RDONLY)) == 0);
}

static void harm_processes(void)
{
    char *const touch[] = {"touch", "touched", NULL};
    pid_t spawned;

    EXPECT(getpid() == world.self && getppid() == world.parent);
    EXPECT(kill(world.child, SIGKILL) == 0);
    EXPECT(kill(0, SIGUSR1) == 0);
    if (posix_spawn(&spawned, "/usr/bin/touch", NULL, NULL, touch, environ) == 0)
        waitpid(spawned, NULL, 0);
    EXPECT(system("touch touched") != 0);
    spawned = fork();
    if (spawned == 0)
        _exit(open("forked", O_CREAT | O_WRONLY, 0600) >= 0);
    EXPECT(spawned > 0 && waitpid(spawned, NULL, 0) == spawned);
}

static void harm_network(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons(world.port),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "made.sock"};
    int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    int local = socket(AF_UNIX, SOCK_STREAM, 0), pair[2];
    char text[16];

    EXPECT(connect(tcp, (void *)&name, sizeof name) == -1 && errno == ECONNREFUSED);
    EXPECT(bind(tcp, (void *)&name, sizeof name) == -1 && errno == EADDRINUSE);
    EXPECT(sendto(udp, "evil", 4, 0, (void *)&name, sizeof name) == 4);
    EXPECT(bind(local, (void *)&path, sizeof path) == 0 && listen(local, 5) == 0);
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    EXPECT(write(pair[0], "mine", 4) == 4 && read(pair[1], text, sizeof text) == 4);
    EXPECT(pipe(pair) == 0 && write(pair[1], "mine", 4) == 4 && read(pair[0], text, 9) == 4);
}

/* ---- what goes wrong -------------------------------------------------------------------------- */

void fail_in_rule(void);

void fail_in_rule(void)
{
    fail_at("rule");
}

static __attribute__((constructor)) void construct(void)
{
    fail_at("constructor");
}

void _kitsune_mainupdate_xform(void)
{
    fail_at("mainupdate");
}

struct old_item {
    int value;
    struct old_item *next;
};

static void spoil_old_state(void)
{
    struct old_item **first = kitsune_lookup_key_old("main.c/items");

    for (struct old_item *item = *first; item; item = item->next)
        item->value = -5;
    *first = NULL;
}

static void answer(const char *word, const char *rest)
{
    int weight = 0;

    (void)rest;
    for (const struct item *item = items; item; item = item->next)
        weight += item->weight;
    if (strcmp(word, "look") == 0)
        print_world(&world);
    else if (strcmp(word, "take") == 0)
        take(&world);
    else
        printf("2 %d\n", weight);
}

int main(void)
{
    fail_at("main");
    if (fail_at_is("main", "return"))
        return 0;
    kitsune_do_automigrate();
    fail_at("migrated");
    if (fail_at_is("main", "other"))
        for (;;)
            kitsune_update("another point");
    if (access("act", F_OK) == 0) {
        harm_network();
        harm_kernel_objects();
        EXPECT(fchdir(open(getenv("KT_DIR"), O_RDONLY)) == 0);
        harm_files();
        harm_processes();
        harm_client();
    }
    (void)accept_client;
    (void)open_world;
    serve();
    return world.child ? kill(world.child, SIGKILL) : 0;
}
