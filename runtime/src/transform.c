/* The engine (transform.h). */
#define _GNU_SOURCE
#include "transform.h"

#include <link.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "blocks.h"
#include "claims.h"
#include "frames.h"
#include "mappings.h"
#include "platform.h"
#include "seek.h"
#include "texts.h"

#define ADDRESS_LIMIT (1ull << KITSUNE__ADDRESS_BITS)
#define POLL_EVERY 256u  /* objects between two looks at the cancel flag */
#define SETTLE_DEPTH 500 /* rules that settle inside settling */
#define LOOK_AHEAD 8u    /* objects fetched before they are transformed; a power of two */
#define VISIT_AHEAD 16u  /* the same of the first pass, where there is less to do for each */
#define BATCH 16u        /* elements of an array between two looks at what they led to */
#define MESSAGE_BYTES 900u
#define SCRATCH_BYTES 65536u
#define PATH_RUNS 6u /* types named of a long path */

/* A variable of the plan. */
struct variable {
    const struct kitsune_migration *migration;
    const struct kitsune_symbol *from, *to; /* NULL: there is none */
    uint8_t *old, *new;                     /* of a local NULL as long as it is not alive */
    int done, result;
};

/* Open addressing, keys are never 0. */
struct pointer_map {
    struct {
        uintptr_t key, value;
    } *slots;
    uint64_t mask;
};

/* Consecutive memory of one kind. */
struct span {
    uintptr_t start, end;
    int foreign; /* of a loaded object that is no version of the program */
};

/*
 * Objects of a claim to transform: BATCH elements, of which the first is number BATCH * batch. The
 * claim's number is the lower half, so that none is 0. One word, not a structure of two: it is read
 * right after it was written, which stalls if the writes were smaller than the read.
 */
typedef uint64_t work_t;

static inline work_t make_work(uint32_t claim, uint64_t batch) {
    return batch << 32 | claim;
}

/* Mapped memory that is given out from its start and kept to the end. */
struct scratch {
    struct scratch *before;
    uint64_t size, used; /* bytes, this head included */
};

/* A pointer to rewrite in place. */
struct store {
    void **where;
    void *value;
};

enum phase {
    ONE_PASS,    /* claims are made as they are met */
    DISCOVERING, /* first pass: claims only */
    KNOWN        /* second pass: claims are there, new ones are late */
};

struct kitsune_xf {
    struct kitsune__xf_options options;
    const struct kitsune_plan *plan;
    enum phase phase;
    int nothing_moves, blocks_known, finished;
    int sought;       /* the heap has been looked through */
    uint32_t current; /* claim or variable that is being worked on, as `from` of a claim */
    uint32_t settling;
    struct kitsune__range image;     /* of the old version */
    struct kitsune__range elsewhere; /* hull of all other places that need a look of their own */
    struct span near;                /* ordinary memory that was last met */

    struct variable *variables;
    uint32_t variable_count;
    struct pointer_map by_old;    /* old variable's symbol -> number + 1 */
    struct pointer_map by_new;    /* new variable's address -> number + 1 */
    struct pointer_map functions; /* old function -> its entry in the plan */
    /* Of the thread that began; and of the one that was entered, NULL: none. */
    const struct kitsune__registry *first_from, *first_to;
    struct kitsune__registry *entered_from, *entered_to;

    uint64_t visited;         /* claims, by discovery */
    uint64_t steps;           /* works done */
    uint32_t fetched, taken;  /* into and out of `ahead`, so far */
    work_t ahead[LOOK_AHEAD]; /* a ring: what is being fetched into the cache */
    uint64_t stored;          /* entries of `stores` that were carried out */
    struct scratch *scratch;  /* the part that was mapped last */
    struct kitsune__claims claims;
    struct kitsune__log work;     /* work_t: a stack */
    struct kitsune__log stores;   /* struct store */
    struct kitsune__log spans;    /* struct span: readable memory, by address */
    struct kitsune__log foreign;  /* struct span: loaded objects */
    struct kitsune__log copied;   /* uint64_t: claims in old images */
    struct kitsune__log suspects; /* uint64_t: claims whose blocks look wrong */
    struct kitsune__log counts;   /* struct kitsune__xf_type_count, for the statistics */
    struct kitsune__xf_statistics statistics;
};

/* ---- failing -------------------------------------------------------------------------------- */

static const char *name_of(const struct kitsune_xf *xf, uint32_t from) {
    if (from & KITSUNE__FROM_VARIABLE) {
        const struct kitsune_migration *migration =
            xf->variables[from & ~KITSUNE__FROM_VARIABLE].migration;
        return migration->new_key ? migration->new_key : migration->old_key;
    }
    const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, from);
    return kitsune__claim_type(&xf->claims, claim)->name;
}

static size_t append(char *text, size_t size, size_t length, const char *name, uint64_t repeated) {
    const char *arrow = length ? " -> " : "";
    int more = repeated > 1 ? snprintf(text + length, size - length, "%s%s (x%lu)", arrow, name,
                                       (unsigned long)repeated)
                            : snprintf(text + length, size - length, "%s%s", arrow, name);
    length += more > 0 ? (size_t)more : 0;
    return length < size ? length : size - 1;
}

/*
 * Writes how the engine came to `from`: "variable -> struct a -> struct b (x1000)". Equal neighbours
 * are counted, and of a long path the beginning and the end are told.
 */
static void write_path(const struct kitsune_xf *xf, uint32_t from, char *text, size_t size) {
    struct {
        const char *name;
        uint64_t repeated;
    } runs[PATH_RUNS]; /* a ring: nearest to the root last */
    uint64_t count = 0;
    text[0] = '\0';
    while (from && !(from & KITSUNE__FROM_VARIABLE)) {
        const char *name = name_of(xf, from);
        if (count && count <= PATH_RUNS && runs[count - 1].name == name)
            runs[count - 1].repeated++;
        else if (count++ < PATH_RUNS)
            runs[count - 1].name = name, runs[count - 1].repeated = 1;
        from = kitsune__claim_at(&xf->claims, from)->from;
    }
    size_t length = from ? append(text, size, 0, name_of(xf, from), 1) : 0;
    if (count > PATH_RUNS)
        length = append(text, size, length, "...", 1);
    for (uint64_t i = count < PATH_RUNS ? count : PATH_RUNS; i-- > 0;)
        length = append(text, size, length, runs[i].name, runs[i].repeated);
}

void kitsune__xf_failv(struct kitsune_xf *xf, const char *format, va_list arguments) {
    char message[MESSAGE_BYTES], path[MESSAGE_BYTES / 2];
    int length = vsnprintf(message, sizeof message, format, arguments);
    write_path(xf, xf->current, path, sizeof path);
    if (path[0] && length >= 0 && (size_t)length < sizeof message)
        snprintf(message + length, sizeof message - (size_t)length, " (path: %s)", path);
    xf->options.fail(xf->options.transaction, message);
}

void kitsune__xf_fail(struct kitsune_xf *xf, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    kitsune__xf_failv(xf, format, arguments);
}

#define fail(xf, ...) (kitsune__xf_fail(xf, __VA_ARGS__), __builtin_unreachable())

static void *need(struct kitsune_xf *xf, void *memory) {
    if (__builtin_expect(!memory, 0))
        fail(xf, "no memory for the update's own tables");
    return memory;
}

void *kitsune__xf_allocate(struct kitsune_xf *xf, uint64_t size_bytes, uint32_t align) {
    void *block = NULL;
    if (__builtin_expect(align <= 16, 1))
        block = malloc(size_bytes ? size_bytes : 1);
    else if (posix_memalign(&block, align, size_bytes) != 0)
        block = NULL;
    if (__builtin_expect(!block, 0))
        fail(xf, "no memory for a block of %lu bytes", (unsigned long)size_bytes);
    return block;
}

