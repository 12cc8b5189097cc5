/*
 * A server that can fail in very many ways while it becomes another version, and tells afterwards all
 * that it can see of itself. `main.c KIND`: "one" thread, 8 "threads", or 4 "children" made beforehand.
 * It listens on a TCP port, which it prints, and on $FAIL_SOCKETS/PID; so does each child on its own.
 *
 *   incr        counts the requests of this connection; answers how many there were
 *   sum         what the program sees of itself, as words NAME=VALUE
 *   set WHAT    changes the state so that it cannot be carried over, or a thread cannot arrive
 *   stall PATH  answers, then waits until nobody else has locked this file
 *   spin PATH   answers, then runs until there is no such file
 *
 * Versions 1 and 3 are alike; version 2 has other types. How a version fails: fail.h and ways.h.
 */
#ifndef SERVER_H
#define SERVER_H

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define FAIL_OTHERWISE
#include "fail.h"
#include "ways.h"

#define CONNECTIONS 256
#define WORKERS 8
#define CHILDREN 4
#define ITEMS 300
#define FAILING_WORKER 5
#define STUCK_WORKER 7

struct item {
#if VERSION == 2
    long weight;
#endif
    int value;
    struct item *next;
    int (*scale)(int);
    const char *label;
    int *inside; /* of this object */
};

struct connection {
#if VERSION == 2
    long weight;
#endif
    unsigned long served;
    size_t length;
    char line[200];
};

/* A thread, waiting in the way of its number for the descriptors of connections to serve. */
struct worker {
#if VERSION == 2
    long weight;
#endif
    int number, ends[2];
    pthread_t id;
    pid_t tid;
    int is_other; /* its ids, or its thread-local, changed */
    int ring[CONNECTIONS];
    unsigned in, out;
    uint32_t word;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    sem_t semaphore;
};

struct shelf {
    unsigned long count;
    struct item **items E_PTRARRAY(self.count);
};

static struct item *items;
static struct connection connections[CONNECTIONS]; /* by descriptor */
static struct worker workers[WORKERS];
static int has_workers, listener, own_listener, epoll, held_pipe;
static char text[64];
static char *variable;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER;
static __thread int own_number;
static char *detour; /* what the stuck worker does */
static jmp_buf anchor E_MANUAL_MIGRATE;

/* What can be set so that it cannot be carried over. */
static struct shelf shelf;
static int (*hook)(int);
static struct item *stray;
static int *dropped_at;
#if VERSION != 2
static int dropped;

static int gone(int value)
{
    return value + dropped;
}
#endif

static int twice(int value)
{
    return 2 * value;
}

static void die(const char *what)
{
    perror(what);
    _exit(9);
}

/* ---- what it sees of itself ------------------------------------------------------------------ */

static uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * 0x100000001b3u;
}

static uint64_t mix_text(uint64_t sum, const char *of)
{
    for (; *of; of++)
        sum = mix(sum, (uint64_t)*of);
    return sum;
}

/* Addresses too: an object that moved is not what it was. */
static uint64_t sum_of_items(void)
{
    uint64_t sum = mix_text(1, text);

    for (const struct item *item = items; item; item = item->next) {
        sum = mix(mix(sum, (uint64_t)item->scale(item->value)), (uintptr_t)item);
        sum = mix(mix_text(sum, item->label), item->inside == &item->value);
    }
    sum = mix(mix(sum, shelf.count), (uintptr_t)shelf.items);
    return mix(mix(sum, (uintptr_t)hook), (uintptr_t)stray);
}

static uint64_t sum_of_actions(void)
{
    uint64_t sum = 1;

    for (int number = 1; number < NSIG; number++) {
        struct sigaction action = {0};

        if (sigaction(number, NULL, &action) == 0)
            sum = mix(mix(sum, (uintptr_t)action.sa_handler), (uint64_t)action.sa_flags);
    }
    return sum;
}

