#include "serve.h"

static int started;
static int from_serve E_MANUAL_MIGRATE, from_before E_MANUAL_MIGRATE;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d %d %d %d\n", started, kitsune_has_updated() != 0, from_serve, from_before,
           kitsune_is_updating() != 0);
}

int main(void)
{
    kitsune_do_automigrate();
    from_serve = kitsune_is_updating_from("serve") != 0;
    from_before = kitsune_is_updating_from("before the loop") != 0;
    kitsune_update("before the loop");
    if (!kitsune_is_updating())
        started++;
    serve();
    return 0;
}
