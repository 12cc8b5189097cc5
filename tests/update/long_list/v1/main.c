#include "serve.h"

struct node {
    int value;
    struct node *next;
};

static struct node *nodes;

static void answer(const char *word, const char *rest)
{
    unsigned long long sum = 0;

    if (strcmp(word, "add") == 0)
        for (int i = 0; i < atoi(rest); i++) {
            struct node *node = malloc(sizeof *node);
            *node = (struct node){.value = i, .next = nodes};
            nodes = node;
        }
    for (const struct node *node = nodes; node; node = node->next)
        sum = sum * 31 + (unsigned)node->value;
    printf("%lld\n", (long long)sum);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
