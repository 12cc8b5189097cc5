#include "serve.h"

struct item {
    int n, more;
};

static struct item item = {7, 8};
static void *kept = &item;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d\n", ((struct item *)kept)->n++);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
