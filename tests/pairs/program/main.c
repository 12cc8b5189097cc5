/* The program of the pairs of versions: it makes the heaps that it is told to, and serves. */
#include "serve.h"

#include "heap.h"

/* A rule makes its value, and may fail: when all else is migrated. */
int pairs_may_fail E_MANUAL_MIGRATE;

static void answer(const char *word, const char *rest) {
    int done = -1;

    if (strcmp(word, "meta") == 0)
        done = heap_meta(rest);
    else if (strcmp(word, "make") == 0)
        done = heap_make(rest);
    else if (strcmp(word, "touch") == 0)
        done = heap_touch(rest);
    else if (strcmp(word, "free") == 0)
        done = heap_free(rest);
    printf("%s\n", done == 0 ? "done" : "failed");
}

int main(void) {
    kitsune_do_automigrate();
    heap_migrate_by_hand();
    MIGRATE_GLOBAL(pairs_may_fail);
    serve();
    return 0;
}
