#include "serve.h"

#include <stdint.h>

struct item {
    int value;
    struct item *next;
    int (*scale)(int);
};

static struct item *items;
static struct item fixed = {.value = 1000};
static int count;
static char text[64] = "nothing yet";

static int twice(int value)
{
    return 2 * value;
}

static void add(int value)
{
    struct item *item = malloc(sizeof *item);

    *item = (struct item){value, items, twice};
    items = item;
    count++;
    snprintf(text, sizeof text, "added %d", value);
}

static uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * 0x100000001b3u;
}

/* Addresses too: an object that moved is not what it was. */
static uint64_t checksum(void)
{
    uint64_t sum = mix((uint64_t)count, (uint64_t)fixed.value);

    for (const struct item *item = items; item; item = item->next)
        sum = mix(mix(sum, (uint64_t)item->scale(item->value)), (uintptr_t)item);
    for (const char *c = text; *c; c++)
        sum = mix(sum, (uint64_t)*c);
    return sum;
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0)
        for (int i = 0; i < atoi(rest); i++)
            add(i);
    else if (strcmp(word, "version") == 0)
        printf("1\n");
    else
        printf("%d items, %llx\n", count, (unsigned long long)checksum());
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
