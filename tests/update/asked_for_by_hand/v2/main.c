#include "serve.h"

struct asked {
    int value;
    int added;
};

/* Nothing asks for what leads here, so nothing need be said about it. */
struct changed {
    double value;
    char *more;
};

struct asked asked;
static int hidden;
long number = 100;
struct changed *unasked;
int added = 10;

static int next(void)
{
    static int count;

    if (kitsune_is_updating())
        return MIGRATE_LOCAL_STATIC(next, count);
    return ++count;
}

static void answer(const char *word, const char *rest)
{
    static __thread int per_thread;

    (void)word, (void)rest;
    per_thread++;
    printf("%d %d %d %d %ld %d\n", ++asked.value, asked.added, ++hidden, next(), ++number, added);
}

int main(void)
{
    if (!MIGRATE_GLOBAL(asked) || !MIGRATE_STATIC(hidden) || !next() || unasked)
        return 1;
    kitsune_do_automigrate();
    serve();
    return 0;
}