static uint64_t sum_of_mask(void)
{
    uint64_t sum = 0;
    sigset_t mask;

    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < NSIG; number++)
        sum = 2 * sum + (uint64_t)(sigismember(&mask, number) == 1);
    return sum;
}

static uint64_t sum_of_environment(void)
{
    uint64_t sum = 1;

    for (char **each = environ; each && *each; each++)
        sum = mix_text(sum, *each);
    return sum;
}

static int is_free(pthread_mutex_t *mutex)
{
    if (pthread_mutex_trylock(mutex) != 0)
        return 0;
    pthread_mutex_unlock(mutex);
    return 1;
}

static int is_stdout_free(void)
{
    if (ftrylockfile(stdout) != 0)
        return 0;
    funlockfile(stdout);
    return 1;
}

/* Blocks of many sizes come and go: a damaged heap ends the program here. */
static int works_with_heap(void)
{
    void *blocks[24];

    for (int i = 0; i < 24; i++)
        blocks[i] = memset(malloc((size_t)8 << i / 2), i, (size_t)8 << i / 2);
    for (int i = 0; i < 24; i++)
        free(blocks[(i * 7) % 24]);
    return 1;
}

static int next_key(void)
{
    pthread_key_t key;

    if (pthread_key_create(&key, NULL) != 0)
        return -1;
    pthread_key_delete(key);
    return (int)key;
}

static int count_others(void)
{
    int others = 0;

    for (int i = 0; i < WORKERS; i++)
        others += workers[i].is_other;
    return others;
}

static void tell_process(int to)
{
    char directory[256] = "", name[32] = "";
    mode_t mask = umask(0);
    struct itimerval timer;
    struct rlimit limit;
    cpu_set_t cpus;

    umask(mask);
    getcwd(directory, sizeof directory);
    prctl(PR_GET_NAME, name);
    getitimer(ITIMER_REAL, &timer);
    getrlimit(RLIMIT_CORE, &limit);
    sched_getaffinity(0, sizeof cpus, &cpus);
    dprintf(to, "directory=%s umask=%o name=%s timer=%ld core=%" PRIu64 " cpus=%d nice=%d ",
            directory, (unsigned)mask, name, timer.it_value.tv_sec + timer.it_value.tv_usec,
            (uint64_t)limit.rlim_cur, CPU_COUNT(&cpus), getpriority(PRIO_PROCESS, 0));
}

