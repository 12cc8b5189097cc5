#include "serve.h"

struct thing {
    long added E_IGNORE;
    int value;
};

static struct thing *unnoted;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d\n", unnoted->value);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
