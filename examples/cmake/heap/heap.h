#ifndef HEAP_H
#define HEAP_H

/* What is due first is on top. */

struct reminder {
    long due_ms;
    char text[64];
};

struct heap {
    struct reminder **items;
    int count, room;
};

/* Takes the reminder over. Returns 0, or -1 without memory. */
int heap_add(struct heap *heap, struct reminder *reminder);
/* NULL if there is none. */
struct reminder *heap_top(const struct heap *heap);
/* Gives the top to the caller. */
struct reminder *heap_take(struct heap *heap);

#endif
