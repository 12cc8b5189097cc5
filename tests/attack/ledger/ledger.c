/*
 * A server that is attacked: counters by name, over a stream socket, for clients that count along. Version
 * 2 (LEDGER) also remembers how often each was changed.
 *
 * usage: SOCKET; commands, a line each: add NAME, sum (of all whose names begin with '='), inside RELEASE
 * (asks for an update itself), who
 */
#include <kitsune.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS 16
#define ENTRIES 200

struct entry {
    struct entry *next;
    char name[16];
    long value;
#if LEDGER > 1
    long changes;
#endif
};

struct client {
    int fd;
    size_t used;
    char line[512];
};

static struct entry *entries;
static struct client clients[CLIENTS];
static int listener = -1;

static struct entry *find(const char *name) {
    struct entry *entry = entries;

    while (entry && strcmp(entry->name, name) != 0)
        entry = entry->next;
    if (!entry) {
        entry = calloc(1, sizeof *entry);
        snprintf(entry->name, sizeof entry->name, "%s", name);
        entry->next = entries;
        entries = entry;
    }
    return entry;
}

static long add(const char *name) {
    struct entry *entry = find(name);

#if LEDGER > 1
    entry->changes++;
#endif
    return ++entry->value;
}

static unsigned long sum(void) {
    unsigned long sum = 14695981039346656037ul;

    for (const struct entry *entry = entries; entry; entry = entry->next)
        for (const char *at = entry->name; *at && entry->name[0] == '='; at++)
            sum = (sum ^ (unsigned char)*at ^ (unsigned long)entry->value) * 1099511628211ul;
    return sum;
}

static void fill(void) {
    char name[16];

    for (int i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "=%d", i);
        find(name)->value = (long)i * i;
    }
}

static int ask_inside(const char *release, char *answer, size_t size) {
    kitsune_set_next_version(strdup(release));
    kitsune_signal_update();
    return snprintf(answer, size, "asked\n");
}

static void serve_line(struct client *client) {
    char answer[64];
    int length;

    if (strncmp(client->line, "add ", 4) == 0)
        length = snprintf(answer, sizeof answer, "%ld\n", add(client->line + 4));
    else if (strcmp(client->line, "sum") == 0)
        length = snprintf(answer, sizeof answer, "%lx\n", sum());
    else if (strncmp(client->line, "inside ", 7) == 0)
        length = ask_inside(client->line + 7, answer, sizeof answer);
    else
        length = snprintf(answer, sizeof answer, "%d %d\n", LEDGER, (int)getpid());
    if (write(client->fd, answer, (size_t)length) != length)
        exit(1);
}

static void serve_client(struct client *client) {
    char byte;

    if (read(client->fd, &byte, 1) != 1) {
        close(client->fd);
        client->fd = -1;
    } else if (byte == '\n') {
        client->line[client->used] = '\0';
        client->used = 0;
        serve_line(client);
    } else if (client->used < sizeof client->line - 1) {
        client->line[client->used++] = byte;
    }
}

static void open_listener(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    for (int i = 0; i < CLIENTS; i++)
        clients[i].fd = -1;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, CLIENTS) < 0)
        exit(1);
    printf("ready\n");
    fflush(stdout);
}

static void accept_client(void) {
    int fd = accept(listener, NULL, NULL);

    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].fd < 0) {
            clients[i] = (struct client){.fd = fd};
            return;
        }
    close(fd);
}

int main(int count, char **arguments) {
    kitsune_do_automigrate();
    if (!kitsune_is_updating()) {
        fill();
        open_listener(arguments[count - 1]);
    }
    for (;;) {
        struct pollfd fds[CLIENTS + 1] = {{.fd = listener, .events = POLLIN}};

        kitsune_update("serve");
        for (int i = 0; i < CLIENTS; i++)
            fds[i + 1] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        if (poll(fds, CLIENTS + 1, -1) <= 0)
            continue;
        for (int i = 0; i < CLIENTS; i++)
            if (fds[i + 1].revents)
                serve_client(&clients[i]);
        if (fds[0].revents)
            accept_client();
    }
}
