#include "engine.h"

int main(void) {
    static struct _kitsune_old_rename_odd a, b;
    static struct _kitsune_new_rename_odd moved;
    a.tag = 7;
    a.corners[1][2].y = 12;
    a.both = 0x200000001;
    a.bits.hi = 99;
    a.sign = _kitsune_old_rename_MINUS;
    a.wide = 1.5L;
    a.is_set = 1;
    a.number.d = 2.5;
    a.next = &b;
    a.link.back = &b;
    b.next = &b;
    _kitsune_migrate_odd(engine(), &a, &moved);
    engine_settle(engine());
    printf("%d %d %d %d,%d %u %d\n", moved.tag, moved.added, moved.corners[1][2].y, moved.a, moved.b,
           moved.bits.hi, moved.sign);
    printf("%.1Lf %d %.1f\n", moved.wide, moved.is_set, moved.number.d);
    printf("shared %d loop %d moved %d\n", moved.next == moved.link.back,
           moved.next->next == moved.next, engine_moved);
    return 0;
}