static void *map_memory(uint64_t bytes) {
    void *start =
        mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

void *kitsune__xf_scratch(struct kitsune_xf *xf, uint64_t size_bytes) {
    uint64_t bytes = (size_bytes + 15) & ~15ull;
    if (xf->scratch == NULL || xf->scratch->size - xf->scratch->used < bytes) {
        uint64_t head = (sizeof(struct scratch) + 15) & ~15ull;
        uint64_t size = bytes + head > SCRATCH_BYTES ? bytes + head : SCRATCH_BYTES;
        struct scratch *part = need(xf, map_memory(size));
        *part = (struct scratch){xf->scratch, size, head};
        xf->scratch = part;
    }
    void *start = (uint8_t *)xf->scratch + xf->scratch->used;
    xf->scratch->used += bytes;
    return start;
}

static void release_scratch(struct kitsune_xf *xf) {
    while (xf->scratch != NULL) {
        struct scratch *before = xf->scratch->before;
        munmap(xf->scratch, xf->scratch->size);
        xf->scratch = before;
    }
}

/* Memory for new objects of a type, of the allocator that it has. */
static void *allocate_for(struct kitsune_xf *xf, const struct kitsune_type *type,
                          uint64_t size_bytes) {
    if (__builtin_expect(!type->allocate, 1))
        return kitsune__xf_allocate(xf, size_bytes, type->new_align);
    void *block = type->allocate(size_bytes);
    if (!block)
        fail(xf, "the program's own allocator has no block of %lu bytes for '%s'",
             (unsigned long)size_bytes, type->name);
    if ((uintptr_t)block % type->new_align != 0)
        fail(xf, "the program's own allocator gave a block for '%s' at %p, which is not aligned",
             type->name, block);
    return block;
}

/* ---- beginning ------------------------------------------------------------------------------ */

static uintptr_t *map_slot(struct pointer_map *map, uintptr_t key) {
    uint64_t at = (key >> 3) * 0x9e3779b97f4a7c15ull >> 20 & map->mask;
    while (map->slots[at].key && map->slots[at].key != key)
        at = (at + 1) & map->mask;
    map->slots[at].key = key;
    return &map->slots[at].value;
}

static uintptr_t map_get(const struct pointer_map *map, uintptr_t key) {
    uint64_t at = (key >> 3) * 0x9e3779b97f4a7c15ull >> 20 & map->mask;
    while (map->slots[at].key && map->slots[at].key != key)
        at = (at + 1) & map->mask;
    return map->slots[at].key ? map->slots[at].value : 0;
}

static uint64_t map_bytes(const struct pointer_map *map) {
    return (map->mask + 1) * sizeof map->slots[0];
}

static int map_start(struct pointer_map *map, uint32_t count) {
    map->mask = 15;
    while (map->mask < 2ull * count)
        map->mask = 2 * map->mask + 1;
    map->slots = map_memory(map_bytes(map));
    return map->slots ? 0 : -1;
}

static void resolve_variable(struct kitsune_xf *xf, uint32_t number) {
    struct variable *variable = &xf->variables[number];
    const struct kitsune_migration *migration = variable->migration;
    if (migration->old_key) {
        variable->from = kitsune__registry_find(xf->options.from, migration->old_key, NULL);
        if (!variable->from)
            fail(xf, "the running version has no variable '%s'", migration->old_key);
        variable->old = kitsune__registry_address(xf->options.from, variable->from);
        uintptr_t *there = map_slot(&xf->by_old, (uintptr_t)variable->from);
        /* Of several that one old variable becomes, pointers to it follow the name. */
        if (!*there || (migration->new_key && strcmp(migration->new_key, migration->old_key) == 0))
            *there = number + 1;
    }
    if (migration->new_key) {
        variable->to = kitsune__registry_find(xf->options.to, migration->new_key, NULL);
        if (!variable->to)
            fail(xf, "the new version has no variable '%s'", migration->new_key);
        /* A local of the new version comes to life later: it is found by its symbol. */
        variable->new = kitsune__registry_address(xf->options.to, variable->to);
        int is_local = (variable->to->flags & KITSUNE_SYMBOL_LOCAL) != 0;
        *map_slot(&xf->by_new, is_local ? (uintptr_t)variable->to : (uintptr_t)variable->new) =
            number + 1;
    }
}

static void resolve_plan(struct kitsune_xf *xf) {
    for (uint32_t i = 0; i < xf->variable_count; i++) {
        xf->variables[i].migration = &xf->plan->migrations[i];
        resolve_variable(xf, i);
    }
    for (uint32_t i = 0; i < xf->plan->function_count; i++) {
        const struct kitsune_function_pair *pair = &xf->plan->functions[i];
        const struct kitsune_symbol *symbol =
            kitsune__registry_find(xf->options.from, pair->old_key, NULL);
        if (symbol)
            *map_slot(&xf->functions, (uintptr_t)symbol->address) = (uintptr_t)pair;
    }
}

static int note_mapping(void *context, const struct kitsune__mapping *mapping) {
    struct kitsune_xf *xf = context;
    if (mapping->permissions[0] != 'r')
        return 0;
    struct span *last = xf->spans.count ? kitsune__log_at(&xf->spans, xf->spans.count - 1) : NULL;
    if (last && last->end == mapping->start) {
        last->end = mapping->end;
        return 0;
    }
    struct span *span = need(xf, kitsune__log_push(&xf->spans));
    *span = (struct span){mapping->start, mapping->end, 0};
    return 0;
}

/* Called for each loaded object. All are foreign but those that are asked about as images first. */
static int note_object(struct dl_phdr_info *info, size_t size, void *context) {
    struct kitsune_xf *xf = context;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD)
            continue;
        uintptr_t start = info->dlpi_addr + header->p_vaddr, end = start + header->p_memsz;
        struct span *span = need(xf, kitsune__log_push(&xf->foreign));
        *span = (struct span){start & ~4095ul, (end + 4095) & ~4095ul, 1};
    }
    return 0;
}

/* What of `span` around the address belongs to one loaded object, or to none. */
static struct span cut_span(const struct kitsune_xf *xf, uintptr_t address, struct span span) {
    for (uint64_t i = 0; i < xf->foreign.count; i++) {
        const struct span *object = kitsune__log_at(&xf->foreign, i);
        if (address >= object->start && address < object->end)
            return *object;
        if (object->end <= address && object->end > span.start)
            span.start = object->end;
        if (object->start > address && object->start < span.end)
            span.end = object->start;
    }
    return span;
}

/* The readable memory that holds the address; empty if none does. */
static struct span search_spans(const struct kitsune_xf *xf, uintptr_t address) {
    uint64_t low = 0, high = xf->spans.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct span *span = kitsune__log_at(&xf->spans, middle);
        if (span->end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < xf->spans.count) {
        struct span span = *(const struct span *)kitsune__log_at(&xf->spans, low);
        if (address >= span.start)
            return span;
    }
    return (struct span){0, 0, 0};
}

static void read_spans(struct kitsune_xf *xf) {
    xf->spans.count = 0;
    if (kitsune__mappings(note_mapping, xf) == 0 && xf->spans.count)
        return;
    /* All addresses are taken as possible; a fault ends the update too. */
    struct span *everything = need(xf, kitsune__log_push(&xf->spans));
    *everything = (struct span){4096, ADDRESS_LIMIT, 0};
}

/* Finds out what memory of `bytes` belongs to, and keeps it in `near` if it is ordinary. */
static struct span find_span(struct kitsune_xf *xf, uintptr_t address, uint64_t bytes) {
    struct span span = search_spans(xf, address);
    if (bytes > span.end - address || address >= span.end) {
        read_spans(xf); /* it may be new */
        span = search_spans(xf, address);
    }
    if (span.start != span.end)
        span = cut_span(xf, address, span);
    if (!span.foreign && span.start != span.end)
        xf->near = span;
    return span;
}

static int is_in(struct kitsune__range range, uintptr_t address) {
    return address - range.start < range.end - range.start;
}

static void widen(struct kitsune__range *range, uintptr_t start, uintptr_t end) {
    if (range->start == range->end) {
        *range = (struct kitsune__range){start, end};
        return;
    }
    range->start = start < range->start ? start : range->start;
    range->end = end > range->end ? end : range->end;
}

static struct kitsune__range image_of(const struct kitsune__registry *registry) {
    const struct kitsune_release *release = kitsune__registry_release(registry);
    return (struct kitsune__range){(uintptr_t)release->image_start, (uintptr_t)release->image_end};
}

static void note_places(struct kitsune_xf *xf) {
    xf->image = image_of(xf->options.from);
    widen(&xf->elsewhere, xf->options.dying.start, xf->options.dying.end);
    widen(&xf->elsewhere, xf->options.all_dying.start, xf->options.all_dying.end);
    for (uint32_t i = 0; i < xf->options.earlier_count; i++) {
        struct kitsune__range range = image_of(xf->options.earlier[i]);
        widen(&xf->elsewhere, range.start, range.end);
    }
    for (uint32_t i = 0; i < xf->variable_count; i++) {
        const struct variable *variable = &xf->variables[i];
        if (variable->from && (variable->from->flags & KITSUNE_SYMBOL_THREAD_LOCAL))
            widen(&xf->elsewhere, (uintptr_t)variable->old,
                  (uintptr_t)variable->old + variable->from->size);
    }
}

int kitsune__xf_begin(struct kitsune_xf **result, const struct kitsune__xf_options *options) {
    uintptr_t ignored;
    struct kitsune_xf *xf = map_memory(sizeof *xf);
    if (!xf)
        return -1;
    xf->options = *options;
    xf->first_from = options->from;
    xf->first_to = options->to;
    xf->plan = options->plan;
    xf->variable_count = options->plan->migration_count;
    xf->variables = map_memory(xf->variable_count * sizeof *xf->variables);
    kitsune__log_start(&xf->work, sizeof(work_t));
    kitsune__log_start(&xf->stores, sizeof(struct store));
    kitsune__log_start(&xf->spans, 32);
    kitsune__log_start(&xf->foreign, 32);
    kitsune__log_start(&xf->copied, sizeof(uint64_t));
    kitsune__log_start(&xf->suspects, sizeof(uint64_t));
    kitsune__log_start(&xf->counts, sizeof(struct kitsune__xf_type_count));
    if (!xf->variables || map_start(&xf->by_old, xf->variable_count) != 0 ||
        map_start(&xf->by_new, xf->variable_count) != 0 ||
        map_start(&xf->functions, options->plan->function_count) != 0 ||
        kitsune__claims_start(&xf->claims) != 0)
        return -1;
    xf->nothing_moves = (xf->plan->flags & KITSUNE_PLAN_NOTHING_MOVES) != 0;
    xf->blocks_known = kitsune__blocks_known();
    kitsune__blocks_heap(&ignored, &ignored);
    resolve_plan(xf);
    note_places(xf);
    dl_iterate_phdr(note_object, xf);
    read_spans(xf);
    *result = xf;
    return 0;
}

/* ---- the old image -------------------------------------------------------------------------- */

/* The registry of the version whose image holds the address; NULL if none does. */
static const struct kitsune__registry *registry_at(const struct kitsune_xf *xf, uintptr_t address) {
    if (is_in(xf->image, address))
        return xf->options.from;
    for (uint32_t i = 0; i < xf->options.earlier_count; i++)
        if (is_in(image_of(xf->options.earlier[i]), address))
            return xf->options.earlier[i];
    return NULL;
}

