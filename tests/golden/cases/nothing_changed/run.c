#include "engine.h"

int main(void) {
    struct _kitsune_old_rename_event b = {2, NULL, NULL}, a = {1, NULL, &b}, *old_events = &a;
    static char p[24]; /* closed: generated code does not know what is in it */
    struct _kitsune_old_rename_plain *old_plains = (void *)p;
    struct _kitsune_new_rename_event *events;
    struct _kitsune_new_rename_plain *plains;
    _kitsune_migrate_events(engine(), &old_events, &events);
    _kitsune_migrate_plains(engine(), &old_plains, &plains);
    engine_settle(engine());
    printf("kept %d %d\n", (void *)events == (void *)&a, (void *)plains == (void *)p);
    printf("moved %d visited %d functions %d\n", engine_moved, engine_visited, engine_functions);
    return 0;
}