static void tell_sum(int to)
{
    stack_t stack;

    sigaltstack(NULL, &stack);
    tell_process(to);
    dprintf(to, "version=%d pid=%d items=%" PRIx64 " actions=%" PRIx64 " mask=%" PRIx64, VERSION,
            (int)getpid(), sum_of_items(), sum_of_actions(), sum_of_mask());
    dprintf(to, " environment=%" PRIx64 " variable=%s locale=%s stack=%d flags=%x/%x",
            sum_of_environment(), getenv("FAIL_SOCKETS") ? "set" : "gone", setlocale(LC_ALL, NULL),
            stack.ss_flags, (unsigned)fcntl(listener, F_GETFL), (unsigned)fcntl(listener, F_GETFD));
    dprintf(to, " guard=%d stdout=%d heap=%d key=%d others=%d rounding=%x own=%d\n",
            is_free(&guard), is_stdout_free(), works_with_heap(), next_key(), count_others(),
            __builtin_ia32_stmxcsr() & 0x6000, own_number);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void serve_connection(int client)
{
    dprintf(client, "%lu\n", ++connections[client].served);
}

static void note_ids(struct worker *worker)
{
    pid_t tid = gettid();

    if (worker->tid == 0) {
        worker->tid = tid;
        own_number = worker->number;
    }
    if (worker->tid != tid || own_number != worker->number ||
        !pthread_equal(worker->id, pthread_self()))
        worker->is_other = 1;
}

static int take_sent(struct worker *worker)
{
    struct pollfd input = {.fd = worker->ends[0], .events = POLLIN};
    struct epoll_event event;
    fd_set set;
    int client = -1, is_ready = 1;

    FD_ZERO(&set);
    FD_SET(worker->ends[0], &set);
    if (worker->number == 2)
        is_ready = poll(&input, 1, -1) == 1;
    else if (worker->number == 3)
        is_ready = select(worker->ends[0] + 1, &set, NULL, NULL, NULL) == 1;
    else if (worker->number == 4)
        is_ready = epoll_wait((int)worker->word, &event, 1, -1) == 1;
    if (!is_ready)
        return -1;
    if (worker->number == 1)
        return recv(worker->ends[0], &client, sizeof client, 0) == sizeof client ? client : -1;
    return read(worker->ends[0], &client, sizeof client) == sizeof client ? client : -1;
}

static int take_from_ring(struct worker *worker)
{
    int client = -1;

    pthread_mutex_lock(&worker->mutex);
    if (worker->number == 5 && worker->in == worker->out && !kitsune_update_requested())
        pthread_cond_wait(&worker->condition, &worker->mutex);
    if (worker->in != worker->out)
        client = worker->ring[worker->out++ % CONNECTIONS];
    pthread_mutex_unlock(&worker->mutex);
    return client;
}

static int take(struct worker *worker)
{
    uint32_t seen = __atomic_load_n(&worker->word, __ATOMIC_SEQ_CST);
    int client;

    if (worker->number < 5)
        return take_sent(worker);
    if (worker->number == 6 && sem_wait(&worker->semaphore) != 0)
        return -1;
    client = take_from_ring(worker);
    if (client < 0 && worker->number == 7)
        syscall(SYS_futex, &worker->word, FUTEX_WAIT_PRIVATE, seen, NULL);
    return client;
}

static void hand(struct worker *worker, int client)
{
    if (worker->number < 5) {
        if (write(worker->ends[1], &client, sizeof client) != sizeof client)
            die("write");
        return;
    }
    pthread_mutex_lock(&worker->mutex);
    worker->ring[worker->in++ % CONNECTIONS] = client;
    pthread_cond_signal(&worker->condition);
    pthread_mutex_unlock(&worker->mutex);
    sem_post(&worker->semaphore);
    if (worker->number == 7) {
        __atomic_add_fetch(&worker->word, 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &worker->word, FUTEX_WAKE_PRIVATE, 1);
    }
}

/* Where an update cannot have the thread; it goes on when `detour` is gone. */
static void go_astray(void)
{
    const char *way = __atomic_load_n(&detour, __ATOMIC_SEQ_CST);

    if (way && strcmp(way, "lock") == 0) {
        pthread_mutex_lock(&held);
        pthread_mutex_unlock(&held);
    }
    while (__atomic_load_n(&detour, __ATOMIC_SEQ_CST))
        if (strcmp(way, "join") == 0)
            waitid(P_ALL, 0, NULL, WEXITED | WNOWAIT); /* the helper never ends */
}

void *serve_worker(void *argument);
void *serve_worker(void *argument)
{
    struct worker *worker = argument;

    if (worker->number == FAILING_WORKER && kitsune_is_updating()) {
        fail_at("worker");
        if (fail_at_is("worker", "return"))
            return NULL;
    }
    for (;;) {
        int client;

        kitsune_update("worker");
        note_ids(worker);
        client = take(worker);
        if (client >= 0)
            serve_connection(client);
        if (worker->number == STUCK_WORKER)
            go_astray();
    }
}

static void start_workers(void)
{
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &workers[i];
        struct epoll_event event = {.events = EPOLLIN};
        char name[16];

        worker->number = i;
        pthread_mutex_init(&worker->mutex, NULL);
        pthread_cond_init(&worker->condition, NULL);
        sem_init(&worker->semaphore, 0, 0);
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, worker->ends) != 0)
            die("socketpair");
        if (i == 4) {
            worker->word = (uint32_t)epoll_create1(0);
            epoll_ctl((int)worker->word, EPOLL_CTL_ADD, worker->ends[0], &event);
        }
        snprintf(name, sizeof name, "worker %d", i);
        if (pthread_create(&worker->id, NULL, serve_worker, worker) != 0 ||
            pthread_setname_np(worker->id, name) != 0)
            die("pthread_create");
    }
    has_workers = 1;
}

