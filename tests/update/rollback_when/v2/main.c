#include "serve.h"

struct item {
    long weight;
    int value;
    struct item *next;
    int (*scale)(int);
};

static struct item *items;
static struct item fixed = {.value = 1};
static int count;
static char text[64];

static int twice(int value)
{
    return 2 * value;
}

static void answer(const char *word, const char *rest)
{
    long weight = fixed.weight;

    (void)rest;
    if (strcmp(word, "version") == 0)
        printf("2\n");
    for (const struct item *item = items; item; item = item->next)
        weight += item->weight + (item->scale == twice);
    printf("%d %ld %s\n", count, weight, text);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
