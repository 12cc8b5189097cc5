/* Link maps (linkmap.h). */
#define _GNU_SOURCE
#include "linkmap.h"

#include <link.h>

#include "blocks.h"

/* Where the allocator does not tell it. */
#define LINK_MAP_BYTES 1200u
#define SIZE_FLAGS 7u

__attribute__((no_sanitize("address"))) struct kitsune__range
kitsune__link_map(const void *handle) {
    uint64_t bytes = LINK_MAP_BYTES;
    if (kitsune__blocks_known())
        bytes = ((const uint64_t *)handle)[-1] & ~(uint64_t)SIZE_FLAGS;
    return (struct kitsune__range){(uintptr_t)handle, (uintptr_t)handle + bytes};
}

/* They are few, and in no order. */
struct kitsune__range kitsune__next_link_map(uintptr_t start, uintptr_t end) {
    const struct link_map *first = NULL;
    for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next)
        if ((uintptr_t)map >= start && (uintptr_t)map < end && (!first || map < first))
            first = map;
    return first ? kitsune__link_map(first) : (struct kitsune__range){end, end};
}
