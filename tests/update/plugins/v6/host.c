#define VERSION "6"
#include "../shared/host.h"

SHOWN int host_total;

SHOWN int host_twice(int x)
{
    return 6 * 100 + 2 * x;
}

SHOWN int host_later(int x)
{
    return 6 * 100 + x;
}

static int magnify(int x)
{
    return 6 * 1000 + x;
}

SHOWN const struct api host_table = {magnify, "host " VERSION};

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
