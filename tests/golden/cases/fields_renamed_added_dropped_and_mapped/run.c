#include "engine.h"

int main(void) {
    static struct _kitsune_old_rename_item b = {"b", 7, _kitsune_old_rename_BLUE, {3, 4}, 0, 9, 0, 0};
    static struct _kitsune_old_rename_item a = {"a", -5, _kitsune_old_rename_RED, {1, 2}, 1, 31, 8, &b};
    struct _kitsune_old_rename_item *old_items = &a;
    struct _kitsune_new_rename_entry *items = NULL, *first = NULL;
    b.next = &a;
    _kitsune_migrate_items(engine(), &old_items, &items);
    _kitsune_migrate_first(engine(), &old_items, &first);
    engine_settle(engine());
    for (struct _kitsune_new_rename_entry *at = items; at; at = at->next == items ? NULL : at->next)
        printf("%s %ld color %d at %d,%d open %u level %u weight %.1f hits %d\n", at->name, at->size,
               (int)at->color, at->where.x, at->where.y, at->is_open, at->level, at->weight,
               at->hits);
    printf("cycle %d shared %d\n", items->next->next == items, first == items);
    return 0;
}