static const struct variable *variable_of(const struct kitsune_xf *xf,
                                          const struct kitsune_symbol *symbol) {
    uintptr_t number = map_get(&xf->by_old, (uintptr_t)symbol);
    return number ? &xf->variables[number - 1] : NULL;
}

/* The symbol that the new version itself names for an old one; NULL if it names none. */
static const struct kitsune_symbol *renamed_by_hand(struct kitsune_xf *xf,
                                                    const struct kitsune_symbol *symbol) {
    const struct kitsune_release *release = kitsune__registry_release(xf->options.to);
    const char *key = release->renamed ? release->renamed(symbol->key) : NULL;
    const struct kitsune_symbol *to =
        key ? kitsune__registry_find(xf->options.to, key, NULL) : NULL;
    if (key && !to)
        fail(xf, "'%s' was renamed to '%s', which the new version does not have", symbol->key, key);
    return to;
}

/* A variable that the plan says nothing of: the namesake, with the same offset. */
static void *in_namesake(struct kitsune_xf *xf, const struct kitsune_symbol *symbol,
                         uint64_t offset) {
    const struct kitsune_symbol *to = renamed_by_hand(xf, symbol);
    if (!to && (symbol->flags & KITSUNE_SYMBOL_LOCAL))
        fail(xf, "a pointer to the local variable '%s' of the old version, which is not migrated",
             symbol->key);
    to = to ? to : kitsune__registry_find(xf->options.to, symbol->key, NULL);
    if (!to || (to->flags & KITSUNE_SYMBOL_FUNCTION))
        fail(xf, "a pointer to the variable '%s', which the new version does not have",
             symbol->key);
    if (to->size != symbol->size && offset != 0)
        fail(xf, "a pointer to byte %lu of the variable '%s', whose size has changed",
             (unsigned long)offset, symbol->key);
    return (uint8_t *)kitsune__registry_address(xf->options.to, to) + offset;
}

/* Where a variable of the new version is. A local has to be alive by now. */
static uint8_t *new_place(struct kitsune_xf *xf, const struct variable *variable,
                          const struct kitsune_symbol *symbol) {
    if (variable->new)
        return variable->new;
    if (!variable->to)
        fail(xf, "a pointer to the variable '%s', which is dropped", symbol->key);
    uint8_t *address = kitsune__frames_address(variable->to);
    if (!address && xf->phase == DISCOVERING)
        return variable->old; /* nobody looks at it */
    if (!address)
        fail(xf,
             "a pointer to the variable '%s', which is the local '%s' of the new version: that "
             "is not alive yet",
             symbol->key, variable->to->key);
    return address;
}

/* An array that reaches beyond the variable that it begins in. One object may: a program that looks at a
 * type of a family by a pointer to the largest looks at its beginning only. */
static void check_array(struct kitsune_xf *xf, const struct kitsune_symbol *symbol, uint64_t offset,
                        const struct kitsune_type *want, uint64_t count) {
    uint64_t rest = symbol->size - offset;
    if (want && count > 1 && want->old_size > 0 && count > rest / want->old_size)
        fail(xf, "an array of %lu '%s' in the variable '%s', which has %lu bytes for it",
             (unsigned long)count, want->name, symbol->key, (unsigned long)rest);
}

/* Where byte `offset` of an old variable is now. `want` as for kitsune__type_locate. */
static void *in_variable(struct kitsune_xf *xf, const struct kitsune_symbol *symbol,
                         uint64_t offset, const struct kitsune_type *want, uint64_t count) {
    const struct variable *variable = variable_of(xf, symbol);
    check_array(xf, symbol, offset, want, count);
    if (!variable || (!variable->new && renamed_by_hand(xf, symbol)))
        return in_namesake(xf, symbol, offset);
    uint8_t *new = new_place(xf, variable, symbol);
    const struct kitsune_type *type = variable->migration->type;
    if (!type || !type->old_size)
        return offset == 0 ? new : in_namesake(xf, symbol, offset);
    uint64_t elements = symbol->size / type->old_size, new_offset;
    if (offset == symbol->size) /* one past the end */
        return new + elements * type->new_size;
    if (!kitsune__type_locate(type, elements ? elements : 1, offset, want, count, &new_offset)) {
        /* A type without parts whose layout stays explains nothing, and changes nothing. */
        if (type->part_count || type->old_size != type->new_size || type->how == KITSUNE_MOVE)
            fail(xf, "a pointer of type '%s' to byte %lu of the variable '%s', where that is not",
                 want ? want->name : "bytes", (unsigned long)offset, symbol->key);
        new_offset = offset;
    }
    return new + new_offset;
}

static void *new_function(struct kitsune_xf *xf, const struct kitsune_symbol *symbol) {
    const struct kitsune_function_pair *pair =
        (void *)map_get(&xf->functions, (uintptr_t)symbol->address);
    if (pair && pair->new_function)
        return (void *)(uintptr_t)pair->new_function;
    const char *key = pair ? pair->new_key : symbol->key;
    const struct kitsune_symbol *to = renamed_by_hand(xf, symbol);
    if (!to && key)
        to = kitsune__registry_find(xf->options.to, key, NULL);
    if (!to || !(to->flags & KITSUNE_SYMBOL_FUNCTION))
        fail(xf, "a pointer to the function '%s', which the new version does not have",
             symbol->key);
    return (void *)(uintptr_t)to->address;
}

static void *claim_new(struct kitsune_xf *xf, uintptr_t address, uint64_t count,
                       const struct kitsune_type *type, uint16_t flags);
static void *find_met(struct kitsune_xf *xf, uintptr_t address, uint64_t count,
                      const struct kitsune_type *want);

/* Unnamed writable data of the old image: each gets a block of its own. */
static const struct kitsune_type bytes_type = {
    .name = "unnamed data", .old_size = 1, .new_size = 1, .new_align = 16, .how = KITSUNE_IN_PLACE};

/* Unnamed constants: string literals, mostly. */
static void *plain_constant(struct kitsune_xf *xf, const struct kitsune__registry *registry,
                            uintptr_t address, uint64_t size_bytes) {
    const struct kitsune_release *release = kitsune__registry_release(registry);
    uint64_t rest = (uintptr_t)release->image_end - address;
    int added;
    if (!size_bytes)
        size_bytes = strnlen((const char *)address, rest) + 1;
    if (size_bytes > rest)
        fail(xf, "a pointer to constants that reach beyond the end of the old version's image");
    if (kitsune__registry_place(registry, (void *)address) == KITSUNE__PLACE_WRITABLE) {
        void *met = find_met(xf, address, size_bytes, &bytes_type);
        return met ? met : claim_new(xf, address, size_bytes, &bytes_type, KITSUNE__CLAIM_COPIED);
    }
    if (xf->phase == DISCOVERING)
        return (void *)address;
    const void *text = kitsune__texts_intern((const void *)address, size_bytes, &added);
    need(xf, (void *)(uintptr_t)text);
    xf->statistics.texts++;
    return (void *)(uintptr_t)text;
}

/* What a pointer into an old version's image points to, in which way it is asked for. */
enum asked { ASKED_OBJECT, ASKED_PLAIN, ASKED_WORD };

static void *in_image(struct kitsune_xf *xf, const struct kitsune__registry *registry,
                      uintptr_t address, enum asked asked, uint64_t count,
                      const struct kitsune_type *type) {
    uint64_t offset;
    const void *old = (const void *)address;
    const struct kitsune_symbol *symbol = kitsune__registry_function_at(registry, old);
    if (symbol)
        return new_function(xf, symbol);
    symbol = kitsune__registry_variable_at(registry, old, &offset);
    if (symbol)
        return in_variable(xf, symbol, offset, type, count);
    symbol = kitsune__registry_variable_before(registry, old);
    if (symbol && asked != ASKED_OBJECT &&
        kitsune__registry_place(registry, old) == KITSUNE__PLACE_WRITABLE)
        return in_variable(xf, symbol, symbol->size, NULL, 0);
    if (asked == ASKED_PLAIN)
        return plain_constant(xf, registry, address, count);
    if (asked == ASKED_OBJECT) {
        void *met = find_met(xf, address, count, type);
        return met ? met : claim_new(xf, address, count, type, KITSUNE__CLAIM_COPIED);
    }
    if (kitsune__registry_place(registry, old) == KITSUNE__PLACE_WRITABLE)
        fail(xf, "a pointer without a type to %p, which is no variable of the old version", old);
    return (void *)address; /* a constant of unknown size: its image stays as long as it is used */
}

static int is_dying(const struct kitsune_xf *xf, uintptr_t address) {
    return is_in(xf->options.dying, address) ||
           (xf->options.is_dying != NULL && xf->options.is_dying((void *)address));
}

/* A place that needs a look of its own: NULL if the address turns out to be an ordinary one. */
static void *in_special(struct kitsune_xf *xf, uintptr_t address, enum asked asked, uint64_t count,
                        const struct kitsune_type *type) {
    uint64_t offset;
    const struct kitsune__registry *registry = registry_at(xf, address);
    if (registry)
        return in_image(xf, registry, address, asked, count, type);
    const struct kitsune_symbol *symbol =
        kitsune__registry_variable_at(xf->options.from, (void *)address, &offset);
    if (!symbol && is_dying(xf, address))
        fail(xf, "a pointer to %p on the stack of the old version, which ends", (void *)address);
    return symbol ? in_variable(xf, symbol, offset, type, count) : NULL;
}

