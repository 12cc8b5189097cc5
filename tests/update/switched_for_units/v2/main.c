#include "parts.h"
#include "serve.h"

static int one E_MANUAL_MIGRATE, other E_MANUAL_MIGRATE;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    count();
    note();
    printf("%d %d\n", other, one);
}

int run(int first, int second)
{
    one = first;
    other = second;
    serve();
    return 0;
}

int found_in_main(void)
{
    int *found = GET_OLD_LOCAL(main, in_main);

    return found ? *found : 0;
}

int main(void)
{
    int in_main = 0;

    MIGRATE_LOCAL(in_main);
    kitsune_do_automigrate();
    note();

    if (in_main != 100)
        return 3;
    return run_all();
}
