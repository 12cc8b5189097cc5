/*
 * The allocator seam: what is known of the block of the program's allocator that holds an address.
 *
 * Invariants:
 *  - An answer is a proof or UNKNOWN. For glibc's malloc it comes from a walk over all chunks of the
 *    main heap, which must end exactly at the program break, and from the headers of chunks that
 *    were mapped alone. For any other allocator (a sanitizer's, valgrind's, one that was preloaded)
 *    each answer is UNKNOWN, and nothing is freed on the strength of it.
 *  - No function here allocates from, frees to or locks the allocator, except kitsune__blocks_settle.
 *
 * An exact allocator is put in by giving these functions another body.
 *
 * Context: while the program does not run (an update point, or a copy of the process).
 */
#ifndef KITSUNE_BLOCKS_H
#define KITSUNE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

enum kitsune__block_kind {
    KITSUNE__BLOCK_UNKNOWN = 0,
    KITSUNE__BLOCK_WHOLE,  /* the address is the start of a block in use */
    KITSUNE__BLOCK_INSIDE, /* it is inside a block, a header or free memory */
    KITSUNE__BLOCK_OUTSIDE /* it is no memory of the allocator */
};

struct kitsune__block {
    enum kitsune__block_kind kind;
    uintptr_t start;     /* what malloc returned; WHOLE and INSIDE */
    uint64_t size_bytes; /* usable */
};

/* Non-zero if the program's malloc is one whose blocks can be told. Decided once, cached. */
int kitsune__blocks_known(void);

/*
 * A cheap look at the block that would start at `address`: non-zero if a chunk header right before
 * it says that a block in use starts there which an object of `size_bytes` fills but for the slack
 * that malloc leaves. Proves nothing; a zero asks for kitsune__blocks_find. The bytes before the
 * address must be readable unless it is page-aligned.
 */
int kitsune__blocks_plausible(uintptr_t address, uint64_t size_bytes);

/* Bytes that malloc may give beyond those asked for, for a block of this usable size. */
uint64_t kitsune__blocks_slack(uint64_t block_bytes);

/* Answers for one address. Walks the heap: O(blocks). */
struct kitsune__block kitsune__blocks_find(uintptr_t address);

/* Finds the main heap for all other functions, and says where it is; zero if unknown. To be called
 * once before them, in a copy of the process once more. */
void kitsune__blocks_heap(uintptr_t *start, uintptr_t *end);

/*
 * Walks all blocks of the main heap in the order of addresses and calls `visit` for each: `in_use`
 * is zero for free ones. Returns 0 if the walk proved the heap's structure, -1 if it is unknown (some
 * blocks may have been visited by then). A non-zero result of `visit` ends the walk and is returned.
 */
int kitsune__blocks_walk(int (*visit)(void *context, uintptr_t start, uint64_t size_bytes,
                                      int in_use),
                         void *context);
/* Non-zero if a chunk that was mapped alone starts at the address; then its usable size. The 16
 * bytes before the address must be readable. */
uint64_t kitsune__blocks_mapped_size(uintptr_t address);

/*
 * In a copy of the process only: makes free blocks recognisable that the allocator caches as if they
 * were in use. Afterwards a walk tells exactly what is in use.
 */
void kitsune__blocks_settle(void);
/* After many calls of free: has the allocator sort what it was given back, which it would otherwise do
 * in one go when the program next asks for a large block. Outside malloc. */
void kitsune__blocks_sort(void);

#endif