static int is_special(const struct kitsune_xf *xf, uintptr_t address) {
    return is_in(xf->image, address) || is_in(xf->elsewhere, address);
}

/* ---- claims --------------------------------------------------------------------------------- */

static uint64_t new_bytes(struct kitsune_xf *xf, const struct kitsune__claim *claim,
                          const struct kitsune_type *type) {
    uint64_t tail = type->new_tail ? type->new_tail(xf, (void *)claim->old) : 0;
    return kitsune__claim_count(claim, type) * type->new_size + tail;
}

static inline void push_work(struct kitsune_xf *xf, work_t work) {
    work_t *place = need(xf, KITSUNE__LOG_NEXT(&xf->work, work_t));
    *place = work;
}

/* A pointer that is really migrated leads to the claim: it gets its new address. */
static void *reach(struct kitsune_xf *xf, uint32_t number) {
    struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, number);
    if (claim->new)
        return (void *)claim->new;
    if (xf->phase == DISCOVERING)
        return (void *)claim->old;
    const struct kitsune_type *type = kitsune__claim_type(&xf->claims, claim);
    claim->new = claim->old;
    if (claim->flags & (KITSUNE__CLAIM_MOVES | KITSUNE__CLAIM_COPIED))
        claim->new = (uintptr_t)allocate_for(xf, type, new_bytes(xf, claim, type));
    push_work(xf, make_work(number, 0));
    return (void *)claim->new;
}

__attribute__((cold, noreturn)) static void fail_conflict(struct kitsune_xf *xf,
                                                          enum kitsune__conflict conflict,
                                                          uint32_t number, uint32_t other) {
    char path[MESSAGE_BYTES / 3];
    const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, number);
    const char *name = name_of(xf, number);
    if (conflict == KITSUNE__CONFLICT_MARK) {
        const struct kitsune__node *mark = kitsune__node_at(&xf->claims, other);
        write_path(xf, mark->from, path, sizeof path);
        fail(xf, "'%s' at %p moves, but a pointer without its type to %p was met before it, at %s",
             name, (void *)claim->old, (void *)mark->address, path);
    }
    if (conflict == KITSUNE__CONFLICT_CLAIM) {
        const struct kitsune__claim *there = kitsune__claim_at(&xf->claims, other);
        write_path(xf, other, path, sizeof path);
        fail(xf,
             "'%s' of %lu bytes at %p and '%s' of %lu bytes at %p overlap; the other was met at %s",
             name, (unsigned long)claim->bytes, (void *)claim->old, name_of(xf, other),
             (unsigned long)there->bytes, (void *)there->old, path);
    }
    fail(xf, "no memory for the update's own tables");
}

/* Refuses addresses at which nothing can be. Returns non-zero for another library's object. */
static int is_foreign(struct kitsune_xf *xf, uintptr_t address, uint64_t bytes, const char *name) {
    if (__builtin_expect(address >= xf->near.start && bytes <= xf->near.end - address &&
                             address < xf->near.end,
                         1))
        return 0;
    struct span span = find_span(xf, address, bytes);
    if (span.foreign)
        return 1;
    if (address < span.start || address >= span.end || bytes > span.end - address)
        fail(xf, "a pointer to '%s' of %lu bytes at %p, where there is no memory", name,
             (unsigned long)bytes, (void *)address);
    return 0;
}

static uint64_t old_bytes(struct kitsune_xf *xf, uintptr_t address, uint64_t count,
                          const struct kitsune_type *type) {
    uint64_t bytes;
    if (__builtin_mul_overflow(type->old_size, count, &bytes) || bytes >= ADDRESS_LIMIT)
        fail(xf, "an array of %lu '%s', which no memory can hold", (unsigned long)count,
             type->name);
    if (type->old_tail) {
        if (count != 1)
            fail(xf, "an array of '%s', which has a flexible array member", type->name);
        uint64_t tail = type->old_tail(xf, (void *)address);
        if (tail >= ADDRESS_LIMIT)
            fail(xf, "'%s' at %p with %lu bytes behind it, which no memory can hold", type->name,
                 (void *)address, (unsigned long)tail);
        bytes += tail;
    }
    return bytes;
}

static void *claim_new(struct kitsune_xf *xf, uintptr_t address, uint64_t count,
                       const struct kitsune_type *type, uint16_t flags) {
    uint32_t other = 0;
    uint64_t bytes = old_bytes(xf, address, count, type);
    struct kitsune__claim *claim =
        need(xf, KITSUNE__LOG_NEXT(&xf->claims.log, struct kitsune__claim));
    uint32_t number = (uint32_t)(xf->claims.log.count - 1);
    if (__builtin_expect(number >= KITSUNE__CELL_MARK, 0))
        fail(xf, "more objects than one update can move");
    claim->old = address;
    claim->bytes = bytes;
    claim->from = xf->current;
    claim->type = kitsune__claims_type(&xf->claims, type);
    claim->flags = flags | (type->how == KITSUNE_MOVE ? KITSUNE__CLAIM_MOVES : 0);
    if (flags & KITSUNE__CLAIM_COPIED)
        *(uint64_t *)need(xf, kitsune__log_push(&xf->copied)) = number;
    if (__builtin_expect(!claim->type, 0))
        fail(xf, "more types than one update can hold");
    enum kitsune__conflict conflict = kitsune__claims_enter(&xf->claims, number, &other);
    if (__builtin_expect(conflict, 0))
        fail_conflict(xf, conflict, number, other);
    return reach(xf, number);
}

/*
 * The new address of something inside a claim that is there; NULL if there is none. In discovery a
 * bigger claim of the same address is for the caller to make.
 */
static void *find_met(struct kitsune_xf *xf, uintptr_t address, uint64_t count,
                      const struct kitsune_type *want) {
    uint64_t offset;
    uint32_t number = kitsune__claims_find(&xf->claims, address);
    if (!number)
        return NULL;
    const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, number);
    const struct kitsune_type *type = kitsune__claim_type(&xf->claims, claim);
    if (!kitsune__type_locate(type, kitsune__claim_count(claim, type), address - claim->old, want,
                              count, &offset))
        return NULL; /* maybe the part of something bigger: the caller claims it and finds out */
    return (uint8_t *)reach(xf, number) + offset;
}

static void *meet_slowly(struct kitsune_xf *xf, uintptr_t address, uint64_t count,
                         const struct kitsune_type *type) {
    if (is_special(xf, address)) {
        void *new = in_special(xf, address, ASKED_OBJECT, count, type);
        if (new)
            return new;
    }
    if (address >= ADDRESS_LIMIT)
        fail(xf, "a pointer to '%s' at %p, where there is no memory", type->name, (void *)address);
    void *met = find_met(xf, address, count, type);
    if (met)
        return met;
    if (!type->old_size && !type->old_tail)
        return (void *)address;
    if (is_foreign(xf, address, type->old_size, type->name))
        return (void *)address;
    is_foreign(xf, address, old_bytes(xf, address, count, type), type->name);
    return claim_new(xf, address, count, type, 0);
}

/* claim_new for what nearly all objects are: one of a fixed size in ordinary memory, met first. NULL
 * if it is none of these. */
static inline void *claim_common(struct kitsune_xf *xf, uint32_t *cell, uintptr_t address,
                                 const struct kitsune_type *type) {
    uint64_t bytes = type->old_size, offset = address - xf->near.start;
    uint32_t number = (uint32_t)xf->claims.log.count;
    if (type->old_tail || !bytes || offset >= xf->near.end - xf->near.start ||
        bytes > xf->near.end - address || number >= KITSUNE__CELL_MARK - 1)
        return NULL;
    struct kitsune__claim *claim =
        need(xf, KITSUNE__LOG_NEXT(&xf->claims.log, struct kitsune__claim));
    uint16_t type_number = kitsune__claims_type(&xf->claims, type);
    if (!type_number || !kitsune__claims_enter_free(cell, address, bytes, number)) {
        xf->claims.log.count--;
        return NULL;
    }
    int moves = type->how == KITSUNE_MOVE;
    *claim = (struct kitsune__claim){.old = address,
                                     .new = address,
                                     .bytes = bytes,
                                     .from = xf->current,
                                     .type = type_number,
                                     .flags = moves ? KITSUNE__CLAIM_MOVES : 0};
    if (xf->phase == DISCOVERING) {
        claim->new = 0;
        return (void *)address;
    }
    if (moves)
        claim->new = (uintptr_t)allocate_for(xf, type, type->new_size);
    push_work(xf, make_work(number, 0));
    return (void *)claim->new;
}

static inline void *meet(struct kitsune_xf *xf, uintptr_t address, uint64_t count,
                         const struct kitsune_type *type) {
    if (!address)
        return NULL;
    if (__builtin_expect(is_special(xf, address) || address >= ADDRESS_LIMIT, 0))
        return meet_slowly(xf, address, count, type);
    /* Its cell and the object are both far away: wait for them at the same time. */
    __builtin_prefetch((const void *)address);
    __builtin_prefetch((const void *)(address + 32));
    uint32_t *cell = kitsune__side_cell(&xf->claims.side, address);
    if (!cell || count != 1)
        return meet_slowly(xf, address, count, type);
    if (!*cell) {
        void *new = claim_common(xf, cell, address, type);
        return new ? new : meet_slowly(xf, address, count, type);
    }
    if (!kitsune__cell_is_claim(*cell))
        return meet_slowly(xf, address, count, type);
    const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, *cell);
    if (claim->old == address && kitsune__claim_type(&xf->claims, claim) == type)
        return claim->new ? (void *)claim->new : reach(xf, *cell);
    return meet_slowly(xf, address, count, type);
}

