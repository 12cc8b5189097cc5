#include "serve.h"

int kept E_MANUAL_MIGRATE = 100;
int forgotten E_MANUAL_MIGRATE = 100;
static int hidden E_MANUAL_MIGRATE = 100;
int automatic = 100;
int added = 100;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d %d %d %d\n", ++kept, ++forgotten, ++hidden, ++automatic, ++added);
}

int main(void)
{
    int before = automatic;

    if (!MIGRATE_GLOBAL(kept))
        kept = 1000;
    if (!MIGRATE_STATIC(hidden))
        hidden = 1000;
    kitsune_do_automigrate();
    if (kitsune_is_updating())
        added = before;
    serve();
    return 0;
}
