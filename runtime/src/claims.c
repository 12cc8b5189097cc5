/* Claims and their side table (claims.h). */
#include "claims.h"

#define GRANULE (1u << KITSUNE__GRANULE_BITS)
/* Types nest by value, so deeper than this only in tables that are wrong. */
#define NESTING_MAX 64

int kitsune__claims_start(struct kitsune__claims *claims) {
    claims->round = 1;
    kitsune__side_start(&claims->side);
    kitsune__log_start(&claims->log, sizeof(struct kitsune__claim));
    kitsune__log_start(&claims->nodes, sizeof(struct kitsune__node));
    kitsune__log_start(&claims->types, sizeof(struct kitsune__type_entry));
    _Static_assert(sizeof(struct kitsune__claim) == 32 && sizeof(struct kitsune__node) == 32,
                   "elements of logs have powers of two as sizes");
    _Static_assert(sizeof(struct kitsune__type_entry) * (KITSUNE__TYPES_MAX + 1) <=
                       KITSUNE__SEGMENT_BYTES,
                   "types are found by one index");
    return kitsune__log_push(&claims->log) && kitsune__log_push(&claims->nodes) &&
                   kitsune__log_push(&claims->types)
               ? 0
               : -1;
}

uint16_t kitsune__claims_find_type(struct kitsune__claims *claims,
                                   const struct kitsune_type *type) {
    for (uint64_t i = 1; i < claims->types.count; i++)
        if (kitsune__type_at(claims, (uint16_t)i)->type == type)
            return (uint16_t)i;
    if (claims->types.count > KITSUNE__TYPES_MAX)
        return 0;
    struct kitsune__type_entry *entry = kitsune__log_push(&claims->types);
    if (!entry)
        return 0;
    entry->type = type;
    entry->release = type->release;
    return (uint16_t)(claims->types.count - 1);
}

static int contains(const struct kitsune__claim *claim, uintptr_t address) {
    return address - claim->old < claim->bytes;
}

static uint32_t find_in_chain(const struct kitsune__claims *claims, uint32_t cell,
                              uintptr_t address) {
    for (uint32_t at = cell & ~KITSUNE__CELL_CHAIN; at; at = kitsune__node_at(claims, at)->next) {
        uint32_t number = kitsune__node_at(claims, at)->claim;
        if (!number)
            continue;
        const struct kitsune__claim *claim = kitsune__claim_at(claims, number);
        if (!(claim->flags & KITSUNE__CLAIM_ABSORBED) && contains(claim, address))
            return number;
    }
    return 0;
}

uint32_t kitsune__claims_find(const struct kitsune__claims *claims, uintptr_t address) {
    const uint32_t *cell = kitsune__side_cell(&claims->side, address);
    if (!cell || !*cell)
        return 0;
    if (*cell & KITSUNE__CELL_CHAIN)
        return find_in_chain(claims, *cell, address);
    if (*cell & KITSUNE__CELL_MARK)
        return 0;
    return contains(kitsune__claim_at(claims, *cell), address) ? *cell : 0;
}

/* ---- entering ------------------------------------------------------------------------------- */

/* Puts one more link in front of a cell's chain. */
static int chain(struct kitsune__claims *claims, uint32_t *cell, struct kitsune__node link) {
    struct kitsune__node *node = kitsune__log_push(&claims->nodes);
    if (!node)
        return -1;
    *node = link;
    node->next = *cell & ~KITSUNE__CELL_CHAIN;
    *cell = KITSUNE__CELL_CHAIN | (uint32_t)(claims->nodes.count - 1);
    return 0;
}

static struct kitsune__node node_of_mark(uint32_t cell, uintptr_t address) {
    uint32_t offset = (cell & ~KITSUNE__CELL_MARK) >> KITSUNE__MARK_FROM_BITS;
    return (struct kitsune__node){.address = (address & ~(uintptr_t)(GRANULE - 1)) + offset,
                                  .from = cell & ((1u << KITSUNE__MARK_FROM_BITS) - 1)};
}

/* Makes a chain of a cell, that of `address`, which holds a single claim or mark. */
static int open_chain(struct kitsune__claims *claims, uint32_t *cell, uintptr_t address) {
    uint32_t alone = *cell;
    if (!alone || (alone & KITSUNE__CELL_CHAIN))
        return 0;
    *cell = 0;
    return chain(claims, cell,
                 alone & KITSUNE__CELL_MARK ? node_of_mark(alone, address)
                                            : (struct kitsune__node){.claim = alone});
}

