#include "serve.h"

struct pair {
    int one, other;
};

static struct pair *pointed;
_Thread_local int was_global = 40;

static int plain(void)
{
    static int moves = 50;

    return ++moves;
}

static void next(void)
{
    static _Thread_local int count;
    static __thread struct pair pair = {10, 20};
    static __thread int becomes_global = 30;

    pointed = &pair;
    printf("%d %d %d %d %d %d\n", ++count, ++pointed->one, ++pair.other, ++becomes_global,
           ++was_global, plain());
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    next();
}

int main(void)
{
    serve();
    return 0;
}
