/*
 * A server with a thread in each kind of blocking call. Commands (serve.h):
 *   spawn KIND   one more thread; prints its number (and the port that "accept" listens on)
 *   poke         gives each thread one event; a lost one is missing in the counts for ever
 *   counts       per thread: kind, events, the same counted in a thread-local, whether its ids are as ever
 *   stop         has all threads end and joins them; prints the events that they returned
 *   fail HOW     what a new version's thread does before its update point; "main HOW": its main
 *   hold         the lock that threads of kind "mutex" take is held from now on
 *   held         prints whether somebody else holds it
 *   mistake WHAT one that a sanitizer sees: "race", "overflow"
 *   library      a thread that libc makes
 *   cancel N     cancels a thread and joins it; prints whether its cleanup handler ran
 *   forbid N     from here on it is the process's end to queue a signal with a value for a thread
 *                (the filter is set by 0: syscall(), 1: a way that nobody sees)
 *   urgent       SIGURG has a handler of the program
 *   entry KIND   a way to wait without a thread
 *   wait         the main thread waits, in the way of the n-th entry after n updates
 *   hook WHAT    what the hook of version 3 does with the threads
 *   join N       joins the last thread, N, which was removed; prints what it returned
 */
#ifndef WORKERS_H
#define WORKERS_H

#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ktthreads.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "serve.h"

/* Of what one thread writes and another reads. */
#define LOAD(what) __atomic_load_n(&(what), __ATOMIC_RELAXED)
#define STORE(what, value) __atomic_store_n(&(what), value, __ATOMIC_RELAXED)

#define WORKERS_MAX 64

struct worker {
#if VERSION == 2
    long weight; /* the elements of the array move apart */
#endif
    char kind[16];
    int ends[2];
    pthread_t id;
    pid_t tid;
    int is_other; /* its ids changed */
    int is_clean; /* its cleanup handler ran */
    unsigned long events, local_events, pending;
    uint32_t word;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    sem_t semaphore;
    char *note; /* of a thread-local pointer */
};

struct worker workers[WORKERS_MAX];
int worker_count, stopping, updates;
char failure[32], hook[32];
pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
__thread unsigned long own_events;
__thread char *own_note;

void *serve_worker(void *argument);

/* ---- waiting --------------------------------------------------------------------------------- */

static unsigned long take_byte(struct worker *worker)
{
    char byte;

    return read(worker->ends[0], &byte, 1) == 1;
}

static unsigned long take_connection(struct worker *worker)
{
    char byte;
    int client = accept(worker->ends[0], NULL, NULL);

    if (client < 0)
        return 0;
    while (read(client, &byte, 1) < 0 && errno == EINTR)
        ;
    if (write(client, &byte, 1) != 1)
        perror("write");
    close(client);
    return 1;
}

static unsigned long wait_readable(struct worker *worker)
{
    struct pollfd input = {.fd = worker->ends[0], .events = POLLIN};
    struct epoll_event event = {.events = EPOLLIN};
    fd_set set;
    int ready, epoll;

    FD_ZERO(&set);
    FD_SET(worker->ends[0], &set);
    if (!strcmp(worker->kind, "poll"))
        ready = poll(&input, 1, -1);
    else if (!strcmp(worker->kind, "select"))
        ready = select(worker->ends[0] + 1, &set, NULL, NULL, NULL);
    else {
        epoll = epoll_create1(0);
        epoll_ctl(epoll, EPOLL_CTL_ADD, worker->ends[0], &event);
        ready = epoll_wait(epoll, &event, 1, -1);
        close(epoll);
    }
    return ready == 1 ? take_byte(worker) : 0;
}

static unsigned long wait_condition(struct worker *worker)
{
    unsigned long taken;

    pthread_mutex_lock(&worker->mutex);
    while (worker->pending == 0 && !LOAD(stopping) && !kitsune_update_requested())
        pthread_cond_wait(&worker->condition, &worker->mutex);
    taken = worker->pending;
    worker->pending = 0;
    pthread_mutex_unlock(&worker->mutex);
    return taken;
}

static unsigned long wait_futex(struct worker *worker)
{
    uint32_t taken = __atomic_exchange_n(&worker->word, 0, __ATOMIC_SEQ_CST);

    if (taken == 0)
        syscall(SYS_futex, &worker->word, FUTEX_WAIT_PRIVATE, 0, NULL);
    return taken;
}

/* Events come as signals. */
static unsigned long wait_signal(void)
{
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return sigwait(&set, &number) == 0;
}

static unsigned long wait_mutex(void)
{
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    usleep(1000);
    return 0;
}

