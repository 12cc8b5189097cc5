/*
 * How a process that is updated gets the checked copy of its release: by a connection to an abstract socket of
 * the helper, which asks the kernel who connects. Such names belong to a namespace of networks. For a process
 * that is in another one than the helper there is a socket in that, as long as its update is under way.
 */
#define _GNU_SOURCE
#include "helper.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "platform.h"

#define QUEUE 128 /* processes of a tree come all at once; more than these wait */

/* ---- the answer ----------------------------------------------------------------------------- */

/* The update of the process that connects; NULL if it has taken none. */
static struct flight *flight_of_peer(struct helper *helper, int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return NULL;
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++) {
        struct flight *flight = &helper->flights[i];

        if (flight->control && flight->owner == peer.pid &&
            flight->control->state == KITSUNE__TAKEN)
            return flight;
    }
    return NULL;
}

static void send_descriptor(int connection, int fd) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } extra;
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &extra, .msg_controllen = sizeof extra};

    memset(&extra, 0, sizeof extra);
    extra.header.cmsg_level = SOL_SOCKET;
    extra.header.cmsg_type = SCM_RIGHTS;
    extra.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&extra.header), &fd, sizeof fd);
    sendmsg(connection, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* If a program has taken its request and wants the copy. */
static void serve_fetch(struct helper *helper, int fetcher) {
    int fd = accept4(fetcher, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct flight *flight = fd < 0 ? NULL : flight_of_peer(helper, fd);

    if (flight)
        send_descriptor(fd, flight->step == ALONE ? flight->copy : helper->round.copy);
    if (fd >= 0)
        close(fd);
}

/* ---- where it is listened ------------------------------------------------------------------- */

/* At the tree's name, in the present namespace of networks. */
static int listen_here(const struct helper *helper) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(helper->fetch_name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path + 1, helper->fetch_name, length);
    if (fd >= 0 &&
        bind(fd, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) == 0 &&
        listen(fd, QUEUE) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int kitsune__helper_listen_for_fetch(struct helper *helper) {
    static const char digits[] = "0123456789abcdef";
    struct kitsune__tree *tree = helper->tree;
    unsigned char token[16];
    size_t length;

    if (getrandom(token, sizeof token, GRND_NONBLOCK) != (ssize_t)sizeof token)
        return -1;
    length = kitsune__format(helper->fetch_name, sizeof helper->fetch_name, "kitsune-");
    for (size_t i = 0; i < sizeof token; i++) {
        helper->fetch_name[length++] = digits[token[i] >> 4];
        helper->fetch_name[length++] = digits[token[i] & 15];
    }
    helper->fetch_name[length] = '\0';
    memcpy(tree->fetch_name, helper->fetch_name, sizeof tree->fetch_name);
    helper->fetcher = listen_here(helper);
    return helper->fetcher;
}

static int open_networks(const char *process) {
    char path[48];

    kitsune__format(path, sizeof path, "/proc/%s/ns/net", process);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int are_same(int one, int other) {
    struct stat first, second;

    return fstat(one, &first) < 0 || fstat(other, &second) < 0 ||
           (first.st_dev == second.st_dev && first.st_ino == second.st_ino);
}

/* Without the right to go there the process says that it could not get the copy. */
void kitsune__helper_reach(struct helper *helper, struct flight *flight) {
    char number[16];
    int here = open_networks("self"), there;

    kitsune__format(number, sizeof number, "%d", flight->owner);
    there = open_networks(number);
    if (flight->fetcher < 0 && here >= 0 && there >= 0 && !are_same(here, there) &&
        setns(there, CLONE_NEWNET) == 0) {
        flight->fetcher = listen_here(helper);
        setns(here, CLONE_NEWNET);
    }
    if (here >= 0)
        close(here);
    if (there >= 0)
        close(there);
}

void kitsune__helper_forget_fetcher(struct flight *flight) {
    if (flight->fetcher >= 0)
        close(flight->fetcher);
    flight->fetcher = -1;
}

unsigned kitsune__helper_poll_fetchers(const struct helper *helper, struct pollfd *fds) {
    unsigned count = 0;

    fds[count++] = (struct pollfd){helper->fetcher, POLLIN, 0};
    for (uint32_t i = 0; helper->flight_count && i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].fetcher >= 0)
            fds[count++] = (struct pollfd){helper->flights[i].fetcher, POLLIN, 0};
    return count;
}

void kitsune__helper_serve_fetches(struct helper *helper) {
    serve_fetch(helper, helper->fetcher);
    for (uint32_t i = 0; helper->flight_count && i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].fetcher >= 0)
            serve_fetch(helper, helper->flights[i].fetcher);
}
