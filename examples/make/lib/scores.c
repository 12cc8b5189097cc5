#include "config.h"

#include "scores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_name(struct player *player, const char *name)
{
#ifdef HAVE_STRLCPY
    strlcpy(player->name, name, sizeof player->name);
#else
    snprintf(player->name, sizeof player->name, "%s", name);
#endif
}

struct player *scores_player(struct scores *scores, const char *name)
{
    if (!scores->end)
        scores->end = &scores->first;
    for (struct player *player = scores->first; player; player = player->next)
        if (strcmp(player->name, name) == 0)
            return player;
    struct player *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    set_name(made, name);
    *scores->end = made;
    scores->end = &made->next;
    return made;
}
