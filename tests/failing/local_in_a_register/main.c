#include <kitsune.h>

static int next(int value);

int main(void)
{
    register int total = 1;

    if (MIGRATE_LOCAL(total))
        total = next(total);
    return total;
}

static int next(int value)
{
    return value + 1;
}
