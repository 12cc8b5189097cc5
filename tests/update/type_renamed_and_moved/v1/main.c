#include "serve.h"

struct item {
    char name[8];
    struct item *next;
    short size;
};

struct item *items;

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0) {
        struct item *item = calloc(1, sizeof *item);
        snprintf(item->name, sizeof item->name, "%s", rest);
        item->size = (short)strlen(rest);
        item->next = items;
        items = item;
    } else {
        for (const struct item *item = items; item; item = item->next)
            printf("%s:%d\n", item->name, item->size);
    }
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
