#include "serve.h"

struct item {
    long extra;
    int value;
    int (*twice)(int);
    const char *origin;
    struct item *next;
};

static int twice(int value)
{
    return 2 * value + 3000;
}

static struct item *items;

static void add(int value)
{
    struct item *item = calloc(1, sizeof *item);

    item->value = value;
    item->twice = twice;
    item->origin = "made by 3";
    item->next = items;
    items = item;
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0)
        add(atoi(rest));
    for (const struct item *item = items; item; item = item->next)
        printf("%d %d %s\n", (int)item->value, item->twice((int)item->value), item->origin);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
