#define VERSION "7"
#include "../shared/host.h"

SHOWN int host_total;

SHOWN int host_twice(int x)
{
    return 7 * 100 + 2 * x;
}

SHOWN int host_later(int x)
{
    return 7 * 100 + x;
}

static int scale(int x)
{
    return 7 * 1000 + x;
}

SHOWN const struct api host_table = {scale, "host " VERSION};

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
