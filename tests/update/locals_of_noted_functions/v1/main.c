#include <stdlib.h>

#include "serve.h"

struct point {
    int x, y;
};

struct holder {
    struct point *on_stack;
    int *number;
    char *text;
    int (*numbers)[3];
};

static struct holder *holder;
int was_global = 41;
static int kept = 61;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d %d %s %d\n", holder->on_stack->x, holder->on_stack->y, *holder->number,
           holder->text, (*holder->numbers)[2]);
}

static int deep(int depth, struct point *above) E_NOTELOCALS
{
    struct point here = {depth, depth * 10};
    int x = depth;

    if (above->x != depth - 1)
        return 1;
    if (depth < 3)
        return deep(depth + 1, &here);
    {
        int x = 1000 + depth;

        x++;
        serve();
    }
    return x != 3;
}

int main(int argc, char **argv) E_NOTELOCALS
{
    struct point point = {1, 2};
    struct point *alias = &point;
    int number = 3, numbers[3] = {7, 8, 9}, doubled = 21;
    char text[8] = "seven";
    int renamed = 5;
    long becomes_global = 51;
    short becomes_static = 52;
    static int was_static = 53;

    (void)argv;
    alias->x = 11;
    was_static += argc;
    holder = malloc(sizeof *holder);
    holder->on_stack = alias;
    holder->number = &number;
    holder->text = text;
    holder->numbers = &numbers;
    was_global++;
    kept++;
    renamed += doubled;
    becomes_global++;
    becomes_static++;
    return deep(1, &(struct point){0, 0}) + (renamed == 0);
}
