#include "serve.h"

int kept E_MANUAL_MIGRATE = 1;
int forgotten E_MANUAL_MIGRATE = 1;
static int hidden E_MANUAL_MIGRATE = 1;
int automatic = 1;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d %d %d\n", ++kept, ++forgotten, ++hidden, ++automatic);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
