/*
 * A server whose threads wait by the calls of ktthreads.h. Commands (serve.h):
 *   stop     ends all threads; prints what they return, and how often a main ran
 *   bytes    one more thread, which takes EINTR for an error
 *   join     joins the first thread; a request ends that wait
 *   ask R    another thread asks for the update to release R
 */
#ifndef THREAD_API_H
#define THREAD_API_H

#include <errno.h>
#include <ktthreads.h>
#include <signal.h>
#include <stdint.h>

#include "serve.h"

#define THREADS_MAX 8

/* Of the API's own waits; the program has no signal handler. */
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
int stopping, rounds, wake_ups;
int line_pipe[2], byte_pipe[2];
FILE *lines E_OPAQUE;
pthread_t threads[THREADS_MAX];
int thread_count;

static void *wait_for_condition(void *argument) E_NOTELOCALS
{
    long own = (long)argument; /* each thread its own */

    MIGRATE_LOCAL(own);
    while (!stopping) {
        kitsune_update("condition");
        pthread_mutex_lock(&mutex);
        while (!stopping && !kitsune_update_requested())
            ktthreads_pthread_cond_wait(&condition, &mutex);
        pthread_mutex_unlock(&mutex);
        own += 100;
    }
    return (void *)own;
}

static void *wait_with_limit(void *argument)
{
    while (!stopping) {
        struct timespec limit = {INT32_MAX, 0};

        kitsune_update("limit");
        pthread_mutex_lock(&mutex);
        if (!stopping)
            ktthreads_pthread_cond_timedwait(&condition, &mutex, &limit);
        pthread_mutex_unlock(&mutex);
    }
    return argument;
}

static void *sleep_long(void *argument)
{
    while (!stopping) {
        kitsune_update("sleep");
        ktthreads_ms_sleep(1000000);
    }
    return argument;
}

/* Sits in stdio, which no request ends: its callback writes a line. */
static void wake_by_line(void *argument)
{
    if (write(*(int *)argument, "wake\n", 5) == 5)
        wake_ups++;
}

static void *read_lines(void *argument)
{
    char line[64];

    ktthreads_update_callback(wake_by_line, &line_pipe[1]);
    while (!stopping) {
        kitsune_update("lines");
        if (fgets(line, sizeof line, lines) == NULL)
            break;
    }
    return argument;
}

/* Takes EINTR for an error. */
static void *read_bytes(void *argument)
{
    char byte;

    while (!stopping) {
        kitsune_update("bytes");
        if (read(byte_pipe[0], &byte, 1) != 1)
            return NULL;
    }
    return argument;
}

static void create(void *(*start)(void *))
{
    long number = thread_count + 1;

    if (kitsune_pthread_create(&threads[thread_count++], NULL, start, (void *)number) != 0)
        perror("pthread_create");
}

static void *ask_for_update(void *path)
{
    kitsune_set_next_version(path);
    kitsune_signal_update();
    kitsune_update("asked");
    return path;
}

/* Once is not enough: a signal that comes just before the sleep does not end it. */
static void *rouse_until_joined(pthread_t thread)
{
    void *result = NULL;

    while (pthread_tryjoin_np(thread, &result) == EBUSY) {
        wake_by_line(&line_pipe[1]);
        if (write(byte_pipe[1], "x", 1) != 1)
            perror("write");
        pthread_kill(thread, SIGUSR1);
        usleep(1000);
    }
    return result;
}

/* Ends all threads; prints what they return. */
static void stop(void)
{
    void *result;

    pthread_mutex_lock(&mutex); /* or a thread could look at it before, and wait behind */
    stopping = 1;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    if (ktthreads_pthread_join(threads[0], &result) != 0)
        perror("join");
    printf("%ld ", (long)result % 100);
    for (int i = 1; i < thread_count; i++)
        printf("%ld ", (long)rouse_until_joined(threads[i]) % 100);
    printf("%d\n", rounds);
}

static void join_first(void)
{
    void *result;
    int error;

    do {
        kitsune_update("join");
        printf("joining\n");
        fflush(stdout);
    } while ((error = ktthreads_pthread_join(threads[0], &result)) == EINTR);
    printf("joined %ld %d\n", (long)result % 100, error);
}

static void on_usr1(int number)
{
    (void)number;
}

static void answer(const char *word, const char *rest)
{
    if (!strcmp(word, "stop"))
        stop();
    else if (!strcmp(word, "bytes"))
        create(read_bytes);
    else if (!strcmp(word, "join")) {
        join_first();
    } else if (!strcmp(word, "ask")) {
        pthread_t asker;

        pthread_create(&asker, NULL, ask_for_update, strdup(rest));
        pthread_detach(asker);
    }
    printf("%d %d\n", VERSION, wake_ups > 0);
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating()) {
        signal(SIGUSR1, on_usr1);
        if (pipe(line_pipe) != 0 || pipe(byte_pipe) != 0)
            return 1;
        lines = fdopen(line_pipe[0], "r");
        create(wait_for_condition);
        create(wait_with_limit);
        create(sleep_long);
        create(read_lines);
    }
    rounds++;
    if (kitsune_is_updating_from("join")) {
        join_first();
        printf("%d %d\n.\n", VERSION, wake_ups > 0);
        fflush(stdout);
    }
    serve();
    return 0;
}

#endif
