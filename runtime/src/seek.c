/* The look through the heap and through libraries (seek.h). */
#define _GNU_SOURCE
#include "seek.h"

#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "beside.h"
#include "blocks.h"
#include "linkmap.h"
#include "mappings.h"
#include "pages.h"
#include "side.h"

#define AT_ONCE 8u /* words: a line of the cache */
#define HEADER_BYTES 16u
#define PAGE 4096u
#define PART_BYTES (1ul << 20)
#define SHARED_BYTES_MIN (16ul << 20) /* less is soon done alone */

/* Memory to look at, and the place in `words` for what is found there. */
struct part {
    uintptr_t start, end;
    uint64_t first, count;
};

struct look {
    const struct kitsune__seek *seek;
    uintptr_t heap_start, heap_end;
    uintptr_t mapping_end, chunk_end; /* of what is noted */
    int pages;                        /* for pages.h */
    int has_failed;
    uint64_t bytes;
    uintptr_t **words;         /* as many as there may be: mapped, hardly ever touched */
    struct kitsune__log parts; /* struct part */
};

static void *map_memory(uint64_t bytes) {
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

/* Two words, as halves: their upper ones are those of odd numbers. */
typedef uint32_t pair_t __attribute__((vector_size(16), may_alias));

static void look_exactly(const struct kitsune__seek *seek, uintptr_t *at, uintptr_t *stop) {
    for (; at < stop; at++)
        if (*at - seek->low < seek->high - seek->low)
            seek->found(seek->context, at);
}

/* Free blocks may hold stale words, and the caches' own: sanitizers know nothing of either. */
__attribute__((no_sanitize("address"))) void kitsune__seek_in(const struct kitsune__seek *seek,
                                                              uintptr_t start, uintptr_t end) {
    uintptr_t *at = (uintptr_t *)((start + 15) & ~15ul), *stop = (uintptr_t *)(end & ~15ul);
    uintptr_t *first = (uintptr_t *)((start + 7) & ~7ul), *last = (uintptr_t *)(end & ~7ul);
    uint32_t lowest = (uint32_t)(seek->low >> 32);
    uint32_t more = (uint32_t)((seek->high - 1) >> 32) - lowest;
    const pair_t lower = {0, lowest, 0, lowest}, range = {0, more, 0, more}, odd = {0, ~0u, 0, ~0u};
    if (at >= stop) {
        look_exactly(seek, first, last);
        return;
    }
    look_exactly(seek, first, at);
    /* Hardly any word has an upper half that what is sought may have: one branch for a line of the cache. */
    for (; (uint64_t)(stop - at) >= AT_ONCE; at += AT_ONCE) {
        const pair_t *pairs = (const pair_t *)at;
        typedef uint64_t words_t __attribute__((vector_size(16)));
        words_t any =
            (words_t)(((pair_t)(pairs[0] - lower <= range) | (pair_t)(pairs[1] - lower <= range) |
                       (pair_t)(pairs[2] - lower <= range) | (pair_t)(pairs[3] - lower <= range)) &
                      odd);
        if (__builtin_expect((any[0] | any[1]) != 0, 0))
            look_exactly(seek, at, at + AT_ONCE);
    }
    look_exactly(seek, at, last);
}

/* ---- what there is to look at --------------------------------------------------------------- */

static void note_memory(struct look *look, uintptr_t start, uintptr_t end) {
    for (uintptr_t stop; start < end; start = stop) {
        stop = end - start > PART_BYTES ? start + PART_BYTES : end;
        struct part *part = kitsune__log_push(&look->parts);
        if (part == NULL) {
            look->has_failed = 1;
            return;
        }
        *part = (struct part){start, stop, look->bytes / sizeof(uintptr_t), 0};
        look->bytes += stop - start;
    }
}

/* The bytes of the chunk that begins here, header and all; 0: none does. */
static uint64_t whole_chunk(const struct look *look, uintptr_t at) {
    if (at % PAGE != 0)
        return 0;
    uint64_t bytes = kitsune__blocks_mapped_size(at + HEADER_BYTES);
    return bytes && bytes <= look->mapping_end - at - HEADER_BYTES ? bytes + HEADER_BYTES : 0;
}

/* Chunks that were mapped alone: each begins with a page. The kernel may have joined them to one mapping, with
 * memory that is none of the allocator's before and between them. */
static void note_pages(void *context, uintptr_t start, uintptr_t end) {
    struct look *look = context;
    for (uintptr_t at = start, stop; at < end; at = stop) {
        if (at >= look->chunk_end)
            look->chunk_end = at + whole_chunk(look, at);
        stop = look->chunk_end < end ? look->chunk_end : end;
        if (stop > at)
            note_memory(look, at, stop);
        else
            stop = at + PAGE;
    }
}

static int note_mapping(void *context, const struct kitsune__mapping *mapping) {
    struct look *look = context;
    int anonymous = mapping->inode == 0 && mapping->name[0] == '\0' &&
                    mapping->permissions[0] == 'r' && mapping->permissions[1] == 'w' &&
                    mapping->permissions[3] == 'p';
    if (!anonymous || (mapping->start >= look->heap_start && mapping->start < look->heap_end))
        return 0;
    look->mapping_end = mapping->end;
    look->chunk_end = mapping->start;
    kitsune__pages_each(look->pages, mapping->start, mapping->end, note_pages, look);
    return look->has_failed;
}

static int note_heap(struct look *look) {
    for (uintptr_t at = look->heap_start; at < look->heap_end;) {
        struct kitsune__range map = kitsune__next_link_map(at, look->heap_end);
        note_memory(look, at, map.start);
        at = map.end;
    }
    look->pages = kitsune__pages_open();
    int result = kitsune__mappings(note_mapping, look);
    kitsune__pages_close(look->pages);
    return result == 0 && !look->has_failed ? 0 : -1;
}

/* ---- the look ------------------------------------------------------------------------------- */

struct finds {
    uintptr_t **words;
    uint64_t count;
};

static void note_word(void *context, uintptr_t *where) {
    struct finds *finds = context;
    finds->words[finds->count++] = where;
}

static void look_at_part(void *context, uint64_t number) {
    const struct look *look = context;
    struct part *part = kitsune__log_at(&look->parts, number);
    struct finds finds = {look->words + part->first, 0};
    struct kitsune__seek seek = {look->seek->low, look->seek->high, note_word, NULL, &finds};
    kitsune__seek_in(&seek, part->start, part->end);
    part->count = finds.count;
}

/* Who is told may do what nobody may do beside the thread. */
static void tell_finds(const struct look *look) {
    for (uint64_t i = 0; i < look->parts.count; i++) {
        const struct part *part = kitsune__log_at(&look->parts, i);
        for (uint64_t word = part->first; word < part->first + part->count; word++)
            look->seek->found(look->seek->context, look->words[word]);
    }
}

static void look_alone(const struct look *look) {
    for (uint64_t i = 0; i < look->parts.count; i++) {
        const struct part *part = kitsune__log_at(&look->parts, i);
        kitsune__seek_in(look->seek, part->start, part->end);
    }
}

static void look_at_all(struct look *look) {
    if (look->bytes >= SHARED_BYTES_MIN)
        look->words = map_memory(look->bytes);
    if (look->words == NULL) {
        look_alone(look);
        return;
    }
    kitsune__share(look_at_part, look, look->parts.count);
    tell_finds(look);
    munmap(look->words, look->bytes);
}

int kitsune__seek_in_heap(const struct kitsune__seek *seek) {
    struct look *look = map_memory(sizeof *look);
    if (look == NULL)
        return -1;
    look->seek = seek;
    kitsune__log_start(&look->parts, sizeof(struct part));
    kitsune__blocks_heap(&look->heap_start, &look->heap_end);
    int result = look->heap_start ? note_heap(look) : -1;
    if (result == 0)
        look_at_all(look);
    kitsune__log_release(&look->parts);
    munmap(look, sizeof *look);
    return result;
}

/* ---- libraries ------------------------------------------------------------------------------ */

/* What was relocated is read-only since, and at the start of what can be written. */
static uintptr_t writable_start(const struct dl_phdr_info *object, const ElfW(Phdr) * segment) {
    uintptr_t start = object->dlpi_addr + segment->p_vaddr;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        if (header->p_type == PT_GNU_RELRO && header->p_vaddr >= segment->p_vaddr &&
            header->p_vaddr < segment->p_vaddr + segment->p_memsz)
            start = object->dlpi_addr + header->p_vaddr + header->p_memsz;
    }
    return start;
}

struct libraries {
    const struct kitsune__seek *seek;
    int seen;
};

static int look_at_object(struct dl_phdr_info *object, size_t size, void *context) {
    struct libraries *libraries = context;
    int is_launcher = libraries->seen++ == 0;
    (void)size;
    if (is_launcher || object->dlpi_addr == getauxval(AT_BASE) ||
        libraries->seek->is_version(libraries->seek->context, (uintptr_t)object->dlpi_phdr))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_W))
            kitsune__seek_in(libraries->seek, writable_start(object, header),
                             object->dlpi_addr + header->p_vaddr + header->p_memsz);
    }
    return 0;
}

void kitsune__seek_in_libraries(const struct kitsune__seek *seek) {
    struct libraries libraries = {seek, 0};
    dl_iterate_phdr(look_at_object, &libraries);
}
