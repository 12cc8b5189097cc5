#define _GNU_SOURCE
#define VERSION 2
#include "kept.h"

static void at_end(void)
{
    printf("end of %d\n", VERSION);
    fflush(stdout);
}

static void on_end(int status, void *argument)
{
    printf("%s of %d: %d\n", (char *)argument, VERSION, status);
    fflush(stdout);
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "kept") == 0)
        print_kept();
    else if (strcmp(word, "thread") == 0)
        print_thread();
    else if (strcmp(word, "raise") == 0)
        raise(SIGUSR1);
    else
        printf("2\n");
}

int main(void)
{
    (void)on_end;
    kitsune_do_automigrate();
    if (is_told("main") || is_told("thread") || is_told("keep"))
        settle(2);
    if (is_told("main") || is_told("thread")) {
        atexit(at_end);
        at_quick_exit(at_end);
    }
    if (is_told("user"))
        setgroups(0, NULL);
    if (is_told("main"))
        abort();
    if (!kitsune_is_updating())
        pthread_create(&worker, NULL, work, NULL);
    serve();
    return 4;
}
