#ifndef SCORES_H
#define SCORES_H

/* Players in the order in which they came. */

struct player {
    char name[24];
    int points;
    struct player *next;
};

struct scores {
    struct player *first, **end;
};

/* Returns the player of that name, who is added if there is none; NULL without memory. */
struct player *scores_player(struct scores *scores, const char *name);

#endif