static int overlap(const struct kitsune__claim *one, const struct kitsune__claim *other) {
    return one->old < other->old + other->bytes && other->old < one->old + one->bytes;
}

static int is_written(const struct kitsune__claims *claims, const struct kitsune__claim *claim) {
    if (!(claim->flags & KITSUNE__CLAIM_DONE))
        return 0;
    uint32_t round = claim->flags >> KITSUNE__CLAIM_ROUND_SHIFT;
    return round < claims->round || round == KITSUNE__ROUND_MAX;
}

/* The bigger claim takes the smaller one over if its type says that there is one, and if nobody has
 * been given another address for it, nor has it been rewritten. */
static int absorb(struct kitsune__claims *claims, const struct kitsune__claim *bigger,
                  struct kitsune__claim *smaller) {
    uint64_t ignored;
    const struct kitsune_type *type = kitsune__claim_type(claims, bigger);
    const struct kitsune_type *inner = kitsune__claim_type(claims, smaller);
    if (smaller->old < bigger->old || smaller->old + smaller->bytes > bigger->old + bigger->bytes)
        return 0;
    if ((smaller->new &&
         (smaller->new != smaller->old || (bigger->flags & KITSUNE__CLAIM_MOVES))) ||
        is_written(claims, smaller))
        return 0;
    if (!kitsune__type_locate(type, kitsune__claim_count(bigger, type), smaller->old - bigger->old,
                              inner, kitsune__claim_count(smaller, inner), &ignored))
        return 0;
    smaller->flags |= KITSUNE__CLAIM_ABSORBED;
    return 1;
}

static enum kitsune__conflict enter_chained(struct kitsune__claims *claims, uint32_t *cell,
                                            uint32_t number, uint32_t *other) {
    struct kitsune__claim *claim = kitsune__claim_at(claims, number);
    for (uint32_t at = *cell & ~KITSUNE__CELL_CHAIN; at; at = kitsune__node_at(claims, at)->next) {
        struct kitsune__node *node = kitsune__node_at(claims, at);
        if (!node->claim) {
            *other = at;
            if ((claim->flags & KITSUNE__CLAIM_MOVES) && contains(claim, node->address))
                return KITSUNE__CONFLICT_MARK;
            continue;
        }
        struct kitsune__claim *there = kitsune__claim_at(claims, node->claim);
        *other = node->claim;
        if (!(there->flags & KITSUNE__CLAIM_ABSORBED) && overlap(there, claim) &&
            !absorb(claims, claim, there))
            return KITSUNE__CONFLICT_CLAIM;
    }
    return chain(claims, cell, (struct kitsune__node){.claim = number}) == 0
               ? KITSUNE__NO_CONFLICT
               : KITSUNE__CONFLICT_MEMORY;
}

/* Enters the claim into a cell that is taken, that of `address`. */
static enum kitsune__conflict enter_taken(struct kitsune__claims *claims, uint32_t *cell,
                                          uintptr_t address, uint32_t number, uint32_t *other) {
    if (kitsune__cell_is_claim(*cell)) {
        struct kitsune__claim *there = kitsune__claim_at(claims, *cell);
        if (there->flags & KITSUNE__CLAIM_ABSORBED) {
            *cell = number;
            return KITSUNE__NO_CONFLICT;
        }
        if (overlap(there, kitsune__claim_at(claims, number))) {
            *other = *cell;
            if (!absorb(claims, kitsune__claim_at(claims, number), there))
                return KITSUNE__CONFLICT_CLAIM;
            *cell = number;
            return KITSUNE__NO_CONFLICT;
        }
    }
    if (open_chain(claims, cell, address) != 0)
        return KITSUNE__CONFLICT_MEMORY;
    return enter_chained(claims, cell, number, other);
}

enum kitsune__conflict kitsune__claims_enter(struct kitsune__claims *claims, uint32_t number,
                                             uint32_t *other) {
    const struct kitsune__claim *claim = kitsune__claim_at(claims, number);
    uintptr_t last = claim->old + claim->bytes - 1;
    for (uintptr_t address = claim->old & ~(uintptr_t)(GRANULE - 1); address <= last;) {
        uint32_t *cell = kitsune__side_cell(&claims->side, address);
        if (!cell && !(cell = kitsune__side_make(&claims->side, address)))
            return KITSUNE__CONFLICT_MEMORY;
        uintptr_t leaf_end = (address | ((1ull << KITSUNE__LEAF_BITS) - 1)) + 1;
        for (; address <= last && address < leaf_end; address += GRANULE, cell++) {
            if (!*cell) {
                *cell = number;
                continue;
            }
            enum kitsune__conflict conflict = enter_taken(claims, cell, address, number, other);
            if (conflict)
                return conflict;
        }
    }
    return KITSUNE__NO_CONFLICT;
}

