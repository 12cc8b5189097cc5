/*
 * Functions that the program has left with libc: destructors of thread-specific values, handlers of fork.
 * `end` has a thread end that has a value for each key, `fork` forks; each shows who was called.
 */
#ifndef REGISTERED_H
#define REGISTERED_H

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <threads.h>

#include "serve.h"

#define TEXT_SIZE 4096

/* What was called, in order; a child tells its own. */
static char said[TEXT_SIZE] E_MANUAL_MIGRATE;

static void say(const char *what)
{
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s%s of %s", *said ? ", " : "", what,
             VERSION);
}

static pthread_key_t key, plain_key, other_key;
static tss_t c11_key;

static void *live(void *argument)
{
    pthread_setspecific(key, argument);
    pthread_setspecific(plain_key, malloc(10));
    pthread_setspecific(other_key, argument);
    tss_set(c11_key, argument);
    return NULL;
}

static void end_a_thread(void)
{
    pthread_t thread;

    said[0] = '\0';
    pthread_create(&thread, NULL, live, said);
    pthread_join(thread, NULL);
    printf("%s\n", said);
}

static void fork_once(void)
{
    said[0] = '\0';
    pid_t child = fork();
    if (child == 0) {
        printf("%s\n", said);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("%s\n", said);
}

/* How many keys can still be made. */
static int count_keys(void)
{
    pthread_key_t keys[2000];
    int count = 0;

    while (count < 2000 && pthread_key_create(&keys[count], free) == 0)
        count++;
    for (int i = 0; i < count; i++)
        pthread_key_delete(keys[i]);
    return count;
}

/* Leaves more with libc than it had, and crashes. */
static void crash_if_told(void)
{
    pthread_key_t more;

    if (access(getenv("CRASH_FILE"), F_OK) != 0)
        return;
    for (int i = 0; i < 10; i++)
        pthread_key_create(&more, free);
    pthread_key_delete(key);
    tss_delete(c11_key);
    *(volatile int *)16 = 1;
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "end") == 0)
        end_a_thread();
    else if (strcmp(word, "fork") == 0)
        fork_once();
    else if (strcmp(word, "keys") == 0)
        printf("%d\n", count_keys());
}

#endif
