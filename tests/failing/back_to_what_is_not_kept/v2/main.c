#include <kitsune.h>

static int state;

int main(void)
{
    kitsune_update("main");
    return state;
}