/* Holds the lock while it waits. */
static __attribute__((noinline)) unsigned long keep_lock(struct worker *worker)
{
    unsigned long taken;

    pthread_mutex_lock(&held);
    taken = take_byte(worker);
    pthread_mutex_unlock(&held);
    return taken;
}

static void *live_shortly(void *argument)
{
    return argument;
}

/* Threads come and go all the time. */
static unsigned long churn(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, live_shortly, NULL) == 0)
        pthread_join(thread, NULL);
    return 0;
}

/* A child has one thread, and no update comes to it. Counts what went wrong. */
static unsigned long make_child(void)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        kitsune_update("worker");
        _exit(kitsune_is_updating() || kitsune_update_requested() ? 1 : 7);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
        fprintf(stderr, "child %d: status %x\n", (int)child, (unsigned)status);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 7;
}

/* Into a socket that is full: nothing of it is sent. */
static unsigned long send_file(struct worker *worker)
{
    static const char block[4096];
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    while (send(worker->ends[0], block, sizeof block, MSG_DONTWAIT) > 0)
        continue;
    sendfile(worker->ends[0], file, NULL, sizeof block);
    close(file);
    return 0;
}

static unsigned long take_message(struct worker *worker)
{
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    return recvmsg(worker->ends[0], &message, 0) == 1;
}

static unsigned long wait_for(struct worker *worker)
{
    const char *kind = worker->kind;
    struct timespec hour = {3600, 0};
    char byte;

    if (!strcmp(kind, "read"))
        return take_byte(worker);
    if (!strcmp(kind, "recv"))
        return recv(worker->ends[0], &byte, 1, 0) == 1;
    if (!strcmp(kind, "recvmsg"))
        return take_message(worker);
    if (!strcmp(kind, "accept"))
        return take_connection(worker);
    if (!strcmp(kind, "sendfile"))
        return send_file(worker);
    if (!strcmp(kind, "cond_wait"))
        return wait_condition(worker);
    if (!strcmp(kind, "sem_wait"))
        return sem_wait(&worker->semaphore) == 0;
    if (!strcmp(kind, "futex"))
        return wait_futex(worker);
    if (!strcmp(kind, "sigwait"))
        return wait_signal();
    if (!strcmp(kind, "mutex"))
        return wait_mutex();
    if (!strcmp(kind, "keep"))
        return keep_lock(worker);
    if (!strcmp(kind, "churn"))
        return churn();
    if (!strcmp(kind, "fork"))
        return make_child();
    if (!strcmp(kind, "loop"))
        for (volatile int forever = 1; forever && !LOAD(stopping);)
            continue;
    if (!strcmp(kind, "nanosleep"))
        nanosleep(&hour, NULL);
    else if (!strcmp(kind, "sleep"))
        sleep(3600);
    else if (!strcmp(kind, "pause"))
        pause();
    else
        return wait_readable(worker);
    return 0;
}

/* ---- threads --------------------------------------------------------------------------------- */

static int deep(int depth)
{
    volatile char block[4096];

    block[0] = (char)depth;
    return depth < 0 ? 0 : deep(depth + 1) + block[0];
}

static void fail_now(const char *how)
{
    if (!strcmp(how, "crash"))
        *(volatile int *)16 = 1;
    else if (!strcmp(how, "late crash")) {
        kitsune_do_automigrate();
        *(volatile int *)16 = 2;
    } else if (!strcmp(how, "loop"))
        for (volatile int forever = 1; forever;)
            continue;
    else if (!strcmp(how, "exit"))
        exit(3);
    else if (!strcmp(how, "pthread_exit"))
        pthread_exit(NULL);
    else if (!strcmp(how, "errx"))
        errx(3, "cannot go on");
    else if (!strcmp(how, "overflow"))
        deep(0);
    else if (!strcmp(how, "abort"))
        abort();
    else if (!strcmp(how, "block"))
        for (;;)
            usleep(1000000);
    else if (!strcmp(how, "create"))
        pthread_create(&(pthread_t){0}, NULL, serve_worker, NULL);
}

static void note_ids(struct worker *worker)
{
    pid_t tid = (pid_t)syscall(SYS_gettid);

    if (worker->tid == 0) {
        worker->tid = tid;
        STORE(worker->id, pthread_self());
        own_note = worker->kind;
    }
    if (worker->tid != tid || !pthread_equal(LOAD(worker->id), pthread_self()) ||
        own_note != worker->kind)
        STORE(worker->is_other, 1);
}

