#include "serve.h"

struct thing {
    long added E_IGNORE;
    int value;
};

static struct thing *noted_one;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d\n", noted_one->value);
}

int main(void)
{
    struct thing noted;

    MIGRATE_LOCAL(noted);
    kitsune_do_automigrate();
    serve();
    return 0;
}
