#include <kitsune.h>

static int hits;

int STATIC_XFORM(main_c, hits)(void *new)
{
    *(int *)new = 1;
    return 1;
}

int main(void)
{
    return hits;
}
