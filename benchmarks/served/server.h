/*
 * A small key-value server with none or eight threads, each of which waits for its work in another
 * blocking call. `server THREADS` listens on a port of 127.0.0.1, which it prints.
 *
 *   add KEY N     adds to a value; answers what it is then
 *   update PATH   asks for an update to that release, which is carried out before the next request
 *   serial        how many updates there were
 */
#ifndef SERVER_H
#define SERVER_H

#include <errno.h>
#include <kitsune.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BUCKETS 256
#define LINE 512
#define WORKERS 8

struct entry {
#if VERSION == 2
    long hits;
#endif
    struct entry *next;
    long value;
    char key[40];
};

/* A request on its way to a worker, and the answer on its way back. */
struct job {
    char line[LINE];
    int client;
};

struct worker {
    int number, ends[2];
    pthread_t id;
    uint32_t word;
    int is_full;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    sem_t semaphore;
    struct job job;
};

static struct entry *table[BUCKETS];
static struct worker workers[WORKERS];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static int worker_count, next_worker, listener, client = -1, updates;
static char line[LINE];
static size_t length;

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* ---- the work -------------------------------------------------------------------------------- */

static unsigned hash(const char *key) {
    unsigned sum = 2166136261u;

    for (; *key; key++)
        sum = (sum ^ (unsigned char)*key) * 16777619u;
    return sum % BUCKETS;
}

static struct entry *find(const char *key) {
    struct entry **bucket = &table[hash(key)], *entry = *bucket;

    while (entry && strcmp(entry->key, key) != 0)
        entry = entry->next;
    if (entry)
        return entry;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        die("calloc");
    snprintf(entry->key, sizeof entry->key, "%s", key);
    entry->next = *bucket;
    *bucket = entry;
    return entry;
}

static void serve_line(int to, char *request) {
    char key[40] = "", answer[80];
    long number = 0;
    int size;

    if (strncmp(request, "update ", 7) == 0) {
        kitsune_set_next_version(strdup(request + 7));
        kitsune_signal_update();
        number = updates;
    } else if (strcmp(request, "serial") == 0) {
        number = updates;
    } else if (sscanf(request, "add %39s %ld", key, &number) == 2) {
        pthread_mutex_lock(&table_lock);
        number = find(key)->value += number;
        pthread_mutex_unlock(&table_lock);
    }
    size = snprintf(answer, sizeof answer, "%ld\n", number);
    if (write(to, answer, (size_t)size) != size)
        die("write");
}

/* ---- threads --------------------------------------------------------------------------------- */

static int wait_for_byte(struct worker *worker) {
    struct pollfd input = {.fd = worker->ends[0], .events = POLLIN};
    struct epoll_event event;
    fd_set set;
    int ready = 1;
    char byte;

    FD_ZERO(&set);
    FD_SET(worker->ends[0], &set);
    if (worker->number == 2)
        ready = poll(&input, 1, -1);
    else if (worker->number == 3)
        ready = select(worker->ends[0] + 1, &set, NULL, NULL, NULL);
    else if (worker->number == 4)
        ready = epoll_wait((int)worker->word, &event, 1, -1);
    if (ready != 1)
        return 0;
    if (worker->number == 1)
        return recv(worker->ends[0], &byte, 1, 0) == 1;
    return read(worker->ends[0], &byte, 1) == 1;
}

static int wait_for_job(struct worker *worker) {
    int is_there;

    if (worker->number < 5)
        return wait_for_byte(worker);
    if (worker->number == 5)
        return sem_wait(&worker->semaphore) == 0;
    if (worker->number == 6) {
        if (__atomic_exchange_n(&worker->word, 0, __ATOMIC_SEQ_CST))
            return 1;
        syscall(SYS_futex, &worker->word, FUTEX_WAIT_PRIVATE, 0, NULL);
        return 0;
    }
    pthread_mutex_lock(&worker->mutex);
    while (!worker->is_full && !kitsune_update_requested())
        pthread_cond_wait(&worker->condition, &worker->mutex);
    is_there = worker->is_full;
    worker->is_full = 0;
    pthread_mutex_unlock(&worker->mutex);
    return is_there;
}

static void hand(struct worker *worker) {
    worker->job.client = client;
    memcpy(worker->job.line, line, sizeof line);
    if (worker->number < 5) {
        if (write(worker->ends[1], "x", 1) != 1)
            die("write");
    } else if (worker->number == 5) {
        sem_post(&worker->semaphore);
    } else if (worker->number == 6) {
        __atomic_store_n(&worker->word, 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &worker->word, FUTEX_WAKE_PRIVATE, 1);
    } else {
        pthread_mutex_lock(&worker->mutex);
        worker->is_full = 1;
        pthread_cond_signal(&worker->condition);
        pthread_mutex_unlock(&worker->mutex);
    }
}

static void *work(void *argument) {
    struct worker *worker = argument;

    for (;;) {
        kitsune_update("worker");
        if (wait_for_job(worker))
            serve_line(worker->job.client, worker->job.line);
    }
    return NULL;
}

static void start_worker(struct worker *worker, int number) {
    struct epoll_event event = {.events = EPOLLIN};

    worker->number = number;
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->condition, NULL);
    sem_init(&worker->semaphore, 0, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, worker->ends) != 0)
        die("socketpair");
    if (number == 4) {
        worker->word = (uint32_t)epoll_create1(0);
        epoll_ctl((int)worker->word, EPOLL_CTL_ADD, worker->ends[0], &event);
    }
    if (pthread_create(&worker->id, NULL, work, worker) != 0)
        die("pthread_create");
}

/* ---- requests -------------------------------------------------------------------------------- */

static void take_line(void) {
    if (worker_count == 0 || strncmp(line, "add", 3) != 0)
        serve_line(client, line);
    else
        hand(&workers[next_worker++ % worker_count]);
}

static void hear(void) {
    ssize_t got = read(client, line + length, sizeof line - length);
    char *end;

    if (got < 0 && errno == EINTR)
        return;
    if (got <= 0)
        exit(0);
    length += (size_t)got;
    end = memchr(line, '\n', length);
    if (end) {
        *end = '\0';
        length = 0;
        take_line();
    }
}

static void serve(void) {
    for (;;) {
        struct pollfd input = {.fd = client < 0 ? listener : client, .events = POLLIN};

        kitsune_update("serve");
        if (poll(&input, 1, -1) != 1)
            continue;
        if (client < 0)
            client = accept(listener, NULL, NULL);
        else
            hear();
    }
}

static void ignore(int number) {
    (void)number;
}

static void start(int threads) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct sigaction wakes = {.sa_handler = ignore};

    sigaction(SIGUSR1, &wakes, NULL); /* it knows EINTR */
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 16) != 0)
        die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    for (worker_count = 0; worker_count < threads; worker_count++)
        start_worker(&workers[worker_count], worker_count);
    printf("ready on port %d\n", ntohs(address.sin_port));
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (!kitsune_is_updating())
        start(count > 1 ? atoi(arguments[1]) : 0);
    kitsune_do_automigrate();
    updates += kitsune_is_updating() != 0;
    serve();
    return 0;
}

#endif
