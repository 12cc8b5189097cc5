#include "engine.h"

int main(void) {
    static struct _kitsune_old_rename_point fixed = {8, 9, NULL};
    struct _kitsune_old_rename_point old_point = {1, 2, &fixed}, *old_alias = &old_point;
    struct _kitsune_new_rename_point point, *alias = NULL;
    int old_other[2] = {4, 5}, old_number = 3, was_a_local = 0, fresh = 0;
    long number = 0;
    _kitsune_migrate_main_point(engine(), &old_point, &point);
    _kitsune_migrate_main_alias(engine(), &old_alias, &alias);
    _kitsune_migrate_main_c_was_a_local(engine(), &old_other, &was_a_local);
    _kitsune_migrate_main_number(engine(), &old_number, &number);
    _kitsune_migrate_main_fresh(engine(), NULL, &fresh);
    engine_settle(engine());
    printf("%d %ld %d, %d %ld %d, ", point.x, point.y, point.weight, point.next->x, point.next->y,
           point.next->weight);
    printf("%d %ld, %d %ld %d\n", alias->x, alias->next->y, was_a_local, number, fresh);
    return 0;
}
