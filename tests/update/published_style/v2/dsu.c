/* What the program itself knows of its updates, written by hand. */
#include "server.h"

#define FIRST 100

/* A global of the old version, changed on the way. */
int GLOBAL_XFORM(old_style_counter)(void *_new_counter)
{
    int *new_counter = _new_counter;
    int *old_counter = GET_OLD_GLOBAL(old_style_counter);

    if (!old_counter)
        return 0;
    *new_counter = *old_counter + FIRST;
    return 1;
}

int STATIC_XFORM(main_c, updates)(void *_new_updates)
{
    *(int *)_new_updates = kitsune_get_xform("updates", NULL, "main.c", NULL) != NULL;
    return 1;
}

int LOCAL_STATIC_XFORM(main_c, stats_event, count)(void *_new_count)
{
    int *old_count = kitsune_lookup_key_old("main.c/stats_event#count");

    *(int *)_new_count = *old_count * 3;
    return 1;
}
