/*
 * The helper process of a tree: holds the control socket, checks releases, kicks the program or a child of
 * it, and tells what came of it. Here it starts, waits, reads requests and answers; what it does about an
 * update of one process or of all is in helper_update.c and helper_round.c, what it tells of them in
 * helper_status.c. See request.h, control.h and tree.h.
 *
 * It ends when the program has ended and all its children have; if they live on, it speaks for them.
 */
#define _GNU_SOURCE
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "platform.h"
#include "sanitizer.h"

#define CLIENT_LIMIT_NS (10 * SECOND)
#define MAX_WORDS 5
#define LOOK_NS 1000000ull /* how often a running transaction is looked at */
#define ORPHAN_LIMIT_NS (30 * SECOND)
#define ABSENT_PIDFD_NS (SECOND / 2)
#define STACK_BELOW 262144u
#define STACK_ABOVE 16384u

static void end(void) __attribute__((noreturn));

static void end(void) {
    for (;;)
        kitsune__syscall(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

/* ---- clients ------------------------------------------------------------------------------- */

/* The process and the two versions' names, at the end of every answer about an update. */
void kitsune__helper_put_versions(struct helper *helper, const struct kitsune__control *control,
                                  const struct kitsune__running *from) {
    kitsune__answer_number(&helper->answer, "pid", (uint64_t)control->owner);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "program", from->program);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "from", from->version);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "to", control->release.version);
}

static void drop_client(struct helper *helper, int index) {
    close(helper->clients[index].fd);
    helper->clients[index].fd = -1;
}

/* Sends the answer; a client that does not read its answers loses the connection, never our time. */
void kitsune__helper_send(struct helper *helper, int index) {
    struct client *client = &helper->clients[index];

    kitsune__answer_end(&helper->answer);
    if (client->fd >= 0 && send(client->fd, helper->answer.text, helper->answer.used,
                                MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)helper->answer.used)
        client->closing = 1;
    client->until = kitsune__now_ns() + CLIENT_LIMIT_NS;
}

void kitsune__helper_refuse(struct helper *helper, int index,
                            const struct kitsune__control *control, const char *outcome,
                            uint32_t code, const char *reason) {
    kitsune__answer_begin(&helper->answer, "done");
    kitsune__answer_text(&helper->answer, "outcome", outcome, 64);
    kitsune__answer_code(&helper->answer, code);
    kitsune__answer_text(&helper->answer, "reason", reason, 4096);
    kitsune__helper_put_versions(helper, control, &control->running);
    kitsune__helper_send(helper, index);
}

void kitsune__helper_tell_progress(struct helper *helper, int index,
                                   const struct kitsune__control *control, const char *event) {
    kitsune__answer_begin(&helper->answer, event);
    kitsune__helper_put_versions(helper, control, &control->running);
    kitsune__helper_send(helper, index);
}

/* ---- requests ------------------------------------------------------------------------------ */