/* A thread that the update does not know: libc's own call, looked up. */
static pthread_t library_thread;
static int library_pipe[2];

static void *wait_in_library(void *argument)
{
    char byte;

    while (read(*(int *)argument, &byte, 1) < 0)
        ;
    return NULL;
}

static void start_library_thread(void)
{
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        dlsym(RTLD_DEFAULT, "pthread_create");
    pthread_t thread;

    if (pipe(library_pipe) != 0 || !create ||
        create(&thread, NULL, wait_in_library, &library_pipe[0]) != 0)
        die("pthread_create");
    library_thread = thread;
}

static void end_library_thread(void)
{
    close(library_pipe[1]);
    pthread_join(library_thread, NULL);
    close(library_pipe[0]);
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct item *on_stack E_MANUAL_MIGRATE; /* of main */

static void set_state(const char *what)
{
    static struct item *const nowhere = (struct item *)16;

    if (strcmp(what, "count") == 0)
        shelf = (struct shelf){1ul << 40, memset(malloc(32), 0, 32)};
    else if (strcmp(what, "stack") == 0)
        stray = on_stack;
    else if (strcmp(what, "nowhere") == 0)
        stray = nowhere;
    else if (strcmp(what, "middle") == 0)
        stray = (struct item *)&items->next;
    else if (strcmp(what, "lock") == 0)
        pthread_mutex_lock(&held);
    else if (strcmp(what, "library") == 0)
        start_library_thread();
    else if (strcmp(what, "no library") == 0)
        end_library_thread();
#if VERSION != 2
    else if (strcmp(what, "gone") == 0)
        hook = gone;
    else if (strcmp(what, "dropped") == 0)
        dropped_at = &dropped;
#endif
    else if (strcmp(what, "nothing") == 0) {
        free(shelf.items);
        shelf = (struct shelf){0, NULL};
        hook = twice;
        stray = NULL;
        dropped_at = NULL;
    }
    if (strcmp(what, "lock") == 0 || strcmp(what, "loop") == 0) {
        __atomic_store_n(&detour, strcmp(what, "lock") == 0 ? "lock" : "loop", __ATOMIC_SEQ_CST);
    } else if (detour) {
        if (strcmp(detour, "lock") == 0)
            pthread_mutex_unlock(&held);
        __atomic_store_n(&detour, NULL, __ATOMIC_SEQ_CST);
    }
}

static void stall(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && flock(fd, LOCK_EX) != 0)
        ;
    close(fd);
}

static void spin(const char *path)
{
    while (access(path, F_OK) == 0)
        ;
}

