#include "serve.h"

static int kept = 100;
static int added = 100;
static int ignored E_IGNORE = 100;
static int remade = 100;
static const int constant = 100;

static void answer(const char *word, const char *rest)
{
    static int calls = 100;

    (void)word, (void)rest;
    {
        static int calls = 200;
        calls++;
        printf("%d\n", calls);
    }
    printf("%d %d %d %d %d %d\n", kept++, added++, ignored++, remade++, constant, ++calls);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