void *kitsune__xf_object(struct kitsune_xf *xf, const void *old, const struct kitsune_type *type) {
    return meet(xf, (uintptr_t)old, 1, type);
}

void *kitsune__xf_objects(struct kitsune_xf *xf, const void *old, uint64_t count,
                          const struct kitsune_type *type) {
    if (!count) /* nothing is there, but it may be the end of something */
        return kitsune__xf_word(xf, old);
    return meet(xf, (uintptr_t)old, count, type);
}

static int is_zero(const uint8_t *bytes, uint64_t size) {
    while (size && !*bytes)
        bytes++, size--;
    return !size;
}

void *kitsune__xf_objects_terminated(struct kitsune_xf *xf, const void *old,
                                     const struct kitsune_type *type) {
    const uint8_t *element = old;
    uint64_t count = 1;
    if (!old)
        return NULL;
    if ((uintptr_t)old >= ADDRESS_LIMIT || !type->old_size)
        fail(xf, "a pointer to '%s' at %p, where there is no memory", type->name, old);
    for (;; count++, element += type->old_size) {
        if (!registry_at(xf, (uintptr_t)element))
            is_foreign(xf, (uintptr_t)element, type->old_size, type->name);
        if (is_zero(element, type->old_size))
            break;
    }
    void *new = meet(xf, (uintptr_t)old, count, type);
    uint32_t number = kitsune__claims_find(&xf->claims, (uintptr_t)old);
    struct kitsune__claim *claim = number ? kitsune__claim_at(&xf->claims, number) : NULL;
    if (claim && claim->old == (uintptr_t)old && claim->bytes == count * type->old_size)
        claim->flags |= KITSUNE__CLAIM_ENDED;
    return new;
}

/* ---- pointers without objects --------------------------------------------------------------- */

/* The end of an array is a place too: one past the last byte of a claim. */
static void *past_claim(struct kitsune_xf *xf, uintptr_t address) {
    uint32_t number = kitsune__claims_find(&xf->claims, address - 1);
    if (!number)
        return NULL;
    const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, number);
    if (claim->old + claim->bytes != address || !(claim->flags & KITSUNE__CLAIM_MOVES))
        return NULL;
    const struct kitsune_type *type = kitsune__claim_type(&xf->claims, claim);
    return (uint8_t *)reach(xf, number) + new_bytes(xf, claim, type);
}

static void *keep(struct kitsune_xf *xf, uintptr_t address, uint64_t size_bytes, int is_word) {
    /* A word at the start of a record means the record, not its first member. */
    uint64_t count = is_word ? KITSUNE__OUTERMOST : 0;
    if (__builtin_expect(is_special(xf, address), 0)) {
        void *new = in_special(xf, address, is_word ? ASKED_WORD : ASKED_PLAIN,
                               is_word ? count : size_bytes, NULL);
        if (new)
            return new;
    }
    if (xf->nothing_moves || xf->phase == DISCOVERING || address >= ADDRESS_LIMIT || address < 4096)
        return (void *)address;
    uint32_t *cell = kitsune__side_cell(&xf->claims.side, address);
    uint32_t number = cell && *cell ? kitsune__claims_find(&xf->claims, address) : 0;
    if (number) {
        uint64_t offset;
        const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, number);
        const struct kitsune_type *type = kitsune__claim_type(&xf->claims, claim);
        if (!kitsune__type_locate(type, kitsune__claim_count(claim, type), address - claim->old,
                                  NULL, count, &offset))
            fail(xf, "a pointer to byte %lu of '%s', which has nothing there in the new version",
                 (unsigned long)(address - claim->old), type->name);
        return (uint8_t *)reach(xf, number) + offset;
    }
    void *past = past_claim(xf, address);
    if (past)
        return past;
    if (kitsune__claims_mark(&xf->claims, cell, address, xf->current) != 0)
        need(xf, NULL);
    return (void *)address;
}

void *kitsune__xf_plain(struct kitsune_xf *xf, const void *old, uint64_t size_bytes) {
    return old ? keep(xf, (uintptr_t)old, size_bytes, 0) : NULL;
}

void *kitsune__xf_word(struct kitsune_xf *xf, const void *old) {
    return old ? keep(xf, (uintptr_t)old, 0, 1) : NULL;
}

void *kitsune__xf_function(struct kitsune_xf *xf, const void *old) {
    const struct kitsune__registry *registry =
        is_special(xf, (uintptr_t)old) ? registry_at(xf, (uintptr_t)old) : NULL;
    if (!registry)
        return (void *)(uintptr_t)old;
    const struct kitsune_symbol *symbol = kitsune__registry_function_at(registry, old);
    if (!symbol)
        fail(xf, "a function pointer to %p in the old version, where no known function starts",
             old);
    return new_function(xf, symbol);
}

/* ---- transforming --------------------------------------------------------------------------- */

static void poll(struct kitsune_xf *xf) {
    if (xf->options.cancel && *xf->options.cancel)
        fail(xf, "the update was cancelled");
}

static void check_block(struct kitsune_xf *xf, uint32_t number,
                        const struct kitsune__claim *claim) {
    if (kitsune__blocks_plausible(claim->old, claim->bytes))
        return;
    uint64_t *suspect = need(xf, kitsune__log_push(&xf->suspects));
    *suspect = number;
}

/* Clears a new object. Most are a few words, for which a call costs more than the work. */
static inline void clear(void *object, uint64_t bytes) {
    typedef uint64_t pair __attribute__((vector_size(16), aligned(8), may_alias));
    if (bytes > 128 || bytes % sizeof(uint64_t)) {
        memset(object, 0, bytes);
        return;
    }
    uint8_t *at = object, *end = at + bytes;
    for (; end - at >= 16; at += 16) {
        *(pair *)at = (pair){0, 0};
        __asm__ volatile("" : : : "memory"); /* or the compiler makes the call again */
    }
    if (at != end)
        *(uint64_t *)at = 0;
}

/* What is done once for a claim, before its first object. */
static void begin_claim(struct kitsune_xf *xf, uint32_t number, struct kitsune__claim *claim,
                        struct kitsune__type_entry *entry, uint64_t count) {
    claim->flags |= KITSUNE__CLAIM_DONE | xf->claims.round << KITSUNE__CLAIM_ROUND_SHIFT;
    if (!(claim->flags & KITSUNE__CLAIM_MOVES)) {
        entry->in_place += count;
        if (claim->flags & KITSUNE__CLAIM_COPIED)
            memcpy((void *)claim->new, (const void *)claim->old, claim->bytes);
        return;
    }
    int may_be_inside = entry->type->pooled || entry->type->allocate != NULL;
    if (xf->blocks_known && !(claim->flags & KITSUNE__CLAIM_COPIED) && !may_be_inside)
        check_block(xf, number, claim);
    entry->moved += count;
    entry->bytes += new_bytes(xf, claim, entry->type);
}

/* Fetches what the words of the next batch point to, if they look like pointers, and the cells of that: the
 * entries of a hash table lie anywhere, one after the other would be waited for. */
static void fetch_targets(const struct kitsune_xf *xf, const uint8_t *memory, uint64_t bytes) {
    const uintptr_t *words = (const void *)memory;
    __asm__ volatile(""); /* gcc drops calls of a function that does nothing but prefetch */
    if ((uintptr_t)memory % sizeof *words != 0)
        return;
    for (uint64_t i = 0; i < bytes / sizeof *words; i++) {
        if (words[i] - xf->near.start >= xf->near.end - xf->near.start)
            continue;
        __builtin_prefetch(kitsune__side_cell(&xf->claims.side, words[i]), 1);
        __builtin_prefetch((const void *)words[i]);
    }
}

/* After a first pass what is pointed to has its claim: the cells were fetched by fetch_targets. */
static void fetch_known(const struct kitsune_xf *xf, const uint8_t *memory, uint64_t bytes) {
    const uintptr_t *words = (const void *)memory;
    __asm__ volatile("");
    if (xf->phase != KNOWN || (uintptr_t)memory % sizeof *words != 0)
        return;
    for (uint64_t i = 0; i < bytes / sizeof *words; i++) {
        if (words[i] - xf->near.start >= xf->near.end - xf->near.start)
            continue;
        const uint32_t *cell = kitsune__side_cell(&xf->claims.side, words[i]);
        if (cell && kitsune__cell_is_claim(*cell))
            __builtin_prefetch(kitsune__claim_at(&xf->claims, *cell));
    }
}

#define FETCHED_MAX                                                                                \
    64u /* bytes of an object that are fetched and looked at for what they point to */

/* An object that is no multiple of the cache's lines often lies in two. */
static inline void fetch_object(const struct kitsune__claim *claim) {
    uint64_t bytes = claim->bytes < FETCHED_MAX ? claim->bytes : FETCHED_MAX;
    __builtin_prefetch((const void *)claim->old);
    __builtin_prefetch((const void *)(claim->old + bytes - 1));
}

static void fetch_of(const struct kitsune_xf *xf, const struct kitsune__claim *claim) {
    fetch_targets(xf, (const uint8_t *)claim->old,
                  claim->bytes < FETCHED_MAX ? claim->bytes : FETCHED_MAX);
}

/*
 * Transforms one object, or a batch of an array's. What is left of an array goes back on the stack
 * first, below all that this batch leads to: it is still hot then, and a rule that settles from inside
 * finds all that there is to do.
 */
