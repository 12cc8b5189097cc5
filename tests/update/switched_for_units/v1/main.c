#include "parts.h"
#include "serve.h"

static int one, other;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    count();
    note();
    printf("%d %d\n", other, one);
}

int run(int first, int second)
{
    one = first;
    other = second;
    serve();
    return 0;
}

int main(void)
{
    int in_main = 100;

    kitsune_log("%d", in_main);
    return run_all();
}
