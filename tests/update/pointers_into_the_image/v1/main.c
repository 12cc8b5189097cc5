#include "serve.h"

struct entry {
    int *counter;
    struct entry *next;
};

static int counters[3] = {100, 200, 300};
static int single = 7;
int shared_counter = 9;

static struct entry *entries;

static void add(int *counter)
{
    struct entry *entry = malloc(sizeof *entry);

    *entry = (struct entry){counter, entries};
    entries = entry;
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    for (int i = 0; i < 3; i++)
        counters[i]++;
    single++, shared_counter++;
    for (const struct entry *entry = entries; entry; entry = entry->next)
        printf("%d\n", *entry->counter);
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating()) {
        add(&counters[2]);
        add(&single);
        add(&shared_counter);
        add(&counters[0]);
    }
    serve();
    return 0;
}
