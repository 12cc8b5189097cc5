#include "serve.h"

static int *jumps, found;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d\n", found, *jumps);
}

static void deeper(int which) E_NOTELOCALS
{
    int lost = 0;

    found = MIGRATE_LOCAL(lost) + MIGRATE_LOCAL(which) + (GET_OLD_LOCAL(deeper, lost) != NULL);
}

int main(void) E_NOTELOCALS
{
    volatile int count = 0;

    if (kitsune_is_updating()) {
        MIGRATE_LOCAL(count);
        deeper(0);
    }
    kitsune_do_automigrate();
    serve();
    return 0;
}
