#define _GNU_SOURCE
#define VERSION 1
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
        printf("1\n");
}

int main(void)
{
    settle(1);
    pthread_create(&worker, NULL, work, NULL);
    atexit(at_end);
    on_exit(on_end, "on_exit");
    serve();
    return 3;
}
