#include "parts.h"

static int twice(int value)
{
    int result = value;

    kitsune_log("%d", result);
    return run(value + 1, result);
}

int run_all(void)
{
    return twice(6);
}
