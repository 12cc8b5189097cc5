#include <kitsune.h>

int state;

int elsewhere(void);

int main(void)
{
    kitsune_update("main");
    return elsewhere();
}
