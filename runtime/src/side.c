#define _GNU_SOURCE
/* The engine's memory and its side table (side.h). */
#include "side.h"

#include <sys/mman.h>

/*
 * The first segment of a log is left to small pages, touched as it fills: a small update must not
 * clear megabytes. Later ones are aligned and ask for a huge page each.
 */
static uint8_t *map_segment(int huge) {
    size_t bytes = huge ? 2ul * KITSUNE__SEGMENT_BYTES : KITSUNE__SEGMENT_BYTES;
    uint8_t *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    if (!huge)
        return start;
    size_t lead = -(uintptr_t)start & (KITSUNE__SEGMENT_BYTES - 1);
    if (lead)
        munmap(start, lead);
    munmap(start + lead + KITSUNE__SEGMENT_BYTES, KITSUNE__SEGMENT_BYTES - lead);
    madvise(start + lead, KITSUNE__SEGMENT_BYTES, MADV_HUGEPAGE);
    return start + lead;
}

void kitsune__log_start(struct kitsune__log *log, uint32_t element_bytes) {
    log->element_bytes = element_bytes;
    log->shift = (uint32_t)__builtin_ctz(KITSUNE__SEGMENT_BYTES / element_bytes);
}

int kitsune__log_grow(struct kitsune__log *log) {
    if (log->segment_count == KITSUNE__SEGMENTS_MAX)
        return -1;
    uint8_t *segment = map_segment(log->segment_count > 0);
    if (!segment)
        return -1;
    log->segments[log->segment_count++] = segment;
    return 0;
}

int kitsune__log_release_segment(struct kitsune__log *log) {
    if (!log->segment_count)
        return 0;
    munmap(log->segments[--log->segment_count], KITSUNE__SEGMENT_BYTES);
    log->count = 0;
    return 1;
}

void kitsune__log_release(struct kitsune__log *log) {
    while (kitsune__log_release_segment(log))
        continue;
}

void kitsune__side_start(struct kitsune__side *side) {
    kitsune__log_start(&side->leaves, KITSUNE__LEAF_CELLS * sizeof(uint32_t));
    kitsune__log_start(&side->middles, (1u << KITSUNE__MIDDLE_BITS) * sizeof(uint32_t *));
}

int kitsune__side_release_segment(struct kitsune__side *side) {
    return kitsune__log_release_segment(&side->leaves) ||
           kitsune__log_release_segment(&side->middles);
}

uint32_t *kitsune__side_make(struct kitsune__side *side, uintptr_t address) {
    uint32_t ***middle = &side->top[address >> (KITSUNE__LEAF_BITS + KITSUNE__MIDDLE_BITS)];
    if (!*middle && !(*middle = kitsune__log_push(&side->middles)))
        return NULL;
    uint32_t **leaf =
        &(*middle)[(address >> KITSUNE__LEAF_BITS) & ((1u << KITSUNE__MIDDLE_BITS) - 1)];
    if (!*leaf && !(*leaf = kitsune__log_push(&side->leaves)))
        return NULL;
    return kitsune__side_cell(side, address);
}