static void answer(int client, char *line)
{
    if (strcmp(line, "incr") == 0) {
        if (has_workers)
            hand(&workers[client % WORKERS], client);
        else
            serve_connection(client);
        return;
    }
    if (strcmp(line, "sum") == 0) {
        tell_sum(client);
        return;
    }
    if (strncmp(line, "set ", 4) == 0)
        set_state(line + 4);
    dprintf(client, "done\n");
    if (strncmp(line, "stall ", 6) == 0)
        stall(line + 6);
    else if (strncmp(line, "spin ", 5) == 0)
        spin(line + 5);
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static void accept_from(int at)
{
    int client = accept4(at, NULL, NULL, SOCK_CLOEXEC);

    if (client < 0)
        return;
    if (client >= CONNECTIONS)
        die("too many connections");
    connections[client] = (struct connection){.served = 0};
    watch(client);
}

static void hear(int client)
{
    struct connection *from = &connections[client];
    ssize_t got = read(client, from->line + from->length, sizeof from->line - from->length);
    char *end;

    if (got < 0 && errno == EINTR)
        return;
    if (got <= 0) {
        close(client);
        return;
    }
    from->length += (size_t)got;
    end = memchr(from->line, '\n', from->length);
    if (end) {
        *end = '\0';
        from->length = 0; /* a client has one request at a time */
        answer(client, from->line);
    }
}

static void serve(void)
{
    struct epoll_event events[16];

    for (;;) {
        int ready;

        kitsune_update("serve");
        ready = epoll_wait(epoll, events, 16, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;

            if (fd == listener || fd == own_listener)
                accept_from(fd);
            else
                hear(fd);
        }
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

static void add_items(void)
{
    for (int i = 0; i < ITEMS; i++) {
        struct item *item = malloc(sizeof *item);

        *item = (struct item){.value = i, .next = items, .scale = twice, .label = "a label"};
        item->inside = &item->value;
        items = item;
    }
    snprintf(text, sizeof text, "%d items", ITEMS);
    hook = twice;
}

static void listen_on_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 128) != 0)
        die("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout); /* before there are children */
}

/* In each process its own. */
static void begin_to_listen(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%s/%d", getenv("FAIL_SOCKETS"),
             (int)getpid());
    own_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(own_listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(own_listener, 128) != 0)
        die("listen");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(listener);
    watch(own_listener);
}

static void start_children(void)
{
    int ends[2];
    char byte;

    if (pipe(ends) != 0)
        die("pipe");
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();

        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            begin_to_listen();
            if (write(ends[1], "x", 1) != 1)
                die("write");
            if (setjmp(anchor) == 0)
                serve();
            serve();
        }
        if (read(ends[0], &byte, 1) != 1)
            die("read");
        printf("%d\n", (int)child);
        fflush(stdout);
    }
    close(ends[0]);
    close(ends[1]);
}

static void on_usr2(int number)
{
    (void)number;
}

static void start(const char *kind)
{
    struct sigaction wakes = {.sa_handler = on_usr2};

    sigaction(SIGUSR2, &wakes, NULL); /* the program knows EINTR */
    signal(SIGPIPE, SIG_IGN);
    variable = strdup("of the old version");
    add_items();
    listen_on_port();
    if (strcmp(kind, "children") == 0)
        start_children();
    begin_to_listen();
    if (strcmp(kind, "threads") == 0)
        start_workers();
    printf("ready\n");
    fflush(stdout);
}

/* ---- failing --------------------------------------------------------------------------------- */

static void spoil_old_state(void)
{
    spoil_memory(kitsune_lookup_key_old("main.c/items"), kitsune_lookup_key_old("main.c/text"));
}

#if VERSION == 2
void fail_in_rule(void);
void fail_in_rule(void)
{
    static int rules E_MANUAL_MIGRATE;

    if (++rules == ITEMS / 2)
        fail_at("rule");
}
#endif

static __attribute__((constructor)) void construct(void)
{
    fail_at("constructor");
}

#if VERSION > 1
void _kitsune_prestart_xform(void)
{
    fail_at("prestart");
}

void _kitsune_mainupdate_xform(void)
{
    fail_at("mainupdate");
}
#endif

int main(int count, char **arguments)
{
    struct item here = {.value = 7};

    on_stack = &here;
    if (kitsune_is_updating())
        fail_at("main");
    if (kitsune_is_updating() && fail_at_is("main", "return"))
        return 0;
    if (!kitsune_is_updating() && count > 1)
        start(arguments[1]);
    kitsune_do_automigrate();
    if (kitsune_is_updating())
        fail_at("migrated");
    if (kitsune_is_updating() && fail_at_is("main", "other"))
        for (;;)
            kitsune_update("another point");
    on_stack = &here;
    if (setjmp(anchor) == 0)
        serve();
    serve();
    return 0;
}

#endif
