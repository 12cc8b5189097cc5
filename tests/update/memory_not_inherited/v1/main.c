#include "serve.h"

#include <stdlib.h>
#include <sys/mman.h>

/* What a program keeps from its children: they find it wiped, or not at all. */
static char *wiped, *missing;

static char *page(int advice)
{
    char *start = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    madvise(start, 4096, advice);
    return start;
}

static void answer(const char *word, const char *rest)
{
    (void)word;
    (void)rest;
    printf("1 %s %s\n", wiped, missing);
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating()) {
        wiped = strcpy(page(MADV_WIPEONFORK), "secret");
        missing = strcpy(page(MADV_DONTFORK), "hidden");
    }
    serve();
    return 0;
}
