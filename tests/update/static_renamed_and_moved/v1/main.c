#include "serve.h"

static int count = 5;
static const int *watched = &count;

static int calls(void)
{
    static int number;

    return ++number;
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    count += 10;
    printf("%d %d %d\n", count, *watched, calls());
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
