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

/* The pointers into objects are asked for before the objects. */
struct node {
    struct node *first, *second;
};

struct node **into_left, **into_right, *left, *right, end;
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

static int is_whole(void)
{
    return into_left == &left->first && into_right == &right->second && left->first == &end &&
           left->second == &end && right->first == &end && right->second == &end;
}

static void answer(const char *word, const char *rest)
{
    static __thread int per_thread;

    (void)word, (void)rest;
    per_thread++;
    printf("%d %d %d %d %ld %d %d\n", ++asked.value, asked.added, ++hidden, next(), ++number, added,
           is_whole());
}

int main(void)
{
    if (!MIGRATE_GLOBAL(asked) || !MIGRATE_STATIC(hidden) || !next() || unasked ||
        !MIGRATE_GLOBAL(into_left) || !MIGRATE_GLOBAL(into_right) || !MIGRATE_GLOBAL(left) ||
        !MIGRATE_GLOBAL(right) || !MIGRATE_GLOBAL(end))
        return 1;
    kitsune_do_automigrate();
    serve();
    return 0;
}
