#include <pthread.h>

#include "serve.h"

struct work {
    int number;
};

static int to_worker[2], from_worker[2];
static pthread_t thread;

static int next(struct work *work) E_NOTELOCALS
{
    static __thread int count, start;
    int local = 100 * work->number;

    if (count == 0)
        start = 1000 * work->number;
    for (;;) {
        char byte;

        if (work->number == 0)
            return ++count;
        kitsune_update("worker");
        if (poll(&(struct pollfd){.fd = to_worker[0], .events = POLLIN}, 1, -1) != 1 ||
            read(to_worker[0], &byte, 1) != 1)
            continue;
        local++, count++, start++;
        dprintf(from_worker[1], "%d %d %d\n", count, local, start);
    }
}

static void *worker(void *argument) E_NOTELOCALS
{
    struct work work = {1};

    (void)argument;
    next(&work);
    return NULL;
}

static void answer(const char *word, const char *rest)
{
    char line[100];

    (void)word, (void)rest;
    if (write(to_worker[1], "x", 1) == 1) {
        ssize_t length = read(from_worker[0], line, sizeof line);

        printf("%.*s", (int)length, line);
    }
}

int main(void) E_NOTELOCALS
{
    struct work work = {0};

    if (pipe(to_worker) != 0 || pipe(from_worker) != 0)
        return 1;
    pthread_create(&thread, NULL, worker, NULL);
    next(&work);
    serve();
    return 0;
}
