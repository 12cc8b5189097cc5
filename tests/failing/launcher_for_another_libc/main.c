#include <kitsune.h>

int state;

int main(void)
{
    kitsune_update("main");
    return state;
}
