#include <stdlib.h>
#include "serve.h"

static struct item *items[3];
static struct tagged tagged[2];
static union number alone;
static struct around *arounds[2];
static struct slots *slots[3];
static union alike alike[2];
static struct object objects[2];

struct operations {
    const char *name;
};

static const struct operations item_operations = {"item"}, number_operations = {"number"};

static int read_item(const struct object *object)
{
    return object->of.item->number;
}

static int read_number(const struct object *object)
{
    return (int)object->of.number;
}

static void fill(void)
{
    for (int i = 0; i < 3; i++) {
        items[i] = calloc(1, sizeof *items[i]);
        items[i]->number = i + 1;
        slots[i] = calloc(1, sizeof *slots[i] + 2 * sizeof slots[i]->slot[0]);
        slots[i]->kind = i;
        slots[i]->count = 2;
    }
    tagged[0].number.small = -5;
    tagged[1].is_real = 1;
    tagged[1].number.real = 2.5f;
    alone.small = 9;
    for (int i = 0; i < 2; i++) {
        arounds[i] = calloc(1, sizeof *arounds[i]);
        arounds[i]->kind = i;
        slots[0]->slot[i].bits = 70 + i;
        slots[1]->slot[i].item = items[i];
        slots[2]->slot[i].pair.length = (short)(80 + i);
        slots[2]->slot[i].pair.of = items[2 - i];
    }
    arounds[0]->what.id = 33;
    arounds[1]->what.item = items[1];
    objects[0] = (struct object){&item_operations, read_item, {.item = items[2]}};
    objects[1] = (struct object){&number_operations, read_number, {.number = 55}};
    alike[0].left = items[0];
    alike[1].right = items[2];
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "fill") == 0)
        fill();
    printf("%ld %.1f %ld, %ld %d\n", (long)tagged[0].number.small, (double)tagged[1].number.real,
           (long)alone.small, (long)arounds[0]->what.id, arounds[1]->what.item == items[1]);
    for (int i = 0; i < 2; i++)
        printf("%ld %d %d %d %d\n", slots[0]->slot[i].bits, slots[1]->slot[i].item == items[i],
               (int)slots[2]->slot[i].pair.length, slots[2]->slot[i].pair.of == items[2 - i],
               i ? alike[1].right == items[2] : alike[0].left == items[0]);
    for (int i = 0; i < 2; i++)
        printf("%s %d; ", objects[i].operations->name, objects[i].read(&objects[i]));
    printf("%d\n", items[2]->number);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
