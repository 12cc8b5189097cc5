#include <kitsune.h>

const char KT_NAMESPACE[] = "space";

int spaced = 31;
static int spaced_static = 32;

int *spaced_addresses(int which)
{
    static int spaced_local = 33;

    return which == 0 ? &spaced_static : &spaced_local;
}
