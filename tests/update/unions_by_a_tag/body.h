/* What both versions do; the types are each version's own. */
#include "serve.h"

static struct record *records;
static struct holder holders[3];
static union message messages[3];
static union big *free_big;
static struct item *items;
static int called;

static void call(int number)
{
    called += number;
}

static struct item *new_item(int number)
{
    struct item *item = calloc(1, sizeof *item);

    item->number = number;
    item->next = items;
    items = item;
    return item;
}

static struct record *new_record(enum kind kind)
{
    struct record *record = calloc(1, sizeof *record);

    record->kind = kind;
    record->next = records;
    records = record;
    return record;
}

static union big *new_big(void)
{
    union big *big = free_big;

    if (big)
        free_big = big->next;
    return big ? big : calloc(1, sizeof *big);
}

static void fill(void)
{
    struct record *record = new_record(NUMBER);

    record->value.number = 77;
    strcpy(record->name.small, "seven");
    record = new_record(TEXT);
    record->value.text = "a literal";
    record->flags = F_BIG;
    record->name.big = new_big();
    strcpy(record->name.big->name, "a name of more letters");
    record = new_record(ITEM);
    record->value.item = new_item(5);
    record->flags = F_POINTER;
    record->name.pointer = "a pointer";
    new_record(NONE)->value.number = -1;

    for (int i = 0; i < 2; i++) {
        union big *big = calloc(1, sizeof *big);
        big->next = free_big;
        free_big = big;
    }
    messages[0].kind = 1;
    messages[0].with_item.item = items;
    messages[1].kind = 2;
    messages[1].with_call.call = call;
    messages[1].with_call.other = items;

    holders[0].is_item = 1;
    holders[0].count = 1;
    holders[0].items = new_item(9);
    holders[0].data = items;
    holders[0].beside = ITEM;
    holders[0].value = calloc(1, sizeof *holders[0].value);
    holders[0].value->item = items->next;
    holders[1].is_item = 0;
    holders[1].real = 2.5;
    holders[1].data = records;
    holders[1].beside = TEXT;
    holders[1].value = calloc(1, sizeof *holders[1].value);
    holders[1].value->text = strdup("behind a pointer");
    holders[2].is_item = 2;
    holders[2].deep = items;
}

static void show_value(enum kind kind, const union value *value)
{
    if (kind == NUMBER)
        printf("%ld", value->number);
    else if (kind == TEXT)
        printf("%s", value->text);
    else if (kind == ITEM)
        printf("item %d", value->item->number);
    else
        printf("nothing");
}

static void show(void)
{
    for (const struct record *record = records; record; record = record->next) {
        show_value(record->kind, &record->value);
        printf(" %s\n", record->flags & F_BIG       ? record->name.big->name
                        : record->flags & F_POINTER ? record->name.pointer
                                                    : record->name.small);
    }
    messages[1].with_call.call(messages[1].with_call.other->number);
    printf("%d %d %d\n", messages[0].with_item.item == messages[1].with_call.other, called,
           messages[2].kind);
    printf("%d %d %.1f %d\n", holders[0].items->number, holders[0].data == holders[0].items,
           holders[1].real, holders[2].deep == holders[0].items);
    show_value(holders[0].beside, holders[0].value);
    printf(" ");
    show_value(holders[1].beside, holders[1].value);
    printf(" %d\n", holders[1].data == records);
}

/* Takes the free ones, so that a wrong list is seen. */
static void take(void)
{
    int count = 0;

    while (free_big) {
        union big *big = new_big();
        memset(big, 'x', sizeof *big);
        count++;
    }
    printf("%d\n", count);
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "fill") == 0)
        fill();
    else if (strcmp(word, "take") == 0)
        take();
    else if (strcmp(word, "break") == 0)
        messages[2].kind = atoi(rest);
    else
        show();
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
