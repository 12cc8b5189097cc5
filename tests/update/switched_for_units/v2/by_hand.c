#include "parts.h"

static int unknown = 10;
static int noted_only = 11;
static int annotated E_AUTO_MIGRATE E_AUTO = 12;

void note(void)
{
    static int in_function = 13;

    if (kitsune_is_updating())
        kitsune_lookup_key_old("by_hand.c/unknown") ? unknown = 0 : 0;
    NOTE_AND_MIGRATE_STATIC(noted_only);
    NOTE_AND_MIGRATE_LOCAL_STATIC(note, in_function);
    if (!kitsune_is_updating())
        printf("%d %d %d %d\n", ++unknown, ++noted_only, ++annotated, ++in_function);
}
