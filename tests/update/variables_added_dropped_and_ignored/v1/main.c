#include "serve.h"

static int kept = 1;
static int dropped = 1;
static int ignored = 1;
static int remade = 1;
static const int constant = 1;

static void answer(const char *word, const char *rest)
{
    static int calls, calls_of_old;

    (void)word, (void)rest;
    printf("%d %d %d %d %d %d %d\n", kept++, dropped++, ignored++, remade++, constant, ++calls,
           ++calls_of_old);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
