#include "serve.h"

struct pair {
    int added, other, one;
};

static struct pair *pointed;
_Thread_local int was_in_function;

static void next(void)
{
    static _Thread_local int count;
    static __thread struct pair pair;
    static __thread int becomes_local, moved;

    printf("%d %d %d %d %d %d %d %d\n", ++count, ++pointed->one, ++pair.other, ++was_in_function,
           ++becomes_local, ++moved, pair.added, pointed == &pair);
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    next();
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