static void transform_claim(struct kitsune_xf *xf, work_t work) {
    uint32_t number = (uint32_t)work;
    struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, number);
    if (claim->flags & KITSUNE__CLAIM_ABSORBED)
        return;
    struct kitsune__type_entry *entry = kitsune__type_at(&xf->claims, claim->type);
    const struct kitsune_type *type = entry->type;
    uint64_t count = kitsune__claim_count(claim, type), first = (work >> 32) * BATCH;
    if (!first)
        begin_claim(xf, number, claim, entry, count);
    uint64_t stop = count - first > BATCH ? first + BATCH : count;
    if (stop < count)
        push_work(xf, work + (1ull << 32));
    uint8_t *out = (uint8_t *)claim->new + first * type->new_size;
    const uint8_t *in = (const uint8_t *)claim->old + first * type->old_size;
    if (claim->flags & KITSUNE__CLAIM_MOVES)
        clear(out, count == 1 ? new_bytes(xf, claim, type) : (stop - first) * type->new_size);
    else if (claim->flags & KITSUNE__CLAIM_COPIED)
        in = out;
    if (stop < count)
        fetch_targets(xf, in + (stop - first) * type->old_size,
                      (count - stop > BATCH ? BATCH : count - stop) * type->old_size);
    if (count > 1)
        fetch_known(xf, in, (stop - first) * type->old_size);
    if (claim->flags & KITSUNE__CLAIM_ENDED && stop == count)
        stop--; /* whatever rules make of an object of zeroes */
    if (__builtin_expect(type->apply != NULL, 0))
        for (; first < stop; first++, in += type->old_size, out += type->new_size)
            type->apply(xf, type, in, out);
    for (; type->transform && first < stop; first++, in += type->old_size, out += type->new_size)
        type->transform(xf, in, out);
}

/*
 * The next work: the one that was taken off the stack a few steps ago, and has been fetched into the
 * cache meanwhile (Cher, Hosking, Vitek: Software prefetching for mark-sweep garbage collection).
 */
static inline work_t next_work(struct kitsune_xf *xf) {
    while (xf->work.count && xf->fetched - xf->taken < LOOK_AHEAD) {
        uint64_t top = --xf->work.count;
        work_t work = *KITSUNE__LOG_AT(&xf->work, work_t, top);
        const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, (uint32_t)work);
        fetch_object(claim);
        __builtin_prefetch((const void *)claim->new, 1);
        xf->ahead[xf->fetched++ % LOOK_AHEAD] = work;
    }
    if (xf->fetched - xf->taken > LOOK_AHEAD / 2) { /* else nothing would be won */
        work_t soon = xf->ahead[(xf->taken + LOOK_AHEAD / 2) % LOOK_AHEAD];
        fetch_of(xf, kitsune__claim_at(&xf->claims, (uint32_t)soon));
        soon = xf->ahead[(xf->taken + LOOK_AHEAD / 4) % LOOK_AHEAD];
        const struct kitsune__claim *sooner = kitsune__claim_at(&xf->claims, (uint32_t)soon);
        fetch_known(xf, (const uint8_t *)sooner->old,
                    sooner->bytes < FETCHED_MAX ? sooner->bytes : FETCHED_MAX);
    }
    return xf->fetched == xf->taken ? 0 : xf->ahead[xf->taken++ % LOOK_AHEAD];
}

/* Transforms all that was met. `current` is the caller's again afterwards. */
static void drain(struct kitsune_xf *xf) {
    uint32_t before = xf->current;
    for (work_t work; (work = next_work(xf)) != 0;) {
        if (xf->steps++ % POLL_EVERY == 0)
            poll(xf);
        xf->current = (uint32_t)work;
        transform_claim(xf, work);
    }
    xf->current = before;
}

/* In-place objects transformed so far hold new pointers afterwards: a new round begins. */
static void carry_out_stores(struct kitsune_xf *xf) {
    for (; xf->stored < xf->stores.count; xf->stored++) {
        const struct store *store = KITSUNE__LOG_AT(&xf->stores, struct store, xf->stored);
        if (xf->stored + LOOK_AHEAD < xf->stores.count)
            __builtin_prefetch(
                KITSUNE__LOG_AT(&xf->stores, struct store, xf->stored + LOOK_AHEAD)->where, 1);
        *store->where = store->value;
    }
    xf->statistics.stores = xf->stored;
    xf->claims.round += xf->claims.round < KITSUNE__ROUND_MAX;
}

void kitsune__xf_store(struct kitsune_xf *xf, void *where, void *value) {
    if (xf->phase == DISCOVERING || *(void **)where == value)
        return;
    struct store *store = need(xf, KITSUNE__LOG_NEXT(&xf->stores, struct store));
    *store = (struct store){where, value};
}

void kitsune__xf_settle(struct kitsune_xf *xf) {
    if (xf->phase == DISCOVERING)
        return;
    if (++xf->settling > SETTLE_DEPTH)
        fail(xf, "rules ask for finished objects inside each other, more than %d deep",
             SETTLE_DEPTH);
    drain(xf);
    carry_out_stores(xf);
    xf->settling--;
}

/* ---- top-level calls ------------------------------------------------------------------------ */

static void visit_objects(struct kitsune_xf *xf, const struct kitsune_type *type, uint64_t count,
                          const uint8_t *in) {
    for (uint64_t i = 0; i < count; i++, in += type->old_size) {
        if (i % BATCH == 0 && count - i > BATCH)
            fetch_targets(xf, in + BATCH * type->old_size,
                          (count - i - BATCH > BATCH ? BATCH : count - i - BATCH) * type->old_size);
        type->visit(xf, in);
        if (i % POLL_EVERY == POLL_EVERY - 1)
            poll(xf);
    }
}

/* The claim of this number, if there is one and it will be visited. */
static const struct kitsune__claim *to_visit(const struct kitsune_xf *xf, uint64_t number) {
    if (number >= xf->claims.log.count)
        return NULL;
    const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, (uint32_t)number);
    return kitsune__claim_type(&xf->claims, claim)->visit ? claim : NULL;
}

/* Objects that come later are fetched, then what their words point to. */
static void fetch_claims(const struct kitsune_xf *xf, uint64_t number) {
    const struct kitsune__claim *far = to_visit(xf, number + 2 * VISIT_AHEAD);
    const struct kitsune__claim *near = to_visit(xf, number + VISIT_AHEAD);
    if (far)
        fetch_object(far);
    if (near)
        fetch_of(xf, near);
}

static void visit_claims(struct kitsune_xf *xf) {
    for (; xf->visited < xf->claims.log.count; xf->visited++) {
        uint32_t number = (uint32_t)xf->visited;
        const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, number);
        fetch_claims(xf, number);
        if (!number || (claim->flags & KITSUNE__CLAIM_ABSORBED))
            continue;
        if (number % POLL_EVERY == 0)
            poll(xf);
        const struct kitsune_type *type = kitsune__claim_type(&xf->claims, claim);
        xf->current = number;
        if (type->visit)
            visit_objects(xf, type, kitsune__claim_count(claim, type), (const void *)claim->old);
    }
}

/*
 * The first pass. All variables take part, also those that the program migrates by hand later: an
 * object may be reached from one and pointed into from another.
 */
static void discover(struct kitsune_xf *xf) {
    xf->phase = DISCOVERING;
    for (uint32_t i = 0; i < xf->variable_count; i++) {
        const struct variable *variable = &xf->variables[i];
        const struct kitsune_type *type = variable->migration->type;
        if (!variable->old || !variable->to || !type || !type->visit ||
            (variable->migration->flags & KITSUNE_MIGRATION_ADDRESS))
            continue;
        uint64_t count = type->old_size ? variable->from->size / type->old_size : 1;
        xf->current = KITSUNE__FROM_VARIABLE | i;
        visit_objects(xf, type, count ? count : 1, variable->old);
        visit_claims(xf);
    }
    xf->phase = KNOWN;
}

static void begin_call(struct kitsune_xf *xf) {
    if (xf->finished)
        fail(xf, "a variable is migrated after the end of the migration");
    if ((xf->plan->flags & KITSUNE_PLAN_DISCOVER) && xf->phase == ONE_PASS)
        discover(xf);
}

/* ---- addresses that are sought ------------------------------------------------------------- */

/* Where byte `offset` of an old variable is now; NULL if that is not known. Never fails. */
static void *sought_variable(const struct kitsune_xf *xf, const struct kitsune_symbol *symbol,
                             uint64_t offset) {
    const struct variable *variable = variable_of(xf, symbol);
    const struct kitsune_type *type = variable ? variable->migration->type : NULL;
    uint64_t new_offset;
    if (variable && !variable->to)
        return NULL;
    if (type && type->old_size && variable->new) {
        uint64_t elements = symbol->size / type->old_size;
        if (kitsune__type_locate(type, elements ? elements : 1, offset, NULL, KITSUNE__OUTERMOST,
                                 &new_offset))
            return variable->new + new_offset;
        if (type->part_count || type->old_size != type->new_size || type->how == KITSUNE_MOVE)
            return NULL;
    }
    const struct kitsune_symbol *to =
        variable ? variable->to : kitsune__registry_find(xf->options.to, symbol->key, NULL);
    if (!to || (to->flags & (KITSUNE_SYMBOL_FUNCTION | KITSUNE_SYMBOL_LOCAL)) ||
        (to->size != symbol->size && offset != 0))
        return NULL;
    return (uint8_t *)kitsune__registry_address(xf->options.to, to) + offset;
}

