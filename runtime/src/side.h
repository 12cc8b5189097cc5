/*
 * The engine's memory: logs of equal elements, and the side table from old addresses to claims.
 *
 * Invariants:
 *  - All of it is mapped, never malloc'ed: the engine must not disturb the allocator whose blocks it
 *    moves, and a rollback unmaps it with no help from here.
 *  - An element of a log never moves, so pointers to it stay valid until the log is released.
 *  - A cell of the side table stands for 16 bytes of old memory: 0, or the number of the only claim
 *    in it, or (bit 31) the number of the first node of a chain, or (bit 30) the only mark in it. Each
 *    claim is in all of its cells.
 *
 * Context: one thread at a time, not signal handlers.
 */
#ifndef KITSUNE_SIDE_H
#define KITSUNE_SIDE_H

#include <stddef.h>
#include <stdint.h>

/* A segment is as large as a huge page: where there are such, first touch costs a tenth. */
#define KITSUNE__SEGMENT_BYTES (2u << 20)
#define KITSUNE__SEGMENTS_MAX 32768u

struct kitsune__log {
    uint64_t count;
    uint32_t shift;         /* log2 of the elements in a segment */
    uint32_t element_bytes; /* a power of two */
    uint32_t segment_count;
    uint8_t *segments[KITSUNE__SEGMENTS_MAX];
};

/* `element_bytes` must be a power of two. The log must be all zeros. */
void kitsune__log_start(struct kitsune__log *log, uint32_t element_bytes);
void kitsune__log_release(struct kitsune__log *log);
/* Unmaps the last segment; zero if there was none. */
int kitsune__log_release_segment(struct kitsune__log *log);
/* Makes room for one more element. 0, or -1 if there is no memory. */
int kitsune__log_grow(struct kitsune__log *log);

static inline void *kitsune__log_at(const struct kitsune__log *log, uint64_t index) {
    uint64_t within = index & ((1ull << log->shift) - 1);
    return log->segments[index >> log->shift] + within * log->element_bytes;
}

/* The same for elements of a known type, whose size is the log's: no multiplication. */
#define KITSUNE__LOG_AT(log, type, index)                                                          \
    ((type *)(log)->segments[(index) / (KITSUNE__SEGMENT_BYTES / sizeof(type))] +                  \
     (index) % (KITSUNE__SEGMENT_BYTES / sizeof(type)))

/* The new last element, of zeros if its place was never used; NULL if there is no memory. */
static inline void *kitsune__log_push(struct kitsune__log *log) {
    if ((log->count >> log->shift) >= log->segment_count && kitsune__log_grow(log) != 0)
        return NULL;
    return kitsune__log_at(log, log->count++);
}

/* Makes room for the next element of a known type; its number is the count before. */
#define KITSUNE__LOG_NEXT(log, type)                                                               \
    (__builtin_expect((log)->count / (KITSUNE__SEGMENT_BYTES / sizeof(type)) >=                    \
                              (log)->segment_count &&                                              \
                          kitsune__log_grow(log) != 0,                                             \
                      0)                                                                           \
         ? NULL                                                                                    \
         : ((log)->count++, KITSUNE__LOG_AT(log, type, (log)->count - 1)))

#define KITSUNE__ADDRESS_BITS 47 /* of user addresses */
#define KITSUNE__GRANULE_BITS 4
#define KITSUNE__LEAF_BITS 20 /* a leaf stands for 1 MB */
#define KITSUNE__MIDDLE_BITS 14
#define KITSUNE__TOP_BITS (KITSUNE__ADDRESS_BITS - KITSUNE__LEAF_BITS - KITSUNE__MIDDLE_BITS)
#define KITSUNE__LEAF_CELLS (1u << (KITSUNE__LEAF_BITS - KITSUNE__GRANULE_BITS))
#define KITSUNE__CELL_CHAIN 0x80000000u
#define KITSUNE__CELL_MARK 0x40000000u /* and 4 bits of offset in the granule, 26 of `from` */
#define KITSUNE__MARK_FROM_BITS 26

struct kitsune__side {
    uint32_t **top[1u << KITSUNE__TOP_BITS];
    struct kitsune__log leaves; /* their memory: elements are leaves */
    struct kitsune__log middles;
};

void kitsune__side_start(struct kitsune__side *side);
/* Gives back one segment of its memory; zero if nothing is left. No lookups afterwards. */
int kitsune__side_release_segment(struct kitsune__side *side);

/* Makes the cell's leaf. NULL if there is no memory. */
uint32_t *kitsune__side_make(struct kitsune__side *side, uintptr_t address);

/* The cell of an address, NULL if nothing near was ever claimed. The address has at most
 * KITSUNE__ADDRESS_BITS bits. */
static inline uint32_t *kitsune__side_cell(const struct kitsune__side *side, uintptr_t address) {
    uint32_t **middle = side->top[address >> (KITSUNE__LEAF_BITS + KITSUNE__MIDDLE_BITS)];
    if (!middle)
        return NULL;
    uint32_t *leaf = middle[(address >> KITSUNE__LEAF_BITS) & ((1u << KITSUNE__MIDDLE_BITS) - 1)];
    return leaf ? &leaf[(address >> KITSUNE__GRANULE_BITS) & (KITSUNE__LEAF_CELLS - 1)] : NULL;
}

#endif
