#include "serve.h"

#include <stdlib.h>

struct entry {
    long value;
    char *text;
    int used;
    struct entry *next;
};

static struct entry *first;
static int count;
static const char *greeting = "hello";

static void show(const struct entry *entry)
{
    printf("%ld %s\n", entry->value, entry->text);
    ((struct entry *)entry)->used++;
}

static void (*printer)(const struct entry *) = show;

static void add(const char *rest)
{
    struct entry *entry = calloc(1, sizeof *entry);

    entry->value = atol(rest);
    entry->text = strdup(rest);
    entry->next = first;
    first = entry;
    count++;
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0)
        add(rest);
    for (struct entry *entry = first; entry && strcmp(word, "list") == 0; entry = entry->next)
        printer(entry);
    printf("2 %s count %d\n", greeting, count);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
