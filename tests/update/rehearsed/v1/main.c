#include "serve.h"
#include "world.h"

struct item {
    int value;
    struct item *next;
};

static struct item *items;
static struct world world;

static void print_sum(void)
{
    unsigned long sum = 0;

    for (struct item *item = items; item; item = item->next)
        sum = sum * 31 + (unsigned long)item->value + (unsigned long)item;
    printf("%lx\n", sum);
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0) {
        for (int i = 0; i < atoi(rest); i++) {
            struct item *item = malloc(sizeof *item);

            *item = (struct item){i, items};
            items = item;
        }
        printf("%d\n", atoi(rest));
    } else if (strcmp(word, "sum") == 0) {
        print_sum();
    } else if (strcmp(word, "port") == 0) {
        printf("%d %d\n", world.port, world.child);
    } else if (strcmp(word, "accept") == 0) {
        accept_client(&world);
    } else if (strcmp(word, "look") == 0) {
        print_world(&world);
    } else if (strcmp(word, "take") == 0) {
        take(&world);
    } else {
        printf("1\n");
    }
}

int main(void)
{
    if (getenv("KT_DIR"))
        open_world(&world);
    serve();
    return world.child ? kill(world.child, SIGKILL) : 0;
}
