#include <kitsune.h>
static int state;

int main(void)
{
    return state;
}
