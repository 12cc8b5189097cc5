/*
 * A server that forks for each client, and whose children may fork. The parent obeys lines on its standard
 * input, a child those of its client, at $SOCKET. The version is VERSION; version 2 has a field more.
 */
#ifndef TREE_H
#define TREE_H

#include <errno.h>
#include <kitsune.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "fail.h"
#include "rights.h"

struct session {
    long total;
#if VERSION == 2
    long doubled;
#endif
    char *name;
};

static int listener = -1, client = -1;
static int keep_alive[2];
static int forks_whenever_woken;
static pid_t leaver;
static int cloned = -1; /* where it is told to fork */
static int input_count = 2; /* of the parent; more than it may have when it may open no files */
static int questions[2]; /* of children to the parent, which answers each with a byte */
static struct session *session;
static char line[256];
static char *asked_for; /* a release */
static char given_up_next[32]; /* by version 2, first thing */
static size_t length;

static void spoil_old_state(void)
{
}

static void open_listener(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv("SOCKET"));
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 64) != 0 || pipe(keep_alive) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET, 0, questions) != 0)
        exit(8);
}

/* Ends when the process that forked it has ended. */
static void serve_nested(void);

/* Ends as soon as it is updated. */
static void serve_leaver(void)
{
    struct pollfd parent = {.fd = keep_alive[0], .events = POLLIN};

    do {
        kitsune_update("leaving");
        if (VERSION == 2)
            _exit(0);
    } while (poll(&parent, 1, -1) != 1);
    _exit(0);
}

/* What it leaves behind becomes this process' own. */
static pid_t start_leaver(void)
{
    pid_t child;

    signal(SIGCHLD, SIG_DFL);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    child = fork();
    if (child == 0)
        serve_leaver();
    return child;
}

static const char *await_leaver(pid_t child)
{
    return waitpid(child, NULL, 0) != child ? "it did not end"
           : waitpid(-1, NULL, WNOHANG) < 0 ? "alone"
                                            : "with another child";
}

/* A process by a bare system call, and another one by fork in that, at once or when it is told to. */
static void start_cloned(long flags, int later)
{
    char byte;
    int own[2];
    pid_t child;

    if (pipe(own) != 0)
        exit(8);
    child = (pid_t)syscall(SYS_clone, SIGCHLD | flags, 0, 0, 0, 0);
    if (child == 0) {
        close(own[1]);
        keep_alive[0] = own[0];
        if (later && read(own[0], &byte, 1) != 1)
            _exit(8);
        if (fork() == 0)
            close(client);
        serve_nested();
    }
    close(own[0]);
    cloned = own[1];
    dprintf(client, "%d\n", (int)child);
}

static void serve_nested(void)
{
    struct pollfd parent = {.fd = keep_alive[0], .events = POLLIN};

    do
        kitsune_update("nested");
    while (poll(&parent, 1, -1) != 1);
    _exit(0);
}

static void start_nested(void)
{
    int own[2];
    pid_t child;

    if (pipe(own) != 0)
        exit(8);
    child = fork();
    if (child == 0) {
        close(own[1]);
        close(client);
        keep_alive[0] = own[0];
        serve_nested();
    }
    close(own[0]);
    dprintf(client, "%d\n", (int)child);
}

/* Asks for an update itself, once it is told of a release. */
static void *run_beside(void *argument)
{
    for (;;) {
        char *path = __atomic_exchange_n(&asked_for, NULL, __ATOMIC_ACQ_REL);

        kitsune_update("beside");
        if (path) {
            kitsune_set_next_version(path);
            kitsune_signal_update();
        }
        usleep(2000);
    }
    return argument;
}

static void start_beside(void)
{
    pthread_t thread;

    dprintf(client, "%d\n", pthread_create(&thread, NULL, run_beside, NULL));
}

/* No update point here. */
static void skip_line(int from)
{
    for (char byte; read(from, &byte, 1) == 1 && byte != '\n';)
        ;
}

/* Nor here, until there is an answer. */
static int ask_parent(void)
{
    char byte = '?';
    ssize_t got = write(questions[0], &byte, 1);

    do
        got = got == 1 ? recv(questions[0], &byte, 1, 0) : got;
    while (got < 0 && errno == EINTR && (got = 1));
    return got == 1;
}

/* The same in a process that may not even poll. */
static int ask_parent_without_files(void)
{
    struct rlimit before, none;
    int got;

    if (getrlimit(RLIMIT_NOFILE, &before) != 0)
        exit(8);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0)
        exit(8);
    got = ask_parent();
    if (setrlimit(RLIMIT_NOFILE, &before) != 0)
        exit(8);
    return got;
}

