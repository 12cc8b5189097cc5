#include "fail.h"
#include "serve.h"

struct item {
    long extra;
    int value;
    struct item *next;
};

static struct item *items;

static void spoil_old_state(void)
{
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0) {
        struct item *item = malloc(sizeof *item);
        *item = (struct item){.value = atoi(rest), .next = items};
        items = item;
    } else {
        for (const struct item *item = items; item; item = item->next)
            printf("%d %ld\n", item->value, item->extra);
    }
}

int main(void)
{
    fail_at("main");
    kitsune_do_automigrate();
    fail_at("migrated");
    serve();
    return 0;
}
