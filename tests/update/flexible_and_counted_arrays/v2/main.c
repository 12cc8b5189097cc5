#include "serve.h"

struct part {
    long weight;
    int number;
};

struct whole {
    int count;
    struct part parts[E_ARRAY(self.count)];
};

struct shelf {
    int width;
    struct part * E_PTRARRAY(self.width) row;
    struct part ** E_PTRARRAY(3) picks;
    char * E_SZ label;
};

static struct whole *whole;
static struct shelf shelf;
static int grid_size = 2;
static struct part * E_PTRARRAY(grid_size * grid_size) grid;

static void set_up(void)
{
    whole = calloc(1, sizeof *whole + 3 * sizeof *whole->parts);
    whole->count = 3;
    shelf.width = 4;
    shelf.row = calloc(4, sizeof *shelf.row);
    shelf.picks = calloc(3, sizeof *shelf.picks);
    shelf.label = strdup("shelf one");
    grid = calloc(4, sizeof *grid);
    for (int i = 0; i < 4; i++) {
        shelf.row[i].number = 10 + i;
        grid[i].number = 20 + i;
        if (i < 3) {
            whole->parts[i].number = i;
            shelf.picks[i] = &shelf.row[3 - i];
        }
    }
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    for (int i = 0; i < whole->count; i++)
        printf("%d %d\n", whole->parts[i].number++, shelf.picks[i]->number++);
    for (int i = 0; i < grid_size * grid_size; i++)
        printf("%d %d\n", grid[i].number++, shelf.row[i].number);
    printf("%s\n", shelf.label);
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating())
        set_up();
    serve();
    return 0;
}
