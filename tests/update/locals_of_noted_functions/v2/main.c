#include <stdlib.h>

#include "serve.h"

struct point {
    int z, y, x;
};

struct holder {
    struct point *on_stack;
    int *number;
    char *text;
    int (*numbers)[3];
};

static struct holder *holder;
long was_local;
static short was_local_too;
static struct point in_deep;
static int x_in_deep, inner_x, migrated, old_x;

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "frames") == 0)
        printf("%d %d %d %d %d %d\n", in_deep.x, in_deep.y, x_in_deep, inner_x, migrated, old_x);
    else
        printf("%d %d %d %d %s %d%s\n", holder->on_stack->x, holder->on_stack->y,
               holder->on_stack->z, *holder->number, holder->text, (*holder->numbers)[2], rest);
    *holder->number += 1;
}

static void deep(int depth) E_NOTELOCALS
{
    struct point here;
    int x = -1;

    migrated = MIGRATE_LOCAL(here) + 2 * MIGRATE_LOCAL(x) + 4 * MIGRATE_LOCAL(depth);
    for (int never = 0; never < 1; never++)
        migrated += 8 * MIGRATE_LOCAL(never);
    x_in_deep = x + 100 * depth;
    in_deep = here;
    {
        int x = -1;

        migrated += 16 * MIGRATE_LOCAL(x);
        inner_x = x;
    }
    old_x = *(int *)GET_OLD_LOCAL(deep, x);
}

int main(int argc, char **argv) E_NOTELOCALS
{
    struct point *alias = NULL, point;
    int number, numbers[3], has_another_name, becomes_local, was_local_static;
    char text[8];
    long doubled;
    static int in_main;

    (void)argv, (void)argc;
    if (!MIGRATE_LOCAL(point) || !MIGRATE_LOCAL(number) || !MIGRATE_LOCAL(numbers))
        return 1;
    if (!MIGRATE_LOCAL(text) || !MIGRATE_LOCAL(alias) || alias != &point)
        return 2;
    MIGRATE_LOCAL(doubled), MIGRATE_LOCAL(has_another_name);
    MIGRATE_LOCAL(becomes_local), MIGRATE_LOCAL(was_local_static);
    kitsune_do_automigrate();
    if (kitsune_is_updating())
        deep(0);
    printf("%ld %d %ld %d %d %d %d %d\n", doubled, has_another_name, was_local, was_local_too,
           becomes_local, was_local_static, in_main, GET_NEW_LOCAL(main, number) == &number);
    fflush(stdout);
    serve();
    return number != 5; /* pointers to it were redirected */
}
