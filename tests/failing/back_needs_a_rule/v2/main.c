#include <kitsune.h>

int main(void)
{
    kitsune_update("main");
    return 0;
}
