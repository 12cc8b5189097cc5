#include "fail.h"
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

void fail_in_rule(void);

void fail_in_rule(void)
{
    fail_at("rule");
}

static __attribute__((constructor)) void construct(void)
{
    fail_at("constructor");
}

void _kitsune_prestart_xform(void)
{
    fail_at("prestart");
}

void _kitsune_mainupdate_xform(void)
{
    fail_at("mainupdate");
}

/* Its layout in version 1. */
struct old_item {
    int value;
    struct old_item *next;
};

static void spoil_old_state(void)
{
    struct old_item **first = kitsune_lookup_key_old("main.c/items");
    struct old_item *next;

    *(int *)kitsune_lookup_key_old("main.c/count") = -1;
    strcpy(kitsune_lookup_key_old("main.c/text"), "spoilt");
    for (struct old_item *item = *first; item; item = next) {
        next = item->next;
        item->value = -5;
        free(item);
    }
    *first = NULL;
    for (int i = 0; i < 100; i++)
        memset(malloc(32), 0xa5, 32);
}

static void answer(const char *word, const char *rest)
{
    long weight = fixed.weight;

    (void)rest;
    if (strcmp(word, "version") == 0)
        printf("3\n");
    for (const struct item *item = items; item; item = item->next)
        weight += item->weight + (item->scale == twice);
    printf("%d %ld %s\n", count, weight, text);
}

int main(void)
{
    fail_at("main");
    if (fail_at_is("main", "return"))
        return 0;
    kitsune_do_automigrate();
    fail_at("migrated");
    if (fail_at_is("main", "other"))
        for (;;)
            kitsune_update("another point");
    serve();
    return 0;
}
