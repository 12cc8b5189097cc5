#define _GNU_SOURCE
/* Keys and addresses of one loaded release (registry.h). */
#include "registry.h"

#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "frames.h"

/* A registered variable or function with the address it has for this thread. */
struct place {
    uintptr_t start;
    const struct kitsune_symbol *symbol;
};

/* A loaded segment, in addresses. */
struct segment {
    uintptr_t start, end;
    enum kitsune__place place;
};

#define SEGMENTS_MAX 16

struct kitsune__registry {
    const struct kitsune_release *release;
    const struct kitsune_registered *registered; /* by hand, the last of them, when it was opened */
    size_t bytes;                                /* of this mapping */
    size_t symbol_count;
    size_t variable_count, function_count;
    struct place *variables, *functions;  /* sorted by start */
    const struct kitsune_symbol **by_key; /* open addressing, a power of two, NULL: empty */
    uint32_t key_mask;
    uint32_t segment_count;
    struct segment segments[SEGMENTS_MAX];
};

static uint32_t key_hash(const char *key) {
    uint32_t hash = 2166136261u;
    for (; *key; key++)
        hash = (hash ^ (uint8_t)*key) * 16777619u;
    return hash;
}

static uintptr_t symbol_start(const struct kitsune_symbol *symbol) {
    if (symbol->flags & KITSUNE_SYMBOL_THREAD_LOCAL) {
        void *(*locate)(void);
        memcpy(&locate, &symbol->address, sizeof locate);
        return (uintptr_t)locate();
    }
    if (symbol->flags & KITSUNE_SYMBOL_LOCAL)
        return (uintptr_t)kitsune__frames_address(symbol);
    return (uintptr_t)symbol->address;
}

/* Heap sort: no memory, no recursion, and the same cost for every order that a linker may give. */
static void sift_down(struct place *places, size_t root, size_t count) {
    struct place moving = places[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && places[child + 1].start > places[child].start)
            child++;
        if (places[child].start <= moving.start)
            break;
        places[root] = places[child];
    }
    places[root] = moving;
}

static void sort_places(struct place *places, size_t count) {
    for (size_t root = count / 2; root-- > 0;)
        sift_down(places, root, count);
    for (size_t last = count; last-- > 1;) {
        struct place first = places[0];
        places[0] = places[last];
        places[last] = first;
        sift_down(places, 0, last);
    }
}

/* Units that only use a function register it too, so one key may occur often. */
static int add_key(struct kitsune__registry *registry, const struct kitsune_symbol *symbol) {
    uint32_t at = key_hash(symbol->key) & registry->key_mask;
    for (; registry->by_key[at]; at = (at + 1) & registry->key_mask)
        if (strcmp(registry->by_key[at]->key, symbol->key) == 0)
            return 0;
    registry->by_key[at] = symbol;
    return 1;
}

static void add_symbol(struct kitsune__registry *registry, const struct kitsune_symbol *symbol) {
    if (!add_key(registry, symbol))
        return;
    struct place place = {symbol_start(symbol), symbol};
    if (symbol->flags & KITSUNE_SYMBOL_FUNCTION)
        registry->functions[registry->function_count++] = place;
    else if (symbol->size && place.start) /* an empty one would hide what lies at its address */
        registry->variables[registry->variable_count++] = place;
}

static enum kitsune__place place_of_segment(const ElfW(Phdr) * header) {
    if (header->p_flags & PF_X)
        return KITSUNE__PLACE_CODE;
    return header->p_flags & PF_W ? KITSUNE__PLACE_WRITABLE : KITSUNE__PLACE_CONSTANT;
}

/*
 * Reads the segments from the program headers, which lie at the start of the image. Memory that is
 * write-protected after relocation comes first, so that a search finds it before its segment.
 */
static void read_segments(struct kitsune__registry *registry) {
    const uint8_t *image = registry->release->image_start;
    const ElfW(Ehdr) *file = (const void *)image;
    if (!image || memcmp(file->e_ident, ELFMAG, SELFMAG) != 0)
        return;
    const ElfW(Phdr) *headers = (const void *)(image + file->e_phoff);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < file->e_phnum && registry->segment_count < SEGMENTS_MAX; i++) {
            if (headers[i].p_type != (pass == 0 ? PT_GNU_RELRO : PT_LOAD))
                continue;
            uintptr_t start = (uintptr_t)image + headers[i].p_vaddr;
            registry->segments[registry->segment_count++] = (struct segment){
                start, start + headers[i].p_memsz,
                pass == 0 ? KITSUNE__PLACE_CONSTANT : place_of_segment(&headers[i])};
        }
    }
}

