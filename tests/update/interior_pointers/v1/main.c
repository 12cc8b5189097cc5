#include "serve.h"

struct slot {
    int number;
};

struct table {
    int count;
    struct slot slots[4];
    struct slot *best;
};

/* Met before what they point into, after it, and from elsewhere in the heap. */
static struct slot *first;
static int *raw;
static struct table *table;
static struct slot * E_PTRARRAY(3) row;
static struct slot *in_row, *last;
static struct slot fixed[3] = {{1}, {2}, {3}};
static struct slot *in_fixed = &fixed[1];

static void set_up(void)
{
    table = calloc(1, sizeof *table);
    row = calloc(3, sizeof *row);
    for (int i = 0; i < 4; i++)
        table->slots[i].number = 10 + i;
    for (int i = 0; i < 3; i++)
        row[i].number = 20 + i;
    first = &table->slots[1];
    last = &table->slots[3];
    table->best = &table->slots[2];
    raw = &table->slots[0].number;
    in_row = &row[2];
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    table->slots[0].number++, table->slots[1].number++, table->slots[2].number++;
    table->slots[3].number++, row[2].number++, fixed[1].number++;
    printf("%d %d %d %d %d %d\n", first->number, last->number, table->best->number, *raw,
           in_row->number, in_fixed->number);
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating())
        set_up();
    serve();
    return 0;
}
