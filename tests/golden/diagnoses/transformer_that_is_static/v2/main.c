#include <kitsune.h>

static int hits;

static int STATIC_XFORM(main_c, hits)(void *new)
{
    *(int *)new = 1;
    return 1;
}

int (*kept)(void *) = STATIC_XFORM(main_c, hits);

int main(void)
{
    return hits;
}
