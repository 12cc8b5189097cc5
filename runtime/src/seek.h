/*
 * A look through the program's heap for words that lie in a range of addresses.
 *
 * Invariants:
 *  - Only memory of the program's allocator is read: its main heap, free blocks included, and the blocks
 *    that were mapped alone. Nothing of it is written here.
 *  - No allocation, no lock.
 *
 * Context: the program's thread inside a transaction, all other threads stopped.
 */
#ifndef KITSUNE__SEEK_H
#define KITSUNE__SEEK_H

#include <stdint.h>

/* What is looked for, [low, high), and who is told of each aligned word that holds such a value. */
struct kitsune__seek {
    uintptr_t low, high;
    void (*found)(void *context, uintptr_t *where);
    void *context;
};

/* Looks at [start, end). */
void kitsune__seek_in(const struct kitsune__seek *seek, uintptr_t start, uintptr_t end);
/* Looks at the heap. Returns 0, or -1 if the allocator is none whose memory can be told. */
int kitsune__seek_in_heap(const struct kitsune__seek *seek);

#endif
