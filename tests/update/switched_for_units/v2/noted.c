#include "parts.h"

static int twice(int value)
{
    int result = -1;

    MIGRATE_LOCAL(value);
    MIGRATE_LOCAL(result);
    return run(value + 1 + found_in_main(), result + found_in_main());
}

int run_all(void)
{
    return twice(-1);
}
