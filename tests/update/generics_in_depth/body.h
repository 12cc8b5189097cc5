static struct item *new_item(int number)
{
    struct item *item = calloc(1, sizeof *item);

    item->number = number;
    return item;
}

static struct cell *new_cell(void *value, struct cell *next)
{
    struct cell *cell = calloc(1, sizeof *cell);

    cell->value = value;
    cell->next = next;
    return cell;
}

static void fill(void)
{
    struct triple *inner = calloc(1, sizeof *inner);
    struct item **pointer = calloc(1, sizeof *pointer);
    int *number = malloc(sizeof *number);

    for (int i = 0; i < 3; i++)
        items[i] = new_item(i + 1);
    left_alone = followed = items[0];
    map = calloc(1, sizeof *map);
    map->count = 2;
    map->notes = calloc(2, sizeof *map->notes);
    for (int i = 0; i < 2; i++) {
        map->keys[i] = items[i];
        map->cells[i] = new_cell(new_cell(items[i], NULL), new_cell(new_cell(items[2], NULL), NULL));
        map->notes[i] = items[2 - i];
    }
    map->parent = calloc(1, sizeof *map);
    map->parent->keys[1] = items[2];
    words = calloc(1, sizeof *words);
    words->keys[0] = (void *)0x1234;
    words->keys[1] = items; /* a word all the same: only its bits are kept */
    words->cells[0] = new_cell(items[0], NULL);
    *number = 42;
    words->notes = calloc(1, sizeof *words->notes);
    words->count = 1;
    words->notes[0] = number;
    *pointer = items[1];
    inner->a = number;
    inner->b = items[2];
    inner->c = (void *)77;
    triple.a = items[0];
    triple.b = inner;
    triple.c = pointer;
    chained = new_cell(items[1], new_cell(items[2], NULL));
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "fill") == 0)
        fill();
    for (int i = 0; i < 2; i++)
        printf("%d %d %d %d\n", map->keys[i] == items[i],
               ((struct cell *)map->cells[i]->value)->value == items[i],
               ((struct cell *)map->cells[i]->next->value)->value == items[2],
               map->notes[i] == items[2 - i]);
    printf("%d %lx %d %d\n", map->parent->keys[1] == items[2], (long)words->keys[0],
           words->cells[0]->value == items[0], *(int *)words->notes[0]);
    struct triple *inner = triple.b;
    printf("%d %d %d %ld %d\n", triple.a == items[0], *(int *)inner->a, inner->b == items[2],
           (long)inner->c, *(struct item **)triple.c == items[1]);
    printf("%d %d %d %d %d\n", ((struct item *)chained->value)->number,
           chained->next->value == items[2], items[2]->number, followed == items[0],
           left_alone == followed);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
