#include "engine.h"

int main(void) {
    static struct _kitsune_old_rename_item pool[2] = {{1, &pool[1]}, {2, &pool[0]}};
    static struct _kitsune_old_rename_item more[2] = {{3, &pool[1]}, {4, NULL}};
    struct _kitsune_old_rename_item *slots[2] = {&pool[1], NULL}, *old_pool = pool;
    struct _kitsune_old_rename_list node = {&pool[0], NULL}, *old_list = &node;
    struct _kitsune_old_rename_vector old_vector = {(char *)more, sizeof more};
    static const long tail[4] = {10, 11, 12, 13};
    struct _kitsune_old_rename_table *old_table = malloc(sizeof *old_table + sizeof tail);
    struct _kitsune_new_rename_item *new_pool, *moved;
    struct _kitsune_new_rename_list *list;
    struct _kitsune_new_rename_table *table;
    struct _kitsune_new_rename_vector vector;
    unsigned long size = 2;
    *old_table = (struct _kitsune_old_rename_table){2, slots, "text"};
    memcpy(old_table->tail, tail, sizeof tail);
    engine_variable("Pool_Size", &size);
    _kitsune_migrate_pool(engine(), &old_pool, &new_pool);
    _kitsune_migrate_list(engine(), &old_list, &list);
    _kitsune_migrate_table(engine(), &old_table, &table);
    _kitsune_migrate_items_vector(engine(), &old_vector, &vector);
    engine_settle(engine());
    printf("pool %d %d more %d\n", new_pool[0].id, new_pool[1].id, new_pool[1].more);
    printf("peers %d %d\n", new_pool[0].peer == &new_pool[1], new_pool[1].peer == &new_pool[0]);
    printf("list %d kept %d\n", list->value == (void *)&new_pool[0], (void *)list == (void *)&node);
    printf("table %u %u %s slots %d\n", table->used, table->flags, table->text,
           table->slots[0] == &new_pool[1] && table->slots[1] == NULL);
    printf("tail %ld %ld\n", table->tail[0], table->tail[3]);
    moved = (struct _kitsune_new_rename_item *)vector.mem;
    printf("vector %lu %d %d\n", vector.bytes / sizeof *moved, moved[1].id,
           moved[0].peer == &new_pool[1]);
    return 0;
}
