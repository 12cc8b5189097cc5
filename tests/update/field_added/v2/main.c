#include "serve.h"

struct item {
    int hits, doubled;
    int value;
    struct item *next;
};

static struct item *items;

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0) {
        struct item *item = malloc(sizeof *item);
        *item = (struct item){.value = atoi(rest), .next = items};
        items = item;
    } else {
        for (struct item *item = items; item; item = item->next)
            printf("%d %d %d\n", item->value, item->doubled, ++item->hits);
    }
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