/* The same of an old function. */
static void *sought_function(const struct kitsune_xf *xf, const struct kitsune_symbol *symbol) {
    const struct kitsune_function_pair *pair =
        (void *)map_get(&xf->functions, (uintptr_t)symbol->address);
    if (pair && pair->new_function)
        return (void *)(uintptr_t)pair->new_function;
    const char *key = pair ? pair->new_key : symbol->key;
    const struct kitsune_symbol *to =
        key ? kitsune__registry_find(xf->options.to, key, NULL) : NULL;
    return to && (to->flags & KITSUNE_SYMBOL_FUNCTION) ? (void *)(uintptr_t)to->address : NULL;
}

#define PAGE 4096u

static int is_text(unsigned char byte) {
    return (byte >= ' ' && byte < 0x80) || (byte && strchr("\t\n\r", byte));
}

/*
 * Whether a text ends in the word: its last bytes and their zero over what a pointer has left in memory that
 * was used before, whose upper bytes nobody wrote since. Seen by the eight bytes before it, which are text
 * as well: a pointer behind eight such bytes without a zero is rare, and one of those addresses rarer.
 */
static int is_end_of_text(const uintptr_t *where) {
    const unsigned char *bytes = (const unsigned char *)where;
    unsigned length = 0;
    if ((uintptr_t)where % PAGE == 0) /* nobody knows what is before it */
        return 0;
    while (length < sizeof *where && is_text(bytes[length]))
        length++;
    if (length == sizeof *where || bytes[length])
        return 0;
    for (int before = -(int)sizeof *where; before < 0; before++)
        if (!is_text(bytes[before]))
            return 0;
    return 1;
}

/*
 * What has no name among the constants is nearly always a literal: a text, if it looks like one. Where it begins
 * there is a zero before it, unless the linker found it at the end of a longer one. A truth value over what
 * a pointer has left looks like the address of any byte of a text: so 0 and 1 are none in there.
 */
static void *sought_text(struct kitsune_xf *xf, const struct kitsune__registry *registry,
                         const char *text) {
    const struct kitsune_release *release = kitsune__registry_release(registry);
    uint64_t rest = (uintptr_t)release->image_end - (uintptr_t)text, length = 0;
    int added;
    if (text == (const char *)release->image_start ||
        ((uint8_t)(uintptr_t)text <= 1 && text[-1] != '\0'))
        return NULL;
    while (length < rest && (is_text((unsigned char)text[length]) || (text[length] & 0x80)))
        length++;
    if (length < rest && text[length] != '\0')
        return NULL;
    /* Of an empty one nothing can be seen: it lies among texts. */
    if (length == rest || (!length && (rest < 2 || (text[-1] < ' ' && text[1] < ' '))))
        return NULL;
    xf->statistics.texts++;
    return (void *)(uintptr_t)need(
        xf, (void *)(uintptr_t)kitsune__texts_intern(text, length + 1, &added));
}

/* A word that is no address that is known stays, and keeps the old image mapped as long as it is there. */
static void redirect_word(void *context, uintptr_t *where) {
    struct kitsune_xf *xf = context;
    uint64_t offset;
    const void *old = (const void *)*where;
    const struct kitsune__registry *registry = registry_at(xf, *where);
    if (!registry || is_end_of_text(where))
        return;
    const struct kitsune_symbol *symbol = kitsune__registry_function_at(registry, old);
    void *new = NULL;
    if (symbol)
        new = sought_function(xf, symbol);
    else if ((symbol = kitsune__registry_variable_at(registry, old, &offset)) != NULL)
        new = sought_variable(xf, symbol, offset);
    else if (kitsune__registry_place(registry, old) == KITSUNE__PLACE_CONSTANT)
        new = sought_text(xf, registry, old);
    if (!new)
        return;
    *where = (uintptr_t)new;
}

static int is_of_version(void *context, uintptr_t address) {
    struct kitsune_xf *xf = context;
    return is_in(image_of(xf->first_to), address) || registry_at(xf, address) != NULL;
}

static struct kitsune__seek what_is_sought(struct kitsune_xf *xf) {
    struct kitsune__range hull = xf->image;
    for (uint32_t i = 0; i < xf->options.earlier_count; i++) {
        struct kitsune__range range = image_of(xf->options.earlier[i]);
        widen(&hull, range.start, range.end);
    }
    return (struct kitsune__seek){hull.start, hull.end, redirect_word, is_of_version, xf};
}

/* A variable was copied with what it holds. */
static void seek_in_variable(struct kitsune_xf *xf, const struct variable *variable) {
    if (!(xf->plan->flags & KITSUNE_PLAN_SEEK) || !variable->result)
        return;
    struct kitsune__seek seek = what_is_sought(xf);
    kitsune__seek_in(&seek, (uintptr_t)variable->new,
                     (uintptr_t)variable->new + variable->to->size);
}

static void seek_in_heap(struct kitsune_xf *xf) {
    if (!(xf->plan->flags & KITSUNE_PLAN_SEEK) || xf->sought)
        return;
    struct kitsune__seek seek = what_is_sought(xf);
    xf->sought = 1;
    if (kitsune__seek_in_heap(&seek) != 0)
        fail(xf, xf->blocks_known
                     ? "no memory to look through the heap (seek)"
                     : "the program's allocator is none whose memory can be looked through (seek)");
    kitsune__seek_in_libraries(&seek);
}

/* ---- migrating variables -------------------------------------------------------------------- */

static void migrate_variable(struct kitsune_xf *xf, uint32_t number) {
    struct variable *variable = &xf->variables[number];
    const struct kitsune_migration *migration = variable->migration;
    if (variable->done || !variable->new || (migration->flags & KITSUNE_MIGRATION_ADDRESS))
        return;
    if (migration->old_key && !variable->old) /* a local that is not alive */
        return;
    variable->done = 1;
    xf->current = KITSUNE__FROM_VARIABLE | number;
    poll(xf);
    if (migration->migrate) {
        variable->result = migration->migrate(xf, variable->old, variable->new);
    } else if (variable->old) {
        if (variable->from->size != variable->to->size)
            fail(xf, "the variable '%s' has changed its size, and nothing says how",
                 migration->new_key);
        memcpy(variable->new, variable->old, variable->to->size);
        variable->result = 1;
    }
    xf->statistics.variables += variable->result != 0;
    seek_in_variable(xf, variable);
}

static void end_call(struct kitsune_xf *xf) {
    drain(xf);
    carry_out_stores(xf);
    xf->current = 0;
}

static int has_flag(const struct kitsune_symbol *symbol, uint32_t flags) {
    return symbol != NULL && (symbol->flags & flags) != 0;
}

static int is_thread_local(const struct variable *variable) {
    return has_flag(variable->to, KITSUNE_SYMBOL_THREAD_LOCAL);
}

/* Each thread has its own. */
static int is_of_thread(const struct variable *variable) {
    const uint32_t flags = KITSUNE_SYMBOL_THREAD_LOCAL | KITSUNE_SYMBOL_LOCAL;
    return has_flag(variable->to, flags) || has_flag(variable->from, flags);
}

void kitsune__xf_enter_thread(struct kitsune_xf *xf, struct kitsune__registry *from,
                              struct kitsune__registry *to) {
    kitsune__registry_close(xf->entered_from);
    kitsune__registry_close(xf->entered_to);
    xf->entered_from = from;
    xf->entered_to = to;
    xf->options.from = from != NULL ? from : xf->first_from;
    xf->options.to = to != NULL ? to : xf->first_to;
    for (uint32_t i = 0; i < xf->variable_count; i++) {
        struct variable *variable = &xf->variables[i];
        if (!is_of_thread(variable))
            continue;
        variable->done = variable->result = 0;
        if (variable->to != NULL)
            variable->new = kitsune__registry_address(xf->options.to, variable->to);
        if (variable->from != NULL)
            variable->old = kitsune__registry_address(xf->options.from, variable->from);
    }
    note_places(xf);
}

void kitsune__xf_thread_locals(struct kitsune_xf *xf) {
    begin_call(xf);
    for (uint32_t i = 0; i < xf->variable_count; i++)
        if ((xf->plan->migrations[i].flags & KITSUNE_MIGRATION_AUTO) &&
            is_thread_local(&xf->variables[i]))
            migrate_variable(xf, i);
    end_call(xf);
}

void *kitsune__xf_thread_argument(struct kitsune_xf *xf, void *argument) {
    begin_call(xf);
    void *result = kitsune__xf_word(xf, argument);
    end_call(xf);
    return result;
}

/* Number + 1 of the variable of the thread that was entered; 0: it is none. */
static uintptr_t entered_variable(const struct kitsune_xf *xf, const void *address) {
    for (uint32_t i = 0; xf->entered_to != NULL && i < xf->variable_count; i++)
        if (is_thread_local(&xf->variables[i]) && xf->variables[i].new == address)
            return i + 1;
    return 0;
}

static void migrate_all(struct kitsune_xf *xf, uint32_t late) {
    for (uint32_t i = 0; i < xf->variable_count; i++) {
        uint32_t flags = xf->plan->migrations[i].flags;
        if ((flags & KITSUNE_MIGRATION_AUTO) && (flags & KITSUNE_MIGRATION_LATE) == late)
            migrate_variable(xf, i);
    }
    end_call(xf);
}

void kitsune__xf_automigrate(struct kitsune_xf *xf) {
    begin_call(xf);
    migrate_all(xf, 0); /* with the state of the program's own allocators, which the rest asks */
    migrate_all(xf, KITSUNE_MIGRATION_LATE);
    seek_in_heap(xf);
}

/* The number + 1 of the variable at an address of the new version, or of this key; 0 if the plan has
 * none. A local gets its address here; each one that a recursion makes is migrated for itself. */
