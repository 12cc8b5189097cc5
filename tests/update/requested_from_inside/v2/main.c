#include "serve.h"

static int kept;

/* `next PATH` asks for an update to PATH, `clear PATH` asks and thinks better of it. */
static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "keep") == 0) {
        kept = atoi(rest);
    } else if (strcmp(word, "log") == 0) {
        kitsune_log("%s says %d", rest, kept);
    } else if (strcmp(word, "version") == 0) {
        printf("%d %d\n", 2, kept);
    } else {
        kitsune_set_next_version(strdup(rest));
        printf("%d", kitsune_update_requested());
        kitsune_signal_update();
        printf(" %d", kitsune_update_requested());
        if (strcmp(word, "clear") == 0)
            kitsune_clear_request();
        printf(" %d\n", kitsune_update_requested());
    }
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
