/*
 * A look through the program's heap, and the variables of its libraries, for words that lie in a range of
 * addresses.
 *
 * Invariants:
 *  - Only memory of the program's allocator is read: its main heap, free blocks included, and the blocks
 *    that were mapped alone. Nothing of it is written here.
 *  - Of shared objects only what they can write is read. The launcher, the dynamic linker and the program's
 *    own versions are none of them.
 *  - What the dynamic linker keeps of objects is its own: it is not looked at.
 *  - No allocation; no lock but the dynamic linker's, for the list of its objects.
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
    int (*is_version)(void *context,
                      uintptr_t address); /* whether it lies in one of the program's images */
    void *context;
};

/* Looks at [start, end). */
void kitsune__seek_in(const struct kitsune__seek *seek, uintptr_t start, uintptr_t end);
/* Looks at the heap, on all processors that there are. Returns 0, or -1 if the allocator is none whose memory can
 * be told, or there is no memory for the look. */
int kitsune__seek_in_heap(const struct kitsune__seek *seek);
/* Looks at the variables of shared objects. */
void kitsune__seek_in_libraries(const struct kitsune__seek *seek);

#endif