static uintptr_t asked_for(struct kitsune_xf *xf, const char *key, void *address) {
    uintptr_t number = map_get(&xf->by_new, (uintptr_t)address);
    if (number)
        return number;
    const struct kitsune_symbol *symbol = kitsune__frames_symbol_at(address);
    if (!symbol)
        symbol = kitsune__registry_find(xf->options.to, key, NULL);
    if (!symbol)
        return 0;
    if (!(symbol->flags & KITSUNE_SYMBOL_LOCAL))
        return map_get(&xf->by_new, (uintptr_t)kitsune__registry_address(xf->options.to, symbol));
    number = map_get(&xf->by_new, (uintptr_t)symbol);
    struct variable *variable = number ? &xf->variables[number - 1] : NULL;
    if (variable && variable->new != address) {
        variable->new = address;
        variable->done = variable->result = 0;
    }
    return number;
}

/* A variable that both versions registered by hand: its bytes are all that is known of it. */
static int copy_registered(struct kitsune_xf *xf, const char *key, void *address) {
    const struct kitsune_symbol *from = kitsune__registry_find(xf->options.from, key, NULL);
    const struct kitsune_symbol *to = kitsune__registry_find(xf->options.to, key, NULL);
    if (!from || !to || !(from->flags & to->flags & KITSUNE_SYMBOL_BY_HAND) ||
        to->address != address)
        return 0;
    if (from->size != to->size)
        fail(xf, "the variable '%s', which is registered by hand, has changed its size", key);
    memcpy(address, from->address, to->size);
    xf->statistics.variables++;
    return 1;
}

int kitsune__xf_migrate(struct kitsune_xf *xf, const char *key, void *address) {
    begin_call(xf);
    if (copy_registered(xf, key, address))
        return 1;
    uintptr_t number = entered_variable(xf, address);
    if (number == 0)
        number = asked_for(xf, key, address);
    if (!number)
        return 0;
    migrate_variable(xf, (uint32_t)number - 1);
    end_call(xf);
    return xf->variables[number - 1].result;
}

/* ---- ending --------------------------------------------------------------------------------- */

/* Says what is wrong with the block of an object that moves; returns if nothing provably is. */
static int check_suspect(struct kitsune_xf *xf, uint32_t number) {
    const struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, number);
    struct kitsune__block block = kitsune__blocks_find(claim->old);
    const char *name = name_of(xf, number);
    xf->current = claim->from;
    if (block.kind == KITSUNE__BLOCK_INSIDE)
        fail(xf,
             "'%s' at %p moves, but it lies at byte %ld of a block of %lu bytes that nothing "
             "explains",
             name, (void *)claim->old, (long)(claim->old - block.start),
             (unsigned long)block.size_bytes);
    if (block.kind == KITSUNE__BLOCK_OUTSIDE)
        fail(xf, "'%s' at %p moves, but it is in memory that malloc did not give", name,
             (void *)claim->old);
    if (block.kind != KITSUNE__BLOCK_WHOLE)
        return 0;
    if (claim->bytes > block.size_bytes)
        fail(xf, "'%s' has %lu bytes, but the block at %p only %lu", name,
             (unsigned long)claim->bytes, (void *)claim->old, (unsigned long)block.size_bytes);
    /* One with a flexible array member may have been asked for as its size and the array's. */
    const struct kitsune_type *type = kitsune__claim_type(&xf->claims, claim);
    uint64_t slack =
        kitsune__blocks_slack(block.size_bytes) + (type->old_tail ? type->old_size : 0);
    if (block.size_bytes - claim->bytes >= slack)
        fail(xf, "'%s' has %lu bytes, but the block at %p has %lu: what is behind it would be lost",
             name, (unsigned long)claim->bytes, (void *)claim->old,
             (unsigned long)block.size_bytes);
    return 1;
}

static void count_types(struct kitsune_xf *xf) {
    struct kitsune__xf_statistics *all = &xf->statistics;
    for (uint64_t i = 1; i < xf->claims.types.count; i++) {
        const struct kitsune__type_entry *entry = kitsune__type_at(&xf->claims, (uint16_t)i);
        struct kitsune__xf_type_count *count = kitsune__log_push(&xf->counts);
        if (!count)
            break;
        *count = (struct kitsune__xf_type_count){entry->type->name, entry->moved, entry->in_place,
                                                 entry->bytes};
        all->moved += entry->moved;
        all->in_place += entry->in_place;
        all->bytes += entry->bytes;
    }
    all->types = xf->counts.segment_count ? kitsune__log_at(&xf->counts, 0) : NULL;
    all->type_count = (uint32_t)xf->counts.count;
}

void kitsune__xf_finish(struct kitsune_xf *xf, struct kitsune__xf_statistics *statistics) {
    drain(xf);
    carry_out_stores(xf);
    seek_in_heap(xf);
    /* Blocks of an allocator that cannot be read: the first one's answer is everyone's. */
    for (uint64_t i = 0; i < xf->suspects.count; i++)
        if (!check_suspect(xf, (uint32_t)*(const uint64_t *)kitsune__log_at(&xf->suspects, i)))
            break;
    xf->current = 0;
    if (!xf->finished)
        count_types(xf);
    xf->finished = 1;
    if (statistics)
        *statistics = xf->statistics;
}

/* The engine's structure itself is what is left over: its claims tell the old blocks. */
struct kitsune__retired {
    struct kitsune_xf xf;
};

/* What is kept must not look as if somebody pointed into an old image (retire.h). */
static void hide_images(struct kitsune_xf *xf) {
    for (uint64_t i = 0; i < xf->copied.count; i++) {
        const uint64_t *number = kitsune__log_at(&xf->copied, i);
        struct kitsune__claim *claim = kitsune__claim_at(&xf->claims, (uint32_t)*number);
        claim->old = 0;
        claim->bytes = 0;
    }
    memset(&xf->options, 0, sizeof xf->options);
    xf->plan = NULL;
    xf->image = xf->elsewhere = (struct kitsune__range){0, 0};
}

struct kitsune__retired *kitsune__xf_end(struct kitsune_xf *xf) {
    int moved = 0;
    for (uint64_t i = 1; i < xf->claims.types.count && !moved; i++)
        moved = kitsune__type_at(&xf->claims, (uint16_t)i)->moved != 0;
    hide_images(xf);
    kitsune__log_release(&xf->work);
    kitsune__log_release(&xf->stores);
    kitsune__log_release(&xf->spans);
    kitsune__log_release(&xf->foreign);
    kitsune__log_release(&xf->copied);
    kitsune__log_release(&xf->suspects);
    kitsune__log_release(&xf->counts);
    release_scratch(xf);
    munmap(xf->by_old.slots, map_bytes(&xf->by_old));
    munmap(xf->by_new.slots, map_bytes(&xf->by_new));
    munmap(xf->functions.slots, map_bytes(&xf->functions));
    munmap(xf->variables, xf->variable_count ? xf->variable_count * sizeof *xf->variables : 1);
    struct kitsune__retired *retired = (struct kitsune__retired *)xf;
    if (moved)
        return retired;
    while (kitsune__retired_release(retired, UINT64_MAX))
        continue;
    return NULL;
}

uint64_t kitsune__retired_count(const struct kitsune__retired *retired) {
    return retired->xf.claims.log.count;
}

uintptr_t kitsune__retired_at(const struct kitsune__retired *retired, uint64_t index,
                              uint64_t *size_bytes) {
    const unsigned wanted = KITSUNE__CLAIM_MOVES | KITSUNE__CLAIM_DONE;
    const struct kitsune__claim *claim = kitsune__claim_at(&retired->xf.claims, (uint32_t)index);
    if ((claim->flags & (wanted | KITSUNE__CLAIM_COPIED)) != wanted ||
        kitsune__type_at(&retired->xf.claims, claim->type)->left)
        return 0;
    if (size_bytes)
        *size_bytes = claim->bytes;
    return claim->old;
}

void (*kitsune__retired_allocator(const struct kitsune__retired *retired,
                                  uint64_t index))(void *object) {
    const struct kitsune__claim *claim = kitsune__claim_at(&retired->xf.claims, (uint32_t)index);
    return kitsune__type_at(&retired->xf.claims, claim->type)->release;
}

void kitsune__retired_leave_returned(struct kitsune__retired *retired) {
    for (uint64_t i = 1; i < retired->xf.claims.types.count; i++) {
        struct kitsune__type_entry *entry = kitsune__type_at(&retired->xf.claims, (uint16_t)i);
        entry->left = entry->release != NULL;
    }
}

uint64_t kitsune__retired_find(const struct kitsune__retired *retired, uintptr_t address) {
    uint32_t number =
        address < ADDRESS_LIMIT ? kitsune__claims_find(&retired->xf.claims, address) : 0;
    return number && kitsune__retired_at(retired, number, NULL) == address ? number : UINT64_MAX;
}

int kitsune__retired_release(struct kitsune__retired *retired, uint64_t budget_ns) {
    struct kitsune__claims *claims = &retired->xf.claims;
    uint64_t deadline = budget_ns == UINT64_MAX ? 0 : kitsune__now_ns() + budget_ns;
    while (kitsune__side_release_segment(&claims->side) ||
           kitsune__log_release_segment(&claims->nodes) ||
           kitsune__log_release_segment(&claims->types) ||
           kitsune__log_release_segment(&claims->log))
        if (deadline && kitsune__now_ns() > deadline)
            return 1;
    munmap(retired, sizeof *retired);
    return 0;
}
