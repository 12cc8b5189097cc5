/* Where images are loaded (apart.h). */
#define _GNU_SOURCE
#include "apart.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "mappings.h"
#include "platform.h"

#define REGION_BITS 32
/* Images end here in their region: no small number, of either sign, no text, date or usual fraction has such a value
 * as the lower half of a word. */
#define END 0x9b000000ul
#define REGIONS 2048u /* from the first on; then they are used again, if they are free */
#define TRIES 64u
#define GAPS 16384u
#define STACK_BYTES (128ul << 20) /* the kernel leaves that much below the stack, or its limit */

struct gap {
    uintptr_t start, end;
};

static struct {
    uint64_t first, last; /* regions; 0: none was chosen yet */
    struct gap *gaps;
    uint32_t count;
} apart;

static uint64_t region_of(uintptr_t address) {
    return (uint64_t)address >> REGION_BITS;
}

static void *map(uintptr_t where, size_t size, int protection, int flags) {
    void *got = mmap((void *)where, size, protection,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
    return got == MAP_FAILED ? NULL : got;
}

/* ---- the region ----------------------------------------------------------------------------- */

static int uses(void *context, const struct kitsune__mapping *mapping) {
    uint64_t region = *(const uint64_t *)context;
    return region_of(mapping->start) <= region && region <= region_of(mapping->end - 1);
}

/* The next below the last that nothing lies in; 0 if there is none near. */
static uint64_t next_region(void) {
    uint64_t lowest = apart.first - apart.first / 4;
    if (apart.first > REGIONS && lowest < apart.first - REGIONS)
        lowest = apart.first - REGIONS;
    uint64_t region = apart.last;
    for (uint32_t tries = 0; tries < TRIES; tries++) {
        region = region > lowest ? region - 1 : apart.first;
        if (kitsune__mappings(uses, &region) == 0)
            return region;
    }
    return 0;
}

/* The kernel gives addresses from above: the first region is below those that it gives now. */
static void choose_first(void) {
    void *probe = map(0, 1, PROT_NONE, 0);
    if (probe == NULL)
        return;
    munmap(probe, 1);
    apart.first = apart.last = region_of((uintptr_t)probe);
}

static uint64_t stack_limit(void) {
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) != 0 || stack.rlim_cur == RLIM_INFINITY)
        return 0; /* then addresses are given from below */
    return stack.rlim_cur > STACK_BYTES ? stack.rlim_cur : STACK_BYTES;
}

static int is_possible(void) {
    struct rlimit space;
#ifdef __SANITIZE_THREAD__
    return 0;
#endif
    return !kitsune__under_valgrind() && getrlimit(RLIMIT_AS, &space) == 0 &&
           space.rlim_cur == RLIM_INFINITY && stack_limit() != 0;
}

/* ---- the gaps ------------------------------------------------------------------------------- */

struct walk {
    uintptr_t above;    /* what is looked at */
    uintptr_t last_end; /* of the mapping before */
    uint64_t stack_bytes;
};

static int note_gap(void *context, const struct kitsune__mapping *mapping) {
    struct walk *walk = context;
    uintptr_t start = walk->last_end > walk->above ? walk->last_end : walk->above;
    uintptr_t end = mapping->start;
    walk->last_end = mapping->end;
    if (strcmp(mapping->name, "[stack]") == 0)
        end = end > walk->stack_bytes ? end - walk->stack_bytes : 0;
    if (end <= start)
        return 0;
    if (apart.count == GAPS)
        return 1;
    apart.gaps[apart.count++] = (struct gap){start, end};
    return 0;
}

static void fill_gaps(void) {
    uint32_t filled = 0;
    for (uint32_t index = 0; index < apart.count; index++) {
        struct gap gap = apart.gaps[index];
        void *got = map(gap.start, gap.end - gap.start, PROT_NONE, MAP_FIXED_NOREPLACE);
        if (got == (void *)gap.start)
            apart.gaps[filled++] = gap;
        else if (got != NULL) /* before Linux 4.17 the address is but a hint */
            munmap(got, gap.end - gap.start);
    }
    apart.count = filled;
}

void kitsune__apart_begin(void) {
    apart.count = 0;
    apart.gaps = NULL;
    if (!is_possible())
        return;
    if (apart.first == 0)
        choose_first();
    uint64_t region = apart.first != 0 ? next_region() : 0;
    if (region == 0)
        return;
    apart.gaps = map(0, GAPS * sizeof *apart.gaps, PROT_READ | PROT_WRITE, 0);
    if (apart.gaps == NULL)
        return;
    struct walk walk = {(region << REGION_BITS) + END, 0, stack_limit()};
    if (kitsune__mappings(note_gap, &walk) != 0)
        apart.count = 0;
    fill_gaps();
    apart.last = region;
}

void kitsune__apart_end(void) {
    if (apart.gaps == NULL)
        return;
    for (uint32_t index = 0; index < apart.count; index++)
        munmap((void *)apart.gaps[index].start, apart.gaps[index].end - apart.gaps[index].start);
    munmap(apart.gaps, GAPS * sizeof *apart.gaps);
    apart.gaps = NULL;
}
