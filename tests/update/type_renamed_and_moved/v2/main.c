#include "entry.h"
#include "serve.h"

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0)
        entry_add(rest);
    else
        entry_list();
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