static void serve_until_stopped(struct worker *worker)
{
    if (kitsune_is_updating() && !strcmp(worker->kind, "read")) {
        if (!strcmp(failure, "return"))
            return;
        fail_now(failure);
    }
    while (!LOAD(stopping)) {
        kitsune_update("worker");
#if VERSION >= 2
        kitsune_update("other");
#endif
        note_ids(worker);
        unsigned long events = wait_for(worker);
        STORE(worker->events, worker->events + events);
        own_events += events;
        STORE(worker->local_events, own_events);
    }
}

static void note_cleanup(void *argument)
{
    ((struct worker *)argument)->is_clean++;
}

void *serve_worker(void *argument)
{
    struct worker *worker = argument;

    pthread_cleanup_push(note_cleanup, worker);
    serve_until_stopped(worker);
    pthread_cleanup_pop(0);
    return (void *)worker->events;
}

static void spawn(const char *kind, int has_thread)
{
    struct worker *worker = &workers[worker_count];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    snprintf(worker->kind, sizeof worker->kind, "%s", kind);
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->condition, NULL);
    sem_init(&worker->semaphore, 0, 0);
    if (!strcmp(kind, "accept")) {
        worker->ends[0] = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(worker->ends[0], (struct sockaddr *)&address, length) != 0 ||
            listen(worker->ends[0], 128) != 0)
            perror("listen");
        getsockname(worker->ends[0], (struct sockaddr *)&address, &length);
        printf("%d\n", ntohs(address.sin_port));
    } else if (socketpair(AF_UNIX, SOCK_STREAM, 0, worker->ends) != 0) {
        perror("socketpair");
    }
    if (has_thread && pthread_create(&worker->id, NULL, serve_worker, worker) != 0)
        perror("pthread_create");
    printf("%d\n", worker_count++);
}

static int takes_bytes(const char *kind)
{
    return !strcmp(kind, "read") || !strcmp(kind, "recv") || !strcmp(kind, "recvmsg") ||
           !strcmp(kind, "poll") || !strcmp(kind, "select") || !strcmp(kind, "epoll_wait");
}

static void poke(struct worker *worker)
{
    if (!strcmp(worker->kind, "cond_wait")) {
        pthread_mutex_lock(&worker->mutex);
        worker->pending++;
        pthread_cond_signal(&worker->condition);
        pthread_mutex_unlock(&worker->mutex);
    } else if (!strcmp(worker->kind, "sem_wait")) {
        sem_post(&worker->semaphore);
    } else if (!strcmp(worker->kind, "futex")) {
        __atomic_fetch_add(&worker->word, 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &worker->word, FUTEX_WAKE_PRIVATE, 1);
    } else if (!strcmp(worker->kind, "sigwait")) {
        pthread_kill(LOAD(worker->id), SIGUSR1);
    } else if (takes_bytes(worker->kind) && write(worker->ends[1], "x", 1) != 1) {
        perror("write");
    }
}

static void wake(struct worker *worker)
{
    poke(worker);
    if (!strcmp(worker->kind, "accept"))
        shutdown(worker->ends[0], SHUT_RDWR);
    pthread_kill(LOAD(worker->id), SIGUSR2);
}

static void stop(void)
{
    unsigned long sum = 0;
    void *result;

    STORE(stopping, 1);
    for (int i = 0; i < worker_count; i++) {
        struct timespec soon;

        do {
            wake(&workers[i]);
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 10000000;
            soon.tv_sec += soon.tv_nsec / 1000000000;
            soon.tv_nsec %= 1000000000;
        } while (pthread_timedjoin_np(LOAD(workers[i].id), &result, &soon) != 0);
        sum += result == (void *)workers[i].events;
    }
    printf("%lu of %d\n", sum, worker_count);
}

static void join(int number)
{
    void *result = "";

    pthread_join(workers[number].id, &result);
    printf("%s\n", result == NULL ? "NULL" : "something");
    worker_count--;
}

static void cancel(int number)
{
    void *result = NULL;

    pthread_cancel(workers[number].id);
    pthread_join(workers[number].id, &result);
    printf("%d %d\n", result == PTHREAD_CANCELED, workers[number].is_clean);
    worker_count--;
}

static void forbid(int is_unseen)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_tgsigqueueinfo, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    long (*unseen)(long, ...) = (long (*)(long, ...))dlsym(RTLD_DEFAULT, "syscall");
    long flags = SECCOMP_FILTER_FLAG_TSYNC, result;

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (is_unseen)
        result = unseen(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    else
        result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (result != 0)
        err(1, "seccomp");
}

