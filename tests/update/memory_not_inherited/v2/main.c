#include "serve.h"

#include <stdlib.h>
#include <sys/mman.h>

static char *wiped, *missing;
static int told;

static char *page(int advice)
{
    char *start = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    madvise(start, 4096, advice);
    return start;
}

/* What comes to be in an update that is undone goes again. */
char *added(void)
{
    return strcpy(page(MADV_WIPEONFORK), "a secret of the new version");
}

static void answer(const char *word, const char *rest)
{
    (void)word;
    (void)rest;
    printf("2 %s %s %d\n", wiped, missing, told);
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
