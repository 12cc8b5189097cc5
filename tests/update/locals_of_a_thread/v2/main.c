#include <pthread.h>

#include "serve.h"

struct work {
    long added;
    int number;
};

static int to_worker[2], from_worker[2];
static pthread_t thread;

static int next(struct work *work) E_NOTELOCALS
{
    static __thread int count, start;
    int local = 0, right;

    MIGRATE_LOCAL(local);
    right = work == GET_NEW_LOCAL(worker, work) && GET_OLD_LOCAL(main, work) == NULL;
    for (;;) {
        char byte;

        if (work->number == 0)
            return ++count;
        kitsune_update("worker");
        if (poll(&(struct pollfd){.fd = to_worker[0], .events = POLLIN}, 1, -1) != 1 ||
            read(to_worker[0], &byte, 1) != 1)
            continue;
        local++, count++, start++;
        dprintf(from_worker[1], "%d %d %d %ld %d\n", count, local, start, work->added, right);
    }
}

static void *worker(void *argument) E_NOTELOCALS
{
    struct work work;

    (void)argument;
    MIGRATE_LOCAL(work);
    next(&work);
    return NULL;
}

static int in_main E_MANUAL_MIGRATE, count_of_main E_MANUAL_MIGRATE;

static void answer(const char *word, const char *rest)
{
    char line[100];

    (void)rest;
    if (*word == 'm') {
        printf("%d %d 111\n", in_main, count_of_main);
    } else if (write(to_worker[1], "x", 1) == 1) {
        ssize_t length = read(from_worker[0], line, sizeof line);

        printf("%.*s", (int)length, line);
    }
}

int main(void) E_NOTELOCALS
{
    struct work work;

    kitsune_do_automigrate();
    in_main = MIGRATE_LOCAL(work) && work.number == 0;
    count_of_main = 9 + next(&work);
    if (!kitsune_is_updating())
        pthread_create(&thread, NULL, worker, NULL);
    serve();
    return 0;
}
