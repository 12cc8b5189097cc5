#include "engine.h"

int main(void) {
    struct _kitsune_old_rename_item one = {1}, two = {2};
    struct _kitsune_old_rename_record first = {.kind = 2, .flags = 5}, *old = &first;
    struct _kitsune_new_rename_record *new;
    first.values[0].item = &one;
    first.values[1].item = &two;
    first.hidden = &two;
    first.message.with_item.kind = 1;
    first.message.with_item.item = &one;
    first.data = &two;
    first.owner = &(struct _kitsune_old_rename_owner){1};
    first.owned.item = &one;
    _kitsune_migrate_record(engine(), &old, &new);
    engine_settle(engine());
    printf("%d %d %ld\n", new->kind, new->values[0].item->number, new->values[1].item->weight);
    printf("%d\n", new->owned.item == new->values[0].item);
    printf("%d %d %d %d\n", new->hidden == new->values[1].item, new->data == (void *)new->hidden,
           new->message.with_item.item == new->values[0].item, engine_moved);
    struct _kitsune_old_rename_record second = {.flags = 1, .real = 1.5};
    second.data = "text";
    second.kind = 1;
    second.owner = &(struct _kitsune_old_rename_owner){0};
    second.values[0].text = second.data;
    old = &second;
    _kitsune_migrate_record(engine(), &old, &new);
    engine_settle(engine());
    printf("%d %s %s %.1f\n", new->kind, new->values[0].text, (char *)new->data, new->real);
    return 0;
}
