/* Pages of slots: each page is one block, which says itself how large it is. */
#include "serve.h"

#include <stdlib.h>

struct slot {
    int number;
    int again;
    long weight;
};

struct page {
    struct page *next;
    unsigned long bytes;
    unsigned long count;
    struct slot slots[];
};

static struct page *pages;
static struct slot *marked;

static void answer(const char *word, const char *rest)
{
    unsigned long count = strtoul(rest, NULL, 10);

    if (strcmp(word, "page") == 0) {
        unsigned long bytes = sizeof(struct page) + count * sizeof(struct slot);
        struct page *page = calloc(1, bytes);
        page->bytes = bytes;
        page->count = count;
        for (unsigned long i = 0; i < count; i++)
            page->slots[i].number = page->slots[i].again = (int)(count * 100 + i);
        page->next = pages;
        pages = page;
    } else if (strcmp(word, "mark") == 0) {
        marked = &pages->slots[count];
    } else {
        printf("marked %d\n", marked->number);
        for (const struct page *page = pages; page != NULL; page = page->next) {
            int wrong = 0;
            for (unsigned long i = 0; i < page->count; i++)
                wrong += page->slots[i].number != (int)(page->count * 100 + i) ||
                         page->slots[i].again != page->slots[i].number || page->slots[i].weight != 3;
            printf("%lu slots, %d wrong\n", page->count, wrong);
        }
    }
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
