#include "serve.h"

#include <pthread.h>
#include <stdlib.h>

#ifndef VERSION
#define VERSION 1
#endif

/* Workers that wait for one condition: one is told, works, and waits again behind those that were not. */
#define WORKERS 3

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
static int jobs, done, waiting;

static void *work(void *ignored)
{
    (void)ignored;
    pthread_mutex_lock(&lock);
    for (;;) {
        pthread_mutex_unlock(&lock);
        kitsune_update("worker");
        pthread_mutex_lock(&lock);
        if (jobs > 0) {
            jobs--;
            done++;
        }
        waiting++;
        pthread_cond_signal(&finished);
        pthread_cond_wait(&wanted, &lock);
        waiting--;
    }
    return NULL;
}

static void answer(const char *word, const char *rest)
{
    (void)word;
    (void)rest;
    pthread_mutex_lock(&lock);
    while (waiting < WORKERS)
        pthread_cond_wait(&finished, &lock);
    jobs++;
    pthread_cond_signal(&wanted);
    while (jobs > 0 || waiting < WORKERS)
        pthread_cond_wait(&finished, &lock);
    printf("%d did %d\n", VERSION, done);
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating())
        for (int i = 0; i < WORKERS; i++) {
            pthread_t thread;

            pthread_create(&thread, NULL, work, NULL);
        }
    serve();
    return 0;
}