static void ignore_urgent(int number)
{
    (void)number;
}

static void handle_urgent(void)
{
    struct sigaction action = {.sa_handler = ignore_urgent, .sa_flags = SA_RESTART};

    sigaction(SIGURG, &action, NULL);
}

static void wait_in_main(void)
{
    printf("waiting %d\n", updates);
    fflush(stdout);
    for (;;) {
        kitsune_update("wait");
        wait_for(&workers[updates % worker_count]);
    }
}

static void never(union sigval value)
{
    (void)value;
}

static void make_library_thread(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = never};
    timer_t timer;

    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        perror("timer_create");
}

static int shared;

static void *race(void *argument)
{
    for (int i = 0; i < 1000; i++)
        ++*(volatile int *)&shared;
    return argument;
}

static void make_mistake(const char *what)
{
    pthread_t thread;

    if (!strcmp(what, "overflow")) {
        char *block = malloc(8);

        memset(block, 0, 8);
        printf("%d\n", block[8 + shared]);
        free(block);
    } else if (pthread_create(&thread, NULL, race, NULL) == 0) {
        race(NULL);
        pthread_join(thread, NULL);
    }
}

static void print_counts(void)
{
    for (int i = 0; i < worker_count; i++)
        printf("%s %lu %lu%s\n", workers[i].kind, LOAD(workers[i].events),
               LOAD(workers[i].local_events), LOAD(workers[i].is_other) ? " other" : "");
}

static void answer(const char *word, const char *rest)
{
    if (!strcmp(word, "spawn"))
        spawn(rest, 1);
    else if (!strcmp(word, "entry"))
        spawn(rest, 0);
    else if (!strcmp(word, "wait"))
        wait_in_main();
    else if (!strcmp(word, "cancel"))
        cancel(atoi(rest));
    else if (!strcmp(word, "forbid"))
        forbid(atoi(rest));
    else if (!strcmp(word, "urgent"))
        handle_urgent();
    else if (!strcmp(word, "poke"))
        for (int i = 0; i < worker_count; i++)
            poke(&workers[i]);
    else if (!strcmp(word, "counts"))
        print_counts();
    else if (!strcmp(word, "stop"))
        stop();
    else if (!strcmp(word, "fail"))
        snprintf(failure, sizeof failure, "%s", rest);
    else if (!strcmp(word, "hook"))
        snprintf(hook, sizeof hook, "%s", rest);
    else if (!strcmp(word, "join"))
        join(atoi(rest));
    else if (!strcmp(word, "hold"))
        pthread_mutex_lock(&held);
    else if (!strcmp(word, "unhold"))
        pthread_mutex_unlock(&held);
    else if (!strcmp(word, "held"))
        printf("%d\n", pthread_mutex_trylock(&held) != 0 || pthread_mutex_unlock(&held) != 0);
    else if (!strcmp(word, "mistake"))
        make_mistake(rest);
    else if (!strcmp(word, "library"))
        make_library_thread();
    else if (!strcmp(word, "version"))
        printf("%d\n", VERSION);
}

static void on_usr2(int number)
{
    (void)number;
}

#if VERSION == 3
/* As the variable `hook` says, which the old version has. */
void _kitsune_mainupdate_xform(void)
{
    char *wanted = kitsune_lookup_key_old("hook");
    ktthread_info *info;
    int number = 0;

    kitsune_threads_reset();
    while ((info = kitsune_threads_next()) != NULL) {
        if (!strcmp(wanted, "remove first") && number == 0)
            kitsune_thread_remove();
        if (!strcmp(wanted, "point") && info->start_fun == serve_worker)
            info->update_pt = "other";
        number++;
    }
    if (!strncmp(wanted, "add", 3)) {
        struct worker *worker = &workers[worker_count];

        snprintf(worker->kind, sizeof worker->kind, "%s", "poll");
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, worker->ends) == 0)
            worker_count++;
        kitsune_thread_add(worker, serve_worker, !strcmp(wanted, "add later") ? NULL : "worker",
                           NULL);
    }
    if (!strcmp(wanted, "add and fail"))
        *(volatile int *)16 = 1;
}
#endif

int main(void)
{
    struct sigaction wakes = {.sa_handler = on_usr2};
    sigset_t set;

    sigaction(SIGUSR2, &wakes, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kitsune_do_automigrate();
    updates += kitsune_is_updating() != 0;
    if (kitsune_is_updating() && !strncmp(failure, "main ", 5))
        fail_now(failure + 5);
    if (kitsune_is_updating_from("wait"))
        wait_in_main();
    serve();
    return 0;
}

#endif