static const struct kitsune_registered *last_registered(const struct kitsune_release *release) {
    return release->registered ? __atomic_load_n(release->registered, __ATOMIC_ACQUIRE) : NULL;
}

int kitsune__registry_open(struct kitsune__registry **result,
                           const struct kitsune_release *release) {
    size_t count = (size_t)(release->symbols_end - release->symbols);
    const struct kitsune_registered *registered = last_registered(release);
    for (const struct kitsune_registered *entry = registered; entry; entry = entry->next)
        count++;
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    size_t bytes = sizeof(struct kitsune__registry) + 2 * count * sizeof(struct place) +
                   slots * sizeof(struct kitsune_symbol *);
    struct kitsune__registry *registry =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (registry == MAP_FAILED)
        return -1;
    registry->release = release;
    registry->registered = registered;
    registry->bytes = bytes;
    registry->variables = (struct place *)(registry + 1);
    registry->functions = registry->variables + count;
    registry->by_key = (const struct kitsune_symbol **)(registry->functions + count);
    registry->key_mask = (uint32_t)slots - 1;
    for (const struct kitsune_symbol *symbol = release->symbols; symbol != release->symbols_end;
         symbol++)
        if (symbol->key)
            add_symbol(registry, symbol);
    for (; registered; registered = registered->next)
        add_symbol(registry, &registered->symbol);
    sort_places(registry->variables, registry->variable_count);
    sort_places(registry->functions, registry->function_count);
    read_segments(registry);
    *result = registry;
    return 0;
}

/* ---- for another thread ---------------------------------------------------------------------- */

static int is_of_thread(const struct kitsune_symbol *symbol) {
    return (symbol->flags & (KITSUNE_SYMBOL_THREAD_LOCAL | KITSUNE_SYMBOL_LOCAL)) != 0;
}

/* Keeps the order. There are few such variables, and many of the others. */
static void insert_place(struct kitsune__registry *registry, struct place place) {
    size_t at = registry->variable_count++;
    for (; at > 0 && registry->variables[at - 1].start > place.start; at--)
        registry->variables[at] = registry->variables[at - 1];
    registry->variables[at] = place;
}

int kitsune__registry_open_again(struct kitsune__registry **result,
                                 const struct kitsune__registry *of) {
    size_t own = 0;
    if (last_registered(of->release) != of->registered)
        return kitsune__registry_open(result, of->release);
    for (uint32_t at = 0; at <= of->key_mask; at++)
        own += of->by_key[at] && is_of_thread(of->by_key[at]);
    size_t bytes = sizeof *of + (of->variable_count + own) * sizeof(struct place);
    struct kitsune__registry *registry =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (registry == MAP_FAILED)
        return -1;
    *registry = *of;
    registry->bytes = bytes;
    registry->variables = (struct place *)(registry + 1);
    registry->variable_count = 0;
    for (size_t i = 0; i < of->variable_count; i++)
        if (!is_of_thread(of->variables[i].symbol))
            registry->variables[registry->variable_count++] = of->variables[i];
    for (uint32_t at = 0; at <= of->key_mask; at++) {
        const struct kitsune_symbol *symbol = of->by_key[at];
        uintptr_t start = symbol && is_of_thread(symbol) ? symbol_start(symbol) : 0;
        if (start && symbol->size)
            insert_place(registry, (struct place){start, symbol});
    }
    *result = registry;
    return 0;
}

void kitsune__registry_close(struct kitsune__registry *registry) {
    if (registry)
        munmap(registry, registry->bytes);
}

const struct kitsune_release *kitsune__registry_release(const struct kitsune__registry *registry) {
    return registry->release;
}

/* ---- keys ----------------------------------------------------------------------------------- */

static const struct kitsune_symbol *find_exactly(const struct kitsune__registry *registry,
                                                 const char *key) {
    uint32_t at = key_hash(key) & registry->key_mask;
    for (; registry->by_key[at]; at = (at + 1) & registry->key_mask)
        if (strcmp(registry->by_key[at]->key, key) == 0)
            return registry->by_key[at];
    return NULL;
}

/* What the program has registered by hand since the registry was opened. */
static const struct kitsune_symbol *find_registered(const struct kitsune__registry *registry,
                                                    const char *key) {
    struct kitsune_registered *const *list = registry->release->registered;
    const struct kitsune_registered *entry = list ? __atomic_load_n(list, __ATOMIC_ACQUIRE) : NULL;
    while (entry && strcmp(entry->symbol.key, key) != 0)
        entry = entry->next;
    return entry ? &entry->symbol : NULL;
}

