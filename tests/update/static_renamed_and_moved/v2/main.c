#include "serve.h"

int total(void);

static const int *watched;
static int calls;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    int now = total();

    printf("%d %d %d\n", now, *watched, ++calls);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
