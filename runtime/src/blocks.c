#define _GNU_SOURCE
/*
 * The allocator seam for glibc's malloc (blocks.h).
 *
 * What is used of glibc's layout, unchanged from 2.26 on: in front of what malloc returned stands a
 * word with the chunk's size, whose low bits say: 1 the chunk before is in use, 2 mapped alone,
 * 4 not of the main heap. The chunk after a free one has bit 1 unset, except if the free one is kept
 * in a cache (fast bins, the thread's cache).
 */
#include "blocks.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mappings.h"
#include "platform.h"

#define HEADER_BYTES 16u
#define SIZE_FLAGS 7u
#define PREVIOUS_IN_USE 1u
#define MAPPED_ALONE 2u
#define OTHER_ARENA 4u
#define SMALLEST 32u
#define PAGE 4096u
#define ARENA_ALIGNMENT (64ul << 20)
/* More than a chunk may have beyond the request: rounding to 16, and a rest too small to split, which
 * for aligned memory is up to the smallest chunk. */
#define SLACK 48u
/* The largest block that the thread's cache holds. */
#define CACHED_MAX 1032u

static uintptr_t heap_start, heap_end;
/* What the thread's cache writes into the second word of a block; 0: unknown. */
static uintptr_t cache_key;

/* Sanitizers check each access; these look at the allocator's own words on purpose. */
__attribute__((no_sanitize("address"))) static uint64_t word_at(uintptr_t address) {
    return *(const uint64_t *)address;
}

static int find_known(void) {
    Dl_info of_malloc, of_libc;
    if (kitsune__under_valgrind())
        return 0;
    void *program_malloc = dlsym(RTLD_DEFAULT, "malloc");
    void *libc = dlsym(RTLD_DEFAULT, "gnu_get_libc_version");
    if (!program_malloc || !libc || !dladdr(program_malloc, &of_malloc) || !dladdr(libc, &of_libc))
        return 0;
    return of_malloc.dli_fbase == of_libc.dli_fbase;
}

int kitsune__blocks_known(void) {
    static int known = -1;
    if (known < 0)
        known = find_known();
    return known;
}

static int note_heap(void *context, const struct kitsune__mapping *mapping) {
    (void)context;
    if (strcmp(mapping->name, "[heap]") == 0 && !heap_start)
        heap_start = mapping->start;
    return 0;
}

void kitsune__blocks_heap(uintptr_t *start, uintptr_t *end) {
    heap_start = heap_end = 0;
    if (kitsune__blocks_known() && kitsune__mappings(note_heap, NULL) == 0 && heap_start)
        heap_end = (uintptr_t)sbrk(0);
    *start = heap_start;
    *end = heap_end;
}

uint64_t kitsune__blocks_slack(uint64_t block_bytes) {
    return block_bytes >= 64u << 10 ? PAGE + SLACK : SLACK;
}

uint64_t kitsune__blocks_mapped_size(uintptr_t address) {
    /* What is before it in the mapping, if it had to be aligned. */
    uint64_t before = word_at(address - 16), size = word_at(address - 8);
    if ((address - HEADER_BYTES - before) % PAGE != 0 || (size & SIZE_FLAGS) != MAPPED_ALONE)
        return 0;
    size &= ~(uint64_t)SIZE_FLAGS;
    if ((before + size) % PAGE != 0 || size < PAGE || before >= address)
        return 0;
    return size - HEADER_BYTES;
}

/* `block` usable bytes hold an object of `object` bytes, and not many more. */
static int fits(uint64_t object, uint64_t block) {
    return object <= block && block - object < kitsune__blocks_slack(block);
}

int kitsune__blocks_plausible(uintptr_t address, uint64_t size_bytes) {
    int in_heap = address - HEADER_BYTES >= heap_start && address < heap_end;
    if (address % 16 != 0 || (!in_heap && address % PAGE == 0))
        return 0;
    uint64_t size = word_at(address - 8);
    if (size & MAPPED_ALONE)
        return !in_heap && fits(size_bytes, kitsune__blocks_mapped_size(address));
    if ((size & OTHER_ARENA) ? in_heap : !in_heap)
        return 0;
    size &= ~(uint64_t)SIZE_FLAGS;
    return size >= SMALLEST && size % 16 == 0 && fits(size_bytes, size - 8);
}

