/* The look through the heap (seek.h). */
#define _GNU_SOURCE
#include "seek.h"

#include "blocks.h"
#include "mappings.h"

#define AT_ONCE 8u
#define HEADER_BYTES 16u

struct look {
    const struct kitsune__seek *seek;
    uintptr_t heap_start, heap_end;
};

/* Free blocks may hold stale words, and the caches' own: sanitizers know nothing of either. */
__attribute__((no_sanitize("address"))) void kitsune__seek_in(const struct kitsune__seek *seek,
                                                              uintptr_t start, uintptr_t end) {
    const uintptr_t low = seek->low, width = seek->high - seek->low;
    uintptr_t *at = (uintptr_t *)((start + 7) & ~7ul), *stop = (uintptr_t *)(end & ~7ul);
    while (at < stop) {
        uint64_t count = (uint64_t)(stop - at) < AT_ONCE ? (uint64_t)(stop - at) : AT_ONCE;
        int any = 0;
        /* Nearly always none: one branch for a line of the cache. */
        if (count == AT_ONCE)
            for (uint64_t i = 0; i < AT_ONCE; i++)
                any |= at[i] - low < width;
        if (any || count < AT_ONCE)
            for (uint64_t i = 0; i < count; i++)
                if (at[i] - low < width)
                    seek->found(seek->context, &at[i]);
        at += count;
    }
}

/* Chunks that were mapped alone; the kernel may have joined several of them to one mapping. */
static int look_at_mapping(void *context, const struct kitsune__mapping *mapping) {
    const struct look *look = context;
    int anonymous = mapping->inode == 0 && mapping->name[0] == '\0' &&
                    mapping->permissions[0] == 'r' && mapping->permissions[1] == 'w' &&
                    mapping->permissions[3] == 'p';
    if (!anonymous || (mapping->start >= look->heap_start && mapping->start < look->heap_end))
        return 0;
    for (uintptr_t at = mapping->start; mapping->end - at > HEADER_BYTES;) {
        uint64_t bytes = kitsune__blocks_mapped_size(at + HEADER_BYTES);
        if (!bytes || bytes > mapping->end - at - HEADER_BYTES)
            return 0;
        kitsune__seek_in(look->seek, at + HEADER_BYTES, at + HEADER_BYTES + bytes);
        at += HEADER_BYTES + bytes;
    }
    return 0;
}

int kitsune__seek_in_heap(const struct kitsune__seek *seek) {
    struct look look = {seek, 0, 0};
    kitsune__blocks_heap(&look.heap_start, &look.heap_end);
    if (!look.heap_start)
        return -1;
    kitsune__seek_in(seek, look.heap_start, look.heap_end);
    return kitsune__mappings(look_at_mapping, &look) == 0 ? 0 : -1;
}