/* Undoes the percent encoding in place. Returns 0 if it is malformed or hides a zero byte. */
static int decode(char *text) {
    char *to = text;

    for (const char *from = text; *from; from++) {
        if ((unsigned char)*from < 0x20 || *from == 0x7f)
            return 0;
        if (*from == '%') {
            int high = kitsune__helper_digit_value(from[1]),
                low = high < 0 ? -1 : kitsune__helper_digit_value(from[2]);

            if (low < 0 || (high == 0 && low == 0))
                return 0;
            *to++ = (char)(high << 4 | low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return 1;
}

static int read_ms(const char *text, uint64_t *ms) {
    return kitsune__limits_read_ms(text, NULL, ms);
}

/* Splits at single spaces and decodes; returns the number of words, 0 if the line is malformed. */
static unsigned split(char *line, char *words[MAX_WORDS]) {
    unsigned count = 0;

    for (;;) {
        char *space = strchr(line, ' ');

        if (space)
            *space = '\0';
        if (count == MAX_WORDS || !*line || !decode(line))
            return 0;
        words[count++] = line;
        if (!space)
            return count;
        line = space + 1;
    }
}

static void answer_bad_request(struct helper *helper, int index, const char *reason) {
    kitsune__helper_refuse(helper, index, helper->speaker, "error", KITSUNE__BAD_REQUEST, reason);
}

/* The place of the process that a word names; NULL: the client was told why not. */
static struct kitsune__control *find_process(struct helper *helper, int index, const char *word) {
    uint64_t pid = 0;
    char reason[160];

    for (; *word >= '0' && *word <= '9' && pid <= INT32_MAX; word++)
        pid = pid * 10 + (uint64_t)(*word - '0');
    if (*word || !pid) {
        answer_bad_request(helper, index, "the last word is no process id");
        return NULL;
    }
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *control = kitsune__tree_place(helper->tree, i);

        if ((uint64_t)control->owner == pid && kitsune__tree_owner(control))
            return control;
    }
    kitsune__format(reason, sizeof reason,
                    "process %lu is none of this tree's, or has no place in it",
                    (unsigned long)pid);
    kitsune__helper_refuse(helper, index, helper->speaker, "error", KITSUNE__NOT_IN_TREE, reason);
    return NULL;
}

static void serve_status(struct helper *helper, int index, char **words, unsigned count) {
    struct kitsune__control *control = helper->speaker;

    if (count > 2) {
        answer_bad_request(helper, index, "usage: status [PID]");
        return;
    }
    if (count == 2)
        control = find_process(helper, index, words[1]);
    if (control)
        kitsune__helper_answer_status(helper, index, control);
}

/* 0 is each time's default. */
static void serve_update(struct helper *helper, int index, char **words, unsigned count) {
    struct wish wish = {.control = helper->speaker, .is_rehearsal = words[0][0] == 'r'};

    if (count < 2 || (count > 2 && !kitsune__limits_read(words[2], &wish.limits)) ||
        (count > 3 && !read_ms(words[3], &wish.wait_ms))) {
        answer_bad_request(helper, index, "usage: update|rehearse PATH [LIMITS [WAIT_MS [PID]]]");
        return;
    }
    wish.path = words[1];
    if (!wish.wait_ms)
        wish.wait_ms = KITSUNE__DEFAULT_WAIT_MS;
    if (count > 4)
        wish.control = find_process(helper, index, words[4]);
    if (wish.control)
        kitsune__helper_start_update(helper, index, &wish);
}

static void serve_update_tree(struct helper *helper, int index, char **words, unsigned count) {
    struct wish wish = {.control = helper->speaker};
    int children_first = count == 5 && strcmp(words[4], "children-first") == 0;

    if (count != 5 || !kitsune__limits_read(words[2], &wish.limits) ||
        !read_ms(words[3], &wish.wait_ms) ||
        (!children_first && strcmp(words[4], "parent-first") != 0)) {
        answer_bad_request(helper, index,
                           "usage: update-tree PATH LIMITS WAIT_MS parent-first|children-first");
        return;
    }
    wish.path = words[1];
    if (!wish.wait_ms)
        wish.wait_ms = KITSUNE__DEFAULT_WAIT_MS;
    kitsune__helper_start_round(helper, index, &wish, children_first);
}

/* One line without its end. */
static void serve_line(struct helper *helper, int index, char *line) {
    char *words[MAX_WORDS];
    unsigned count = split(line, words);

    if (count == 0)
        answer_bad_request(helper, index, "the request is malformed");
    else if (strcmp(words[0], "status") == 0)
        serve_status(helper, index, words, count);
    else if (strcmp(words[0], "update") == 0 || strcmp(words[0], "rehearse") == 0)
        serve_update(helper, index, words, count);
    else if (strcmp(words[0], "update-tree") == 0)
        serve_update_tree(helper, index, words, count);
    else
        answer_bad_request(
            helper, index,
            "unknown request; known are 'status', 'update', 'rehearse' and 'update-tree'");
}

/* Serves the complete lines of a client, as long as none of them starts an update. */
static void serve_lines(struct helper *helper, int index) {
    struct client *client = &helper->clients[index];

    while (client->fd >= 0 && !client->closing && !client->is_waiting) {
        char *line_end = memchr(client->line, '\n', client->used);
        size_t length;

        if (!line_end) {
            if (client->used > LINE_LIMIT) {
                answer_bad_request(helper, index, "the request is longer than 65536 bytes");
                client->closing = 1;
            }
            return;
        }
        length = (size_t)(line_end - client->line);
        *line_end = '\0';
        if (strlen(client->line) != length)
            answer_bad_request(helper, index, "the request is malformed");
        else
            serve_line(helper, index, client->line);
        client->used -= length + 1;
        memmove(client->line, line_end + 1, client->used);
    }
}

static void read_client(struct helper *helper, int index) {
    struct client *client = &helper->clients[index];
    size_t room = sizeof client->line - client->used;
    char spill[256]; /* while its update runs, a full buffer must still notice the end */
    ssize_t got = room ? recv(client->fd, client->line + client->used, room, MSG_DONTWAIT)
                       : recv(client->fd, spill, sizeof spill, MSG_DONTWAIT);

    if (got > 0 && room) {
        if (client->used == 0)
            client->until = kitsune__now_ns() + CLIENT_LIMIT_NS;
        client->used += (size_t)got;
    } else if (got == 0 || !room || (errno != EAGAIN && errno != EINTR)) {
        client->closing = 1;
    }
}

static int may_ask(const struct helper *helper, int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == helper->user);
}

/* Index of a free place, or -1. */
static int free_place(const struct helper *helper) {
    for (int i = 0; i < MAX_CLIENTS; i++)
        if (helper->clients[i].fd < 0)
            return i;
    return -1;
}

static void accept_client(struct helper *helper) {
    int index = free_place(helper), fd;

    if (index < 0)
        return;
    fd = accept4(helper->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    helper->clients[index].fd = fd;
    helper->clients[index].used = 0;
    helper->clients[index].closing = 0;
    helper->clients[index].is_waiting = 0;
    helper->clients[index].until = kitsune__now_ns() + CLIENT_LIMIT_NS;
    if (!may_ask(helper, fd)) {
        kitsune__helper_refuse(helper, index, helper->speaker, "error", KITSUNE__NOT_PERMITTED,
                               "only root and the user that started the program may ask");
        drop_client(helper, index); /* at once: it must not hold a place */
    }
}

/* ---- the socket ---------------------------------------------------------------------------- */

/* Opens a directory that is ours alone, after making it. Returns -1 with the reason. */
static int open_directory(struct helper *helper, const char *path, char *why, size_t size) {
    struct stat status;
    int fd;

    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        kitsune__format(why, size, "%s cannot be made: %s", path, strerrordesc_np(errno));
        return -1;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        kitsune__format(why, size, "%s cannot be opened: %s", path, strerrordesc_np(errno));
    else if (status.st_uid != helper->user)
        kitsune__format(why, size, "%s belongs to uid %u, not to uid %u", path, status.st_uid,
                        helper->user);
    else if (status.st_mode & 077)
        kitsune__format(why, size, "%s is open to others; its mode must be 0700", path);
    else
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Binds below the directory's descriptor: no length limit, no way to put another directory there. The
 * socket gets its name when it listens: whoever sees it can connect. */
static int bind_socket(struct helper *helper, const char *path, char *why, size_t size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    char unready[sizeof helper->socket_name + 4];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    kitsune__format(unready, sizeof unready, "%s.new", helper->socket_name);
    kitsune__format(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s",
                    helper->directory, unready);
    unlinkat(helper->directory, unready, 0); /* of a process that had our number */
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        listen(fd, MAX_CLIENTS) == 0 &&
        fstatat(helper->directory, unready, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        renameat(helper->directory, unready, helper->directory, helper->socket_name) == 0) {
        helper->socket_inode = status.st_ino;
        return fd;
    }
    kitsune__format(why, size, "no socket can be made in %s: %s", path, strerrordesc_np(errno));
    unlinkat(helper->directory, unready, 0);
    if (fd >= 0)
        close(fd);
    return -1;
}

static int listen_in(struct helper *helper, const char *path, char *why, size_t size) {
    helper->directory = open_directory(helper, path, why, size);
    if (helper->directory < 0)
        return 0;
    helper->listener = bind_socket(helper, path, why, size);
    if (helper->listener < 0)
        close(helper->directory);
    return helper->listener >= 0;
}

static int belongs_to_us(const struct helper *helper, const char *path) {
    struct stat status;

    return path[0] == '/' && stat(path, &status) == 0 && status.st_uid == helper->user;
}

/* Tries the places in the order of docs/operations.md. A place that the user named is the only one. */
static int listen_anywhere(struct helper *helper) {
    struct kitsune__tree *tree = helper->tree;
    char path[300], *why = tree->failure;
    size_t size = sizeof tree->failure;

    why[0] = '\0';
    if (tree->runtime_directory[0]) {
        if (listen_in(helper, tree->runtime_directory, why, size))
            return 1;
        /* Later helpers may have fewer rights than the first had. */
        if (!tree->replacements)
            return 0;
    }
    kitsune__format(path, sizeof path, "%s/kitsune", tree->user_directory);
    if (belongs_to_us(helper, tree->user_directory) && listen_in(helper, path, why, size))
        return 1;
    if (helper->user == 0 && listen_in(helper, "/run/kitsune", why, size))
        return 1;
    kitsune__format(path, sizeof path, "/tmp/kitsune-%u", helper->user);
    return listen_in(helper, path, why, size);
}

/* Takes the name away, if it is still our socket's. */
static void remove_socket(struct helper *helper) {
    struct stat status;

    if (helper->listener < 0)
        return;
    if (fstatat(helper->directory, helper->socket_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        status.st_ino == helper->socket_inode)
        unlinkat(helper->directory, helper->socket_name, 0);
    close(helper->listener);
    helper->listener = -1;
}

/* ---- the program's end --------------------------------------------------------------------- */

/* The only child that is left, or the only one that leads a session; 0 if there is none such.
 * `count` gets the number of children that are left. */
static int32_t find_heir(struct helper *helper, unsigned *count) {
    int32_t only = 0, leader = 0;
    unsigned leaders = 0;

    *count = 0;
    for (unsigned i = 0; i < KITSUNE__CANDIDATES; i++) {
        int32_t pid = helper->tree->candidates[i].pid;

        if (pid == 0 || !kitsune__tree_is_alive(pid, UINT64_MAX))
            continue;
        (*count)++;
        only = pid;
        if (getsid(pid) == pid) {
            leader = pid;
            leaders++;
        }
    }
    if (*count == 1)
        return only;
    return leaders == 1 ? leader : 0;
}

static void drop_clients(struct helper *helper) {
    for (uint32_t i = 0; helper->flight_count && i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control == helper->speaker && helper->flights[i].step == ALONE)
            kitsune__helper_fail_flight(helper, &helper->flights[i]);
    for (int i = 0; i < MAX_CLIENTS; i++)
        if (helper->clients[i].fd >= 0 && !helper->clients[i].is_waiting)
            drop_client(helper, i);
}

/* The speaker has ended: whoever waits is told, and the name goes. */
static void become_orphan(struct helper *helper) {
    helper->orphan_since = helper->child_seen = kitsune__now_ns();
    remove_socket(helper);
    drop_clients(helper);
}

static void name_socket(struct helper *helper) {
    kitsune__format(helper->socket_name, sizeof helper->socket_name, "%d.sock",
                    helper->speaker->owner);
}

/* No child takes the channel over: the oldest one left lends its name to the socket. */
static void speak_for_another(struct helper *helper) {
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *control = kitsune__tree_place(helper->tree, i);

        if (!kitsune__tree_owner(control))
            continue;
        helper->speaker = control;
        helper->orphan_since = 0;
        if (helper->speaker_fd >= 0)
            close(helper->speaker_fd);
        helper->speaker_fd = (int)syscall(SYS_pidfd_open, control->owner, 0);
        name_socket(helper);
        if (listen_anywhere(helper))
            return;
        end();
    }
    end();
}

/* Offers the channel to a child, until one has taken it or none is left that could. */
static void look_after_children(struct helper *helper) {
    struct kitsune__tree *tree = helper->tree;
    uint64_t now = kitsune__now_ns(), waited = now - helper->orphan_since;
    unsigned count = 0;
    int32_t heir = tree->root == helper->root ? find_heir(helper, &count) : 0;

    if (count > 0)
        helper->child_seen = now;
    if (tree->adopted != helper->adopted)
        end();
    if (heir) {
        tree->heir = heir;
        kitsune__helper_kick(heir);
    } else if (count == 0 ? tree->forking <= 0 || now - helper->child_seen > FORKING_LIMIT_NS
                          : waited > ORPHAN_LIMIT_NS) {
        speak_for_another(helper);
    }
}

static int speaker_has_ended(struct helper *helper, short events) {
    if (helper->speaker_fd >= 0)
        return events != 0;
    return !kitsune__tree_owner(helper->speaker);
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* How long the helper may sleep; -1: until something comes. */
static int64_t next_wait(struct helper *helper, uint64_t now) {
    uint64_t until = UINT64_MAX;

    if (helper->orphan_since)
        return ORPHAN_NS;
    if (helper->speaker_fd < 0)
        until = now + ABSENT_PIDFD_NS;
    for (uint32_t i = 0; helper->flight_count && i < kitsune__tree_capacity(); i++) {
        const struct flight *flight = &helper->flights[i];
        uint64_t look = now + LOOK_NS;

        if (flight->control && flight->step == ALONE &&
            flight->control->state == KITSUNE__PENDING && !flight->control->look)
            look = flight->next_kick;
        if (flight->control && look < until)
            until = look;
    }
    if (helper->round.client >= 0 && now + LOOK_NS < until)
        until = now + LOOK_NS;
    if (helper->note_until && helper->note_until < until)
        until = helper->note_until;
    for (int i = 0; i < MAX_CLIENTS; i++)
        if (helper->clients[i].fd >= 0 && helper->clients[i].until < until)
            until = helper->clients[i].until;
    if (until == UINT64_MAX)
        return -1;
    return until > now ? (int64_t)(until - now) : 0;
}

/* What is polled for beside clients, and behind them what kitsune__helper_poll_fetchers adds. */
#define FIXED 2

static void wait_for_events(struct helper *helper, struct pollfd *fds) {
    int64_t wait = next_wait(helper, kitsune__now_ns());
    struct timespec limit = {wait / (int64_t)SECOND, wait % (int64_t)SECOND};
    unsigned count;

    /* Without a free place clients wait in the queue until an idle one has been sent away. */
    fds[0] = (struct pollfd){free_place(helper) < 0 ? -1 : helper->listener, POLLIN, 0};
    fds[1] = (struct pollfd){helper->orphan_since ? -1 : helper->speaker_fd, POLLIN, 0};
    for (int i = 0; i < MAX_CLIENTS; i++) {
        struct client *client = &helper->clients[i];
        /* Nothing is read that cannot be used: POLLHUP is reported anyway. */
        short wanted = client->used < sizeof client->line ? POLLIN | POLLRDHUP : POLLRDHUP;

        fds[FIXED + i] = (struct pollfd){client->closing ? -1 : client->fd, wanted, 0};
    }
    count = FIXED + MAX_CLIENTS;
    count += kitsune__helper_poll_fetchers(helper, fds + count);
    if (ppoll(fds, count, wait < 0 ? NULL : &limit, NULL) < 0)
        for (unsigned i = 0; i < count; i++)
            fds[i].revents = 0;
}

static void serve_clients(struct helper *helper, const struct pollfd *fds) {
    uint64_t now = kitsune__now_ns();

    for (int i = 0; i < MAX_CLIENTS; i++) {
        struct client *client = &helper->clients[i];

        if (client->fd < 0)
            continue;
        if (fds[FIXED + i].fd == client->fd && fds[FIXED + i].revents)
            read_client(helper, i);
        serve_lines(helper, i);
        if (now >= client->until && !client->is_waiting)
            client->closing = 1;
        if (client->closing && !client->is_waiting)
            drop_client(helper, i);
    }
}

static void serve(struct helper *helper) __attribute__((noreturn));

static void serve(struct helper *helper) {
    static struct pollfd fds[FIXED + MAX_CLIENTS + 1 + KITSUNE__PLACES];

    for (;;) {
        wait_for_events(helper, fds);
        if (!helper->orphan_since && speaker_has_ended(helper, fds[1].revents))
            become_orphan(helper);
        kitsune__helper_end_noting(helper);
        kitsune__helper_serve_fetches(helper);
        kitsune__helper_follow_flights(helper);
        kitsune__helper_follow_round(helper);
        if (helper->orphan_since) {
            if (helper->round.client < 0)
                look_after_children(helper);
            continue;
        }
        serve_clients(helper, fds);
        if (fds[0].revents)
            accept_client(helper);
    }
}

/* ---- start --------------------------------------------------------------------------------- */

/* Unmaps [start, end) but for what is kept. */
static void unmap_outside(const struct kitsune__kept *kept, uintptr_t start, uintptr_t end_) {
    while (start < end_) {
        uintptr_t next = end_, resume = end_;

        for (unsigned i = 0; i < kept->count; i++) {
            const struct kitsune__range *range = &kept->ranges[i];

            if (range->end > start && range->start < next) {
                next = range->start < start ? start : range->start;
                resume = range->end;
            }
        }
        if (next > start)
            munmap((void *)start, next - start);
        start = resume;
    }
}

/* Adds [start, end), widened to whole pages. The kernel shows neighbours as one mapping: what is needed
 * must be given exactly. */
static void keep(struct kitsune__kept *kept, uintptr_t start, uintptr_t end_) {
    uintptr_t page = kitsune__page_size();

    if (kept->count < sizeof kept->ranges / sizeof kept->ranges[0])
        kept->ranges[kept->count++] =
            (struct kitsune__range){start & ~(page - 1), (end_ + page - 1) & ~(page - 1)};
}

/* One line of /proc/self/maps: "start-end perms offset device inode name". */
static void give_back_mapping(const struct kitsune__kept *kept, const char *line) {
    uintptr_t bounds[2] = {0, 0};

    for (int i = 0; i < 2; i++, line++)
        for (; kitsune__helper_digit_value(*line) >= 0; line++)
            bounds[i] = bounds[i] << 4 | (uintptr_t)kitsune__helper_digit_value(*line);
    if (!strstr(line, "[v")) /* vdso, vvar, vsyscall */
        unmap_outside(kept, bounds[0], bounds[1]);
}

/* The copy of the program's memory is not needed; kept, it would double what the program writes. */
static void give_back_memory(struct helper *helper, struct kitsune__kept *kept) {
    if (kitsune__under_tsan()) /* its memory is that of every call that it stands in for */
        return;
    char *text = helper->answer.text;
    size_t used = 0, size = sizeof helper->answer.text - 1;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0);
    ssize_t got;

    if (maps < 0)
        return;
    keep(kept, (uintptr_t)helper, (uintptr_t)(helper + 1));
    keep(kept, (uintptr_t)helper->tree, (uintptr_t)kitsune__tree_end(helper->tree));
    keep(kept, stack - STACK_BELOW, stack + STACK_ABOVE); /* nothing returns beyond */
    while ((got = read(maps, text + used, size - used)) > 0) {
        char *line = text, *line_end;

        used += (size_t)got;
        text[used] = '\0';
        while ((line_end = strchr(line, '\n'))) {
            *line_end = '\0';
            give_back_mapping(kept, line);
            line = line_end + 1;
        }
        used -= (size_t)(line - text);
        memmove(text, line, used);
    }
    close(maps);
}

static void close_everything(void) {
    kitsune__close_all_but(-1);
    for (int fd = 0; fd < 3; fd++)
        if (open("/dev/null", O_RDWR) < 0)
            break;
}

/* Field `wanted` (from 1) of /proc/self/stat as a number; 0 if it cannot be read. */
static uintptr_t own_stat_field(const char *text, unsigned wanted) {
    const char *at = strrchr(text, ')');
    uintptr_t number = 0;

    for (unsigned field = 2; at && field < wanted; field++)
        at = strchr(at + 1, ' ');
    for (at = at ? at + 1 : ""; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uintptr_t)(*at - '0');
    return number;
}

/* Shows what we are in the list of processes: else `pidof` and `ps` find the program twice. */
static void show_title(struct helper *helper) {
    char *text = helper->answer.text, title[64];
    uintptr_t start, end_;

    kitsune__helper_read_proc(getpid(), "stat", text, 4096);
    start = own_stat_field(text, 48);
    end_ = own_stat_field(text, 49);
    if (!start || end_ <= start)
        return;
    kitsune__format(title, sizeof title, "kitsune-helper of %d", helper->root);
    if (end_ - start <= strlen(title))
        title[end_ - start - 1] = '\0';
    memset((char *)start, 0, end_ - start);
    memcpy((char *)start, title, strlen(title));
}

static void become_a_process_of_its_own(void) {
    struct rlimit no_core = {0, 0};

    close_everything();
    setsid(); /* signals to the program's group or terminal are not meant for us */
    prctl(PR_SET_NAME, "kitsune-helper");
    prctl(PR_SET_PDEATHSIG, 0);
    setrlimit(RLIMIT_CORE, &no_core);
    umask(077);
    if (chdir("/") < 0)
        end();
}

/* A request that a helper before this one left behind has nobody who waits for it. */
static void drop_leftovers(struct kitsune__control *control) {
    kitsune__helper_stop_noting(control);
    if (control->owner == 0 || control->origin == KITSUNE__FROM_INSIDE)
        return;
    kitsune__helper_end_rehearsal(control, KITSUNE__IDLE);
    kitsune__helper_drop_outcome(control);
    kitsune__helper_withdraw(control, KITSUNE__NOT_REACHED,
                             "the helper process that waited for it died");
    kitsune__helper_move_state(control, KITSUNE__CHECKING, KITSUNE__IDLE);
}

static void report_ready(struct kitsune__tree *tree, uint32_t ready) {
    tree->ready = ready;
    syscall(SYS_futex, &tree->ready, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void start_serving(struct helper *helper) {
    struct kitsune__tree *tree = helper->tree;

    if (!listen_anywhere(helper)) {
        report_ready(tree, KITSUNE__FAILED);
        end();
    }
    if (kitsune__helper_listen_for_fetch(helper) < 0) {
        kitsune__format(tree->failure, sizeof tree->failure, "no abstract socket: %s",
                        strerrordesc_np(errno));
        remove_socket(helper);
        report_ready(tree, KITSUNE__FAILED);
        end();
    }
    report_ready(tree, KITSUNE__LISTENING);
}

void kitsune__helper_main(struct kitsune__tree *tree, struct kitsune__kept *kept) {
    struct helper *helper =
        mmap(NULL, sizeof *helper, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (helper == MAP_FAILED)
        end();
    tree->helper = (int32_t)getpid();
    helper->tree = tree;
    helper->user = geteuid();
    helper->root = tree->root;
    helper->adopted = tree->adopted;
    helper->speaker = kitsune__helper_place_of(helper, helper->root);
    if (!helper->speaker)
        end();
    helper->round.client = -1;
    helper->fetcher = helper->listener = helper->directory = -1;
    for (int i = 0; i < MAX_CLIENTS; i++)
        helper->clients[i].fd = -1;
    become_a_process_of_its_own();
    give_back_memory(helper, kept);
    show_title(helper);
    helper->speaker_fd = (int)syscall(SYS_pidfd_open, helper->root, 0);
    if (getppid() != helper->root)
        end();
    if (!tree->replacements)
        tree->filters = kitsune__helper_count_filters(helper->root);
    name_socket(helper);
    for (uint32_t i = 0; i < kitsune__tree_used(tree); i++)
        drop_leftovers(kitsune__tree_place(tree, i));
    start_serving(helper);
    serve(helper);
}
