#include "serve.h"

struct thing {
    int value;
};

static struct thing *noted_one, *unnoted;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d\n", unnoted->value, noted_one->value);
}

static void run(void)
{
    struct thing plain = {1};

    unnoted = &plain;
    serve();
    unnoted = NULL;
}

int main(void) E_NOTELOCALS
{
    struct thing noted = {2};

    noted_one = &noted;
    run();
    return 0;
}
