/*
 * What the dynamic linker keeps of each loaded object, in memory of the program's allocator.
 *
 * Beside addresses of its own object a link map holds one that is only computed with: where a table would begin
 * if it had entries for all symbols. That lies below the object, maybe in another one. So no word of
 * any link map says anything about what it points to.
 *
 * Context: any in which no other thread loads objects. No allocation, no lock.
 */
#ifndef KITSUNE_LINKMAP_H
#define KITSUNE_LINKMAP_H

#include <stdint.h>

#include "transform.h"

/* The memory of one; `handle` as dlopen returned it. */
struct kitsune__range kitsune__link_map(const void *handle);
/* The memory of that which comes first in [start, end); empty, at `end`, if there is none. */
struct kitsune__range kitsune__next_link_map(uintptr_t start, uintptr_t end);

#endif
