#include "serve.h"

static int started;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d\n", started, kitsune_has_updated() != 0);
}

int main(void)
{
    kitsune_do_automigrate();
    kitsune_update("before the loop");
    if (!kitsune_is_updating())
        started++;
    serve();
    return 0;
}