/* Length of "ns@" in front of a key, 0 if there is none. */
static size_t namespace_length(const char *key) {
    const char *end = strchr(key, '@');
    return end ? (size_t)(end - key) + 1 : 0;
}

/* Non-zero if `query` is `key` less some directories in front of its file. */
static int is_suffix(const char *query, const char *key) {
    size_t space = namespace_length(query);
    if (space != namespace_length(key) || strncmp(query, key, space) != 0)
        return 0;
    query += space;
    key += space;
    size_t query_length = strlen(query), key_length = strlen(key);
    if (!strchr(query, '/') || query_length >= key_length)
        return 0;
    const char *tail = key + key_length - query_length;
    return tail[-1] == '/' && strcmp(tail, query) == 0;
}

size_t kitsune__registry_candidates(const struct kitsune__registry *registry, const char *key,
                                    const struct kitsune_symbol **out, size_t capacity) {
    size_t found = 0;
    for (uint32_t at = 0; at <= registry->key_mask; at++) {
        const struct kitsune_symbol *symbol = registry->by_key[at];
        if (!symbol || !is_suffix(key, symbol->key))
            continue;
        if (found < capacity)
            out[found] = symbol;
        found++;
    }
    return found;
}

const struct kitsune_symbol *kitsune__registry_find(const struct kitsune__registry *registry,
                                                    const char *key, enum kitsune__match *match) {
    enum kitsune__match ignored;
    match = match ? match : &ignored;
    const struct kitsune_symbol *symbol = find_exactly(registry, key);
    if (!symbol)
        symbol = find_registered(registry, key);
    if (symbol) {
        *match = KITSUNE__MATCH_EXACT;
        return symbol;
    }
    size_t found = kitsune__registry_candidates(registry, key, &symbol, 1);
    *match = found == 0   ? KITSUNE__MATCH_NONE
             : found == 1 ? KITSUNE__MATCH_SUFFIX
                          : KITSUNE__MATCH_AMBIGUOUS;
    return found == 1 ? symbol : NULL;
}

/* ---- addresses ------------------------------------------------------------------------------ */

/* The last place that starts at or before the address; NULL if there is none. */
static const struct place *place_before(const struct place *places, size_t count,
                                        uintptr_t address) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (places[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &places[low - 1] : NULL;
}

const struct kitsune_symbol *kitsune__registry_variable_at(const struct kitsune__registry *registry,
                                                           const void *address, uint64_t *offset) {
    const struct place *place =
        place_before(registry->variables, registry->variable_count, (uintptr_t)address);
    if (!place || (uintptr_t)address - place->start >= place->symbol->size)
        return NULL;
    if (offset)
        *offset = (uintptr_t)address - place->start;
    return place->symbol;
}

const struct kitsune_symbol *
kitsune__registry_variable_before(const struct kitsune__registry *registry, const void *address) {
    const struct kitsune_symbol *symbol =
        kitsune__registry_variable_at(registry, (const char *)address - 1, NULL);
    const struct kitsune_symbol *same = kitsune__registry_variable_at(registry, address, NULL);
    return symbol != same ? symbol : NULL;
}

const struct kitsune_symbol *kitsune__registry_function_at(const struct kitsune__registry *registry,
                                                           const void *address) {
    const struct place *place =
        place_before(registry->functions, registry->function_count, (uintptr_t)address);
    return place && place->start == (uintptr_t)address ? place->symbol : NULL;
}

void *kitsune__registry_address(const struct kitsune__registry *registry,
                                const struct kitsune_symbol *symbol) {
    if (symbol->flags & KITSUNE_SYMBOL_LOCAL)
        return kitsune__frames_address(symbol);
    if (!(symbol->flags & KITSUNE_SYMBOL_THREAD_LOCAL))
        return (void *)(uintptr_t)symbol->address;
    for (size_t i = 0; i < registry->variable_count; i++)
        if (registry->variables[i].symbol == symbol)
            return (void *)registry->variables[i].start;
    return (void *)symbol_start(symbol);
}

enum kitsune__place kitsune__registry_place(const struct kitsune__registry *registry,
                                            const void *address) {
    uintptr_t at = (uintptr_t)address;
    const struct kitsune_release *release = registry->release;
    if (at < (uintptr_t)release->image_start || at >= (uintptr_t)release->image_end)
        return KITSUNE__PLACE_OUTSIDE;
    for (uint32_t i = 0; i < registry->segment_count; i++)
        if (at >= registry->segments[i].start && at < registry->segments[i].end)
            return registry->segments[i].place;
    return KITSUNE__PLACE_CONSTANT;
}