int kitsune__blocks_walk(int (*visit)(void *context, uintptr_t start, uint64_t size_bytes,
                                      int in_use),
                         void *context) {
    uintptr_t start = heap_start, end = heap_start ? (uintptr_t)sbrk(0) : 0;
    if (end <= start)
        return -1;
    for (uintptr_t chunk = start; end - chunk >= SMALLEST;) {
        uint64_t header = word_at(chunk + 8), size = header & ~(uint64_t)SIZE_FLAGS;
        if (size < SMALLEST || size % 16 != 0 || size > end - chunk ||
            (header & (MAPPED_ALONE | OTHER_ARENA)))
            return -1;
        int last = size == end - chunk; /* what is left of the heap: free */
        int in_use = !last && (word_at(chunk + size + 8) & PREVIOUS_IN_USE);
        if (in_use && cache_key && size - 8 <= CACHED_MAX)
            in_use = word_at(chunk + HEADER_BYTES + 8) != cache_key;
        int result =
            visit(context, chunk + HEADER_BYTES, last ? size - HEADER_BYTES : size - 8, in_use);
        if (result || last)
            return result;
        chunk += size;
    }
    return -1;
}

struct search {
    uintptr_t address;
    struct kitsune__block block;
};

static int search_block(void *context, uintptr_t start, uint64_t size_bytes, int in_use) {
    struct search *search = context;
    if (search->address >= start + size_bytes)
        return 0;
    search->block.kind =
        search->address == start && in_use ? KITSUNE__BLOCK_WHOLE : KITSUNE__BLOCK_INSIDE;
    search->block.start = start;
    search->block.size_bytes = size_bytes;
    return 1;
}

/* Looks at a mapping that holds the address, outside the main heap. */
static int search_mapping(void *context, const struct kitsune__mapping *mapping) {
    struct search *search = context;
    uintptr_t address = search->address;
    if (address < mapping->start || address >= mapping->end)
        return address < mapping->start;
    int anonymous = mapping->inode == 0 && mapping->permissions[0] == 'r' &&
                    mapping->permissions[3] == 'p' && mapping->name[0] == '\0';
    if (!anonymous) {
        search->block.kind = KITSUNE__BLOCK_OUTSIDE;
        return 1;
    }
    uint64_t alone =
        address - mapping->start >= HEADER_BYTES ? kitsune__blocks_mapped_size(address) : 0;
    if (alone && alone <= mapping->end - address) {
        search->block = (struct kitsune__block){KITSUNE__BLOCK_WHOLE, address, alone};
        return 1;
    }
    uintptr_t first = mapping->start + HEADER_BYTES;
    uint64_t leading = kitsune__blocks_mapped_size(first);
    if (leading && address - first < leading)
        search->block = (struct kitsune__block){KITSUNE__BLOCK_INSIDE, first, leading};
    else if (mapping->start % ARENA_ALIGNMENT != 0) /* else maybe another thread's heap */
        search->block.kind = KITSUNE__BLOCK_OUTSIDE;
    return 1;
}

struct kitsune__block kitsune__blocks_find(uintptr_t address) {
    struct search search = {address, {KITSUNE__BLOCK_UNKNOWN, 0, 0}};
    uintptr_t start, end;
    kitsune__blocks_heap(&start, &end);
    if (!kitsune__blocks_known() || !start)
        return search.block;
    if (address < start || address >= end)
        kitsune__mappings(search_mapping, &search);
    else if (kitsune__blocks_walk(search_block, &search) < 0)
        search.block.kind = KITSUNE__BLOCK_UNKNOWN;
    return search.block;
}

/* ---- the thread's cache --------------------------------------------------------------------- */

/* The block's address, of which the compiler does not know that it is freed later. */
static uintptr_t address_of(void *block) {
    uintptr_t address;
    __asm__ volatile("" : "=r"(address) : "0"(block));
    return address;
}

static void set_second_word(void *block, uintptr_t value) {
    memcpy((char *)block + 8, &value, sizeof value);
    __asm__ volatile("" : : "r"(block) : "memory");
}

/*
 * Frees two blocks and looks what the cache wrote into both. In a size of which the cache is full the
 * blocks go elsewhere and what they hold differs.
 */
static uintptr_t learn_key(size_t size) {
    void *one = malloc(size), *other = malloc(size);
    if (!one || !other)
        return 0;
    set_second_word(one, 1);
    set_second_word(other, 2);
    uintptr_t first = address_of(one), second = address_of(other);
    free(one);
    free(other);
    return word_at(first + 8) == word_at(second + 8) ? word_at(first + 8) : 0;
}

void kitsune__blocks_settle(void) {
    if (!kitsune__blocks_known())
        return;
    /* Any call of mallopt empties the fast bins first; there is no option of this number. */
    mallopt(1000, 0);
    for (size_t size = 1024; size >= 64 && !cache_key; size -= 96)
        cache_key = learn_key(size);
}

void kitsune__blocks_sort(void) {
    /* Too large for the thread's cache: the fast bins are emptied, and what is unsorted is sorted. */
    void *volatile block = malloc(2 * CACHED_MAX);
    free(block);
}