static int is_marked(const struct kitsune__claims *claims, uint32_t cell, uintptr_t address) {
    if (!(cell & KITSUNE__CELL_CHAIN) && (cell & KITSUNE__CELL_MARK))
        return node_of_mark(cell, address).address == address;
    uint32_t at = cell & KITSUNE__CELL_CHAIN ? cell & ~KITSUNE__CELL_CHAIN : 0;
    for (; at; at = kitsune__node_at(claims, at)->next)
        if (!kitsune__node_at(claims, at)->claim &&
            kitsune__node_at(claims, at)->address == address)
            return 1;
    return 0;
}

int kitsune__claims_mark_slowly(struct kitsune__claims *claims, uintptr_t address, uint32_t from) {
    uint32_t *cell = kitsune__side_make(&claims->side, address);
    if (!cell)
        return -1;
    if (is_marked(claims, *cell, address)) /* a text that many share has one mark */
        return 0;
    if (open_chain(claims, cell, address) != 0)
        return -1;
    return chain(claims, cell, (struct kitsune__node){.address = address, .from = from});
}

/* ---- offsets -------------------------------------------------------------------------------- */

static int locate(const struct kitsune_type *type, uint64_t count, uint64_t offset,
                  const struct kitsune_type *want, uint64_t want_count, uint64_t *new_offset,
                  int depth);

static int locate_in_part(const struct kitsune_part *part, uint64_t offset,
                          const struct kitsune_type *want, uint64_t want_count,
                          uint64_t *new_offset, int depth) {
    uint64_t within = offset - part->old_offset, index = within / part->old_size;
    uint64_t count = part->count ? part->count : UINT64_MAX; /* a flexible array member */
    if (index >= count)
        return 0;
    within -= index * part->old_size;
    *new_offset = part->new_offset + index * part->new_size;
    if (!part->type) {
        *new_offset += within < part->new_size ? within : 0;
        return !want && within < part->new_size;
    }
    uint64_t inner;
    if (want && within == 0 && kitsune__type_same(part->type, want))
        return want_count <= count - index;
    if (!locate(part->type, 1, within, want, want_count, &inner, depth + 1))
        return 0;
    *new_offset += inner;
    return 1;
}

/* So many objects of `want` end within `count` objects of `type`, `offset` bytes behind their start. */
static int fits(const struct kitsune_type *type, uint64_t count, uint64_t offset,
                const struct kitsune_type *want, uint64_t want_count) {
    uint64_t rest = type->old_size * count - offset;
    return type->old_tail || !want->old_size || want_count <= rest / want->old_size;
}

static int locate(const struct kitsune_type *type, uint64_t count, uint64_t offset,
                  const struct kitsune_type *want, uint64_t want_count, uint64_t *new_offset,
                  int depth) {
    uint64_t index = type->old_size ? offset / type->old_size : 0;
    if (depth > NESTING_MAX || (index >= count && !type->old_tail))
        return 0;
    index = type->old_tail ? 0 : index;
    uint64_t within = offset - index * type->old_size;
    *new_offset = index * type->new_size;
    if (!want && want_count == KITSUNE__OUTERMOST && within == 0)
        return 1;
    if (want && within == 0 && kitsune__type_same(type, want))
        return want_count <= count - index;
    uint64_t inner, at = UINT64_MAX;
    for (uint32_t i = 0; i < type->part_count && type->parts[i].old_offset <= within; i++) {
        if (!type->parts[i].old_size ||
            !locate_in_part(&type->parts[i], within, want, want_count, &inner, depth))
            continue;
        if (at != UINT64_MAX && at != inner)
            return 0; /* members of a union that went apart: it is not known which one is meant */
        at = inner;
    }
    if (at != UINT64_MAX) {
        *new_offset += at;
        return 1;
    }
    *new_offset += within;
    if (want) /* an object that keeps its layout may leave its parts unsaid */
        return type->how == KITSUNE_IN_PLACE && want->how == KITSUNE_IN_PLACE &&
               !type->part_count && fits(type, count, offset, want, want_count);
    return within == 0 || type->how == KITSUNE_IN_PLACE;
}

int kitsune__type_locate(const struct kitsune_type *type, uint64_t count, uint64_t offset,
                         const struct kitsune_type *want, uint64_t want_count,
                         uint64_t *new_offset) {
    return locate(type, count, offset, want, want_count, new_offset, 0);
}
