#include "serve.h"

static int value = 1;
int other = 2;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d\n", value++, other++);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