static void obey(char *command)
{
    if (strncmp(command, "add ", 4) == 0) {
        session->total += atol(command + 4);
        dprintf(client, "%ld\n", session->total);
    } else if (strcmp(command, "version") == 0) {
        dprintf(client, "%d %s\n", VERSION, session->name);
    } else if (strcmp(command, "extra") == 0) {
#if VERSION == 2
        dprintf(client, "%ld\n", session->doubled);
#else
        dprintf(client, "none\n");
#endif
    } else if (strcmp(command, "pid") == 0) {
        dprintf(client, "%d\n", (int)getpid());
    } else if (strcmp(command, "nest") == 0) {
        start_nested();
    } else if (strcmp(command, "nest leaver") == 0) {
        dprintf(client, "%d\n", (int)(leaver = start_leaver()));
    } else if (strcmp(command, "await leaver") == 0) {
        dprintf(client, "%s\n", await_leaver(leaver));
    } else if (strcmp(command, "nest late") == 0) {
        dprintf(client, "waiting\n");
        skip_line(client);
        start_nested();
    } else if (strcmp(command, "clone") == 0) {
        start_cloned(0, 0);
    } else if (strcmp(command, "clone elsewhere") == 0) {
        start_cloned(CLONE_NEWPID | CLONE_NEWNET, 0);
    } else if (strcmp(command, "clone and fork later") == 0) {
        start_cloned(CLONE_NEWPID, 1);
    } else if (strcmp(command, "fork now") == 0) {
        dprintf(client, "%d\n", (int)write(cloned, "", 1));
    } else if (strcmp(command, "clone stranger") == 0) {
        start_cloned(CLONE_NEWUSER | CLONE_NEWPID, 0);
    } else if (strcmp(command, "thread") == 0) {
        start_beside();
    } else if (strncmp(command, "become ", 7) == 0) {
        __atomic_store_n(&asked_for, strdup(command + 7), __ATOMIC_RELEASE);
        dprintf(client, "noted\n");
    } else if (strncmp(command, "next ", 5) == 0) {
        snprintf(given_up_next, sizeof given_up_next, "%s", command + 5);
        dprintf(client, "noted\n");
    } else if (strcmp(command, "stick") == 0) {
        dprintf(client, "stuck\n");
        skip_line(client);
        dprintf(client, "free\n");
    } else if (strcmp(command, "consult") == 0) {
        dprintf(client, "waiting\n");
        skip_line(client);
        dprintf(client, "%s\n", ask_parent() ? "answered" : "no answer");
    } else if (strcmp(command, "consult without files") == 0) {
        dprintf(client, "waiting\n");
        skip_line(client);
        dprintf(client, "%s\n", ask_parent_without_files() ? "answered" : "no answer");
    } else {
        dprintf(client, "%d\n", give_up(command));
    }
}

/* Returns 0 at the end of input, 1 if there is nothing yet, 2 for a whole line. */
static int read_byte(int from)
{
    struct pollfd input = {.fd = from, .events = POLLIN};

    if (poll(&input, 1, -1) != 1)
        return 1;
    if (length == sizeof line - 1 || read(from, line + length, 1) != 1)
        return 0;
    if (line[length] != '\n')
        return ++length ? 1 : 0;
    line[length] = '\0';
    length = 0;
    return 2;
}

static void serve_session(void)
{
    int got;

    for (;;) {
        kitsune_update("session");
#if VERSION == 2
        if (*given_up_next)
            give_up(given_up_next);
        given_up_next[0] = '\0';
#endif
        got = read_byte(client);
        if (got == 0)
            _exit(0);
        if (got == 2)
            obey(line);
    }
}

static void accept_client(void)
{
    client = accept(listener, NULL, NULL);
    if (client < 0)
        return;
    if (fork() == 0) {
        close(listener);
        listener = -1;
        length = 0;
        session = calloc(1, sizeof *session);
        session->name = strdup("session");
        serve_session();
    }
    close(client);
    client = -1;
}

static void answer(char *command)
{
    int is_busy = strcmp(command, "accept late") == 0;

    if (strcmp(command, "version") == 0)
        printf("%d\n", VERSION);
    else if (strcmp(command, "answer children") == 0)
        printf("%d\n", input_count = 3);
    else if (strcmp(command, "fork whenever woken") == 0)
        printf("%d\n", forks_whenever_woken = !forks_whenever_woken);
    else
        printf("%d\n", is_busy ? 0 : give_up(command));
    printf(".\n");
    fflush(stdout);
    if (is_busy) {
        skip_line(0);
        accept_client();
    }
}

static void answer_child(void)
{
    char byte;

    if (recv(questions[1], &byte, 1, 0) == 1 && send(questions[1], &byte, 1, 0) != 1)
        exit(8);
}

static void serve(void)
{
    for (;;) {
        struct pollfd inputs[3] = {{.fd = 0, .events = POLLIN},
                                   {.fd = listener, .events = POLLIN},
                                   {.fd = questions[1], .events = POLLIN}};
        int got = 1;

        kitsune_update("serve");
        if (poll(inputs, (nfds_t)input_count, -1) < 1) {
            if (forks_whenever_woken && fork() == 0)
                _exit(0);
            continue;
        }
        if (input_count == 3 && inputs[2].revents)
            answer_child();
        if (inputs[1].revents)
            accept_client();
        if (inputs[0].revents)
            got = read_byte(0);
        if (got == 0)
            exit(0);
        if (got == 2)
            answer(line);
    }
}

int main(void)
{
    if (!kitsune_is_updating()) {
        signal(SIGCHLD, SIG_IGN);
        open_listener();
    }
    kitsune_do_automigrate();
    if (kitsune_is_updating_from("session")) {
        fail_at("session");
        serve_session();
    }
    if (kitsune_is_updating_from("leaving"))
        serve_leaver();
    if (kitsune_is_updating_from("nested")) {
        fail_at("nested");
        serve_nested();
    }
    fail_at("serve");
    serve();
}

#endif
