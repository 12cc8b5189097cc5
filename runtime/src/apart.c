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
#define REGIONS 2048u /* below the first; then they are used again, if they are free */
#define TRIES 64u
#define GAPS 8192u                /* of more it is left to the linker: each takes a mapping */
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

/* ---- what there is -------------------------------------------------------------------------- */

/* The kernel gives addresses from above, but for those that it leaves to the main stack. */
static uint64_t stack_bytes(void) {
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) != 0 || stack.rlim_cur == RLIM_INFINITY)
        return 0; /* then it gives them from below */
    return stack.rlim_cur > STACK_BYTES ? stack.rlim_cur : STACK_BYTES;
}

static int is_possible(void) {
    struct rlimit space;
#ifdef __SANITIZE_THREAD__
    return 0;
#endif
    return !kitsune__under_valgrind() && getrlimit(RLIMIT_AS, &space) == 0 &&
           space.rlim_cur == RLIM_INFINITY && stack_bytes() != 0;
}

struct walk {
    uintptr_t last_end; /* of the mapping before */
    int is_whole;       /* all gaps below the stack are noted */
};

static int note_gap(void *context, const struct kitsune__mapping *mapping) {
    struct walk *walk = context;
    struct gap gap = {walk->last_end, mapping->start};
    walk->last_end = mapping->end;
    walk->is_whole = strcmp(mapping->name, "[stack]") == 0;
    if (walk->is_whole)
        gap.end = gap.end > stack_bytes() ? gap.end - stack_bytes() : 0;
    if (gap.end <= gap.start)
        return walk->is_whole;
    if (apart.count == GAPS)
        return 1;
    apart.gaps[apart.count++] = gap;
    return walk->is_whole;
}

static int note_gaps(void) {
    struct walk walk = {0, 0};
    kitsune__mappings(note_gap, &walk);
    return walk.is_whole;
}

/* ---- the region ----------------------------------------------------------------------------- */

/* Before the first: one above it, where addresses are given now. */
static uint64_t region_given_now(void) {
    void *probe = map(0, 1, PROT_NONE, 0);
    if (probe == NULL)
        return 0;
    munmap(probe, 1);
    return region_of((uintptr_t)probe);
}

static int is_free(uint64_t region) {
    for (uint32_t index = 0; index < apart.count; index++)
        if (apart.gaps[index].start <= region << REGION_BITS &&
            (region + 1) << REGION_BITS <= apart.gaps[index].end)
            return 1;
    return 0;
}

/* The next below the last that nothing lies in; 0 if there is none near. */
static uint64_t next_region(void) {
    uint64_t lowest = apart.first - apart.first / 4, region = apart.last;
    if (apart.first > REGIONS && lowest < apart.first - REGIONS)
        lowest = apart.first - REGIONS;
    for (uint32_t tries = 0; tries < TRIES; tries++) {
        region = region > lowest ? region - 1 : apart.first;
        if (is_free(region))
            return region;
    }
    return 0;
}

/* ---- the gaps ------------------------------------------------------------------------------- */

/* Gaps that were filled stand first; the others are forgotten. */
static void fill_gaps(uintptr_t above) {
    uint32_t filled = 0;
    for (uint32_t index = 0; index < apart.count; index++) {
        struct gap gap = apart.gaps[index];
        gap.start = gap.start > above ? gap.start : above;
        if (gap.end <= gap.start)
            continue;
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
    if (!is_possible())
        return;
    if (apart.first == 0)
        apart.first = apart.last = region_given_now();
    apart.gaps = map(0, GAPS * sizeof *apart.gaps, PROT_READ | PROT_WRITE, 0);
    if (apart.gaps == NULL)
        return;
    uint64_t region = apart.first != 0 && note_gaps() ? next_region() : 0;
    if (region == 0) {
        apart.count = 0;
        return;
    }
    fill_gaps((region << REGION_BITS) + END);
    apart.last = region;
}

void kitsune__apart_end(void) {
    for (uint32_t index = 0; index < apart.count; index++)
        munmap((void *)apart.gaps[index].start, apart.gaps[index].end - apart.gaps[index].start);
    if (apart.gaps != NULL)
        munmap(apart.gaps, GAPS * sizeof *apart.gaps);
    apart.gaps = NULL;
}

int kitsune__apart_holds(const void *start) {
    uint64_t region = region_of((uintptr_t)start);
    return region < apart.first && apart.first - region <= REGIONS;
}
