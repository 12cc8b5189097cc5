#include "serve.h"

struct handler {
    int (*function)(int);
};

static struct handler *handlers[2];

static int kept(int value)
{
    return value + 1;
}

static int gone(int value)
{
    return value - 1;
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d\n", handlers[0]->function(10), handlers[1]->function(10));
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating()) {
        for (int i = 0; i < 2; i++)
            handlers[i] = malloc(sizeof **handlers);
        handlers[0]->function = kept;
        handlers[1]->function = gone;
    }
    serve();
    return 0;
}
