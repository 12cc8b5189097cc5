/* Three versions that lead forth and back: names, types and units change, one variable is gone. */
#include "serve.h"

#include <stdlib.h>

struct item {
    int value;
    char *text;
    struct item *next;
};

static struct item *head;
static int count;
static int printed;
static const char *greeting = "hello";

static void print(const struct item *item)
{
    printf("%d %s\n", item->value, item->text);
    printed++;
}

static void (*printer)(const struct item *) = print;

static void add(const char *rest)
{
    struct item *item = calloc(1, sizeof *item);

    item->value = atoi(rest);
    item->text = strdup(rest);
    item->next = head;
    head = item;
    count++;
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0)
        add(rest);
    for (struct item *item = head; item && strcmp(word, "list") == 0; item = item->next)
        printer(item);
    printf("1 %s count %d\n", greeting, count);
    if (strcmp(word, "printed") == 0)
        printf("%d\n", printed);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
