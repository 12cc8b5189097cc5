/* Versions 1 and 2 differ in nothing but the order of two members, and version 3 was built for 2. */
#include <stdlib.h>
#include "serve.h"

static struct pair *pairs;

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0) {
        struct pair *pair = calloc(1, sizeof *pair);
        pair->key = atoi(rest);
        pair->value = 100 + pair->key;
        pair->next = pairs;
        pairs = pair;
    }
    for (const struct pair *pair = pairs; pair; pair = pair->next)
        printf("%d=%d\n", pair->key, pair->value);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
