/*
 * The pool of constants that old versions left behind: string literals and unnamed constant data to
 * which the program's state points, interned by content.
 *
 * Invariants:
 *  - Nothing in the pool is ever freed or moved, so a pointer into it is valid in every later version,
 *    and a chain of updates finds its texts again instead of growing.
 *  - Mapped memory; made inside a transaction, it vanishes with the rollback.
 *
 * Context: the program's thread, not signal handlers.
 */
#ifndef KITSUNE_TEXTS_H
#define KITSUNE_TEXTS_H

#include <stdint.h>

/* The pool's copy of the bytes, aligned to 16. NULL if there is no memory. `*added` is set if the
 * content was not there before. */
const void *kitsune__texts_intern(const void *bytes, uint64_t size_bytes, int *added);

#endif
