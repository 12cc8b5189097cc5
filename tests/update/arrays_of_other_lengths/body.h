/* Arrays that grow and shrink, in arrays that do; counted and ended ones behind pointers. */
#include <stdlib.h>
#include "serve.h"

struct row {
    struct part cells[CELLS];
    char name[NAME];
};

struct table {
    int used;
    struct row rows[ROWS];
    int grid[ROWS][CELLS];
    short shorter[SHORT];       /* by a rule that drops */
    struct part *links[LINKS];  /* by a rule that moves */
    struct {
        struct part * E_PTRARRAY(self.used) inner; /* `used` is in the struct around */
    } deep;
};

struct pair {
    int key;
    struct part *part;
};

struct ended {
    struct pair * E_SZ pairs;              /* ended by a pair of zeroes */
    struct part ** E_SZ parts;             /* ended by a null pointer */
    char * E_SZ * E_SZ words;              /* as argv */
    struct part ** E_PTRARRAY(2) * E_PTRARRAY(self.count) matrix;
    int count;
};

struct tail {
    unsigned char count;
    struct row rows[E_ARRAY(self.count)];
};

static struct table *tables[2];
static struct ended ended;
static struct tail *tail;
static char title[NAME] = "title";
static struct part pool[CELLS];
static struct part *in_the_middle[3];

static struct part *new_part(int number)
{
    struct part *part = calloc(1, sizeof *part);

    part->number = number;
    part->other = part;
    return part;
}

static void fill_table(struct table *table, int base)
{
    table->used = 2;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            table->rows[i].cells[j].number = base + 10 * i + j;
            table->rows[i].cells[j].other = &table->rows[1 - i].cells[j];
            table->grid[i][j] = base + 100 * i + j;
        }
        snprintf(table->rows[i].name, 8, "r%d", base + i);
        table->shorter[i] = (short)(base + i);
        table->links[i] = new_part(base + 7 + i);
    }
    table->deep.inner = calloc(2, sizeof *table->deep.inner);
    table->deep.inner[1].number = base + 9;
}

static void fill(void)
{
    for (int i = 0; i < 2; i++)
        fill_table(tables[i] = calloc(1, sizeof *tables[i]), 1000 * (i + 1));
    ended.pairs = calloc(3, sizeof *ended.pairs);
    ended.parts = calloc(3, sizeof *ended.parts);
    ended.words = calloc(3, sizeof *ended.words);
    ended.count = 2;
    ended.matrix = calloc(2, sizeof *ended.matrix);
    for (int i = 0; i < 2; i++) {
        ended.pairs[i].key = i + 1;
        ended.pairs[i].part = &tables[i]->rows[i].cells[1];
        ended.parts[i] = new_part(i + 50);
        ended.words[i] = i ? "literal" : strdup("heap");
        ended.matrix[i] = calloc(2, sizeof *ended.matrix[i]);
        ended.matrix[i][1] = ended.parts[i];
        pool[i].number = 60 + i;
    }
    tail = calloc(1, sizeof *tail + 2 * sizeof *tail->rows);
    tail->count = 2;
    tail->rows[1].cells[1].number = 77;
    tail->rows[1].cells[1].other = &pool[1];
    strcpy(tail->rows[1].name, "tail");
    in_the_middle[0] = &tables[1]->rows[1].cells[1];
    in_the_middle[1] = &tail->rows[1].cells[1];
    in_the_middle[2] = &pool[1];
}

static void show_table(const struct table *table)
{
    for (int i = 0; i < ROWS; i++)
        printf("%d,%d,%d %d %s; ", table->rows[i].cells[0].number, table->rows[i].cells[1].number,
               table->rows[i].cells[CELLS - 1].number, table->grid[i][1], table->rows[i].name);
    printf("%d %d %d %d %d\n", table->rows[0].cells[1].other == &table->rows[1].cells[1],
           table->shorter[1], table->links[0]->number, table->links[1]->other == table->links[1],
           table->deep.inner[1].number);
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "fill") == 0)
        fill();
    for (int i = 0; i < 2; i++)
        show_table(tables[i]);
    printf("%d %d %d, %d %d, %s %s %d, %d %d\n", ended.pairs[0].part == &tables[0]->rows[0].cells[1],
           ended.pairs[1].part == &tables[1]->rows[1].cells[1], ended.pairs[2].key,
           ended.parts[1]->number, ended.parts[2] == NULL, ended.words[0], ended.words[1],
           ended.words[2] == NULL, ended.matrix[1][1] == ended.parts[1], ended.matrix[0][0] == NULL);
    printf("%d %s %d; %d %d %d; %s %d\n", tail->rows[1].cells[1].number, tail->rows[1].name,
           tail->rows[1].cells[1].other == &pool[1], in_the_middle[0] == &tables[1]->rows[1].cells[1],
           in_the_middle[1] == &tail->rows[1].cells[1], in_the_middle[2] == &pool[1], title,
           pool[1].number);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
