/* A pool with a header before each block, lists of free ones by size, and counters. */
#include "serve.h"
#include "fail.h"

struct header {
    size_t size;
    struct header *next; /* of the free ones */
};

static struct header *free_blocks;
static int blocks_in_use;
static size_t bytes_in_use;

void *pool_get(size_t size)
{
    struct header *header, **link = &free_blocks;

    while (*link && (*link)->size != size)
        link = &(*link)->next;
    header = *link;
    if (header)
        *link = header->next;
    else
        header = malloc(sizeof *header + size);
    header->size = size;
    blocks_in_use++;
    bytes_in_use += size;
    return header + 1;
}

void pool_put(void *block)
{
    struct header *header = (struct header *)block - 1;

    blocks_in_use--;
    bytes_in_use -= header->size;
    header->next = free_blocks;
    free_blocks = header;
}

static struct item *E_CUSTOM(pool_get, pool_put) items;
static struct item *last; /* shared, without a word */

static void spoil_old_state(void)
{
    bytes_in_use = 7;
}

static void add(int number)
{
    struct item *item = pool_get(sizeof *item);

    memset(item, 0, sizeof *item);
    item->number = number;
    item->next = items;
    items = item;
    if (!last)
        last = item;
}

static void take(void)
{
    struct item *item = items;

    items = item->next;
    pool_put(item);
}

static void answer(const char *word, const char *rest)
{
    int sum = 0, count = 0;

    if (strcmp(word, "add") == 0)
        for (int i = atoi(rest); i > 0; i--)
            add(i);
    if (strcmp(word, "take") == 0)
        take();
    for (const struct item *item = items; item; item = item->next) {
        sum += item->number;
        count++;
    }
    printf("%d sum %d last %d, %d blocks of %zu\n", count, sum, last->number, blocks_in_use,
           bytes_in_use / sizeof(struct item));
}

int main(void)
{
    kitsune_do_automigrate();
    fail_at("migrated");
    serve();
    return 0;
}
