#include "serve.h"

struct label {
    char text[8];
};

struct node {
    int value;
    struct node *next, *previous;
    struct label *label; /* shared by all */
};

static struct node ring = {.next = &ring, .previous = &ring};
static struct label *label;
static struct node **remembered;

static void add(int value)
{
    struct node *node = malloc(sizeof *node);

    *node = (struct node){value, &ring, ring.previous, label};
    node->previous->next = node->next->previous = node;
    *remembered = node;
}

static void list(void)
{
    for (const struct node *node = ring.next; node != &ring; node = node->next)
        printf("%d%s\n", node->value, node->label == label ? node->label->text : "!");
    for (const struct node *node = ring.previous; node != &ring; node = node->previous)
        printf("%d\n", node->value);
    printf("%d\n", (*remembered)->value);
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0)
        add(atoi(rest));
    else
        list();
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating()) {
        label = calloc(1, sizeof *label);
        strcpy(label->text, "x");
        remembered = calloc(1, sizeof *remembered);
    }
    serve();
    return 0;
}
