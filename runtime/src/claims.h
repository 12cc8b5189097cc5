/*
 * Claims: which old memory is an object of which type, and where its new one is.
 *
 * Invariants:
 *  - A claim is [old, old + bytes) of one type pair: one object with its tail, or an array.
 *  - No two live claims overlap. A claim that is part of a bigger one is absorbed: it stays in the log,
 *    and lookups find the bigger one.
 *  - `new` is 0 until the claim is reached by a pointer that is really migrated; afterwards fixed.
 *  - A mark is an old address that something points to without saying what is there; it is refused
 *    that a claim comes later which would move it.
 *
 * Context: as side.h.
 */
#ifndef KITSUNE_CLAIMS_H
#define KITSUNE_CLAIMS_H

#include <stdint.h>

#include "kitsune_abi.h"
#include "side.h"

enum kitsune__claim_flag {
    KITSUNE__CLAIM_MOVES = 0x1u,    /* gets new memory */
    KITSUNE__CLAIM_COPIED = 0x2u,   /* lies in an old image: new memory, even if its type stays */
    KITSUNE__CLAIM_ABSORBED = 0x4u, /* part of a bigger claim */
    KITSUNE__CLAIM_DONE = 0x8u,     /* transformed, or begun */
    KITSUNE__CLAIM_ENDED = 0x10u,   /* the last element ends an array by being zero, and stays so */
    /* In the upper byte: the round in which it was begun. The stores of earlier rounds have been
     * carried out; in the last round, which never ends, that is assumed of all. */
    KITSUNE__CLAIM_ROUND_SHIFT = 8,
    KITSUNE__ROUND_MAX = 255
};

/* `from` of a claim that a variable's migration met: the variable's number, with this bit. */
#define KITSUNE__FROM_VARIABLE 0x80000000u

struct kitsune__claim {
    uintptr_t old, new;
    uint64_t bytes; /* of the old object, its tail included */
    uint32_t from;  /* the claim or variable that led here first */
    uint16_t type;  /* its number in kitsune__types */
    uint16_t flags;
};

/* A link of the chain of a cell: another claim, or a mark if `claim` is 0. */
struct kitsune__node {
    uintptr_t address; /* of a mark */
    uint32_t claim, next;
    uint32_t from; /* of a mark */
    uint32_t unused[3];
};

#define KITSUNE__TYPES_MAX 32767u

struct kitsune__type_entry {
    const struct kitsune_type *type;
    uint64_t moved, in_place, bytes;
    void (*release)(void *); /* of the type, for when that is gone */
    uint32_t left;           /* the allocator is gone: its objects are never freed */
    uint32_t unused[5];      /* a log's entries are a power of two large */
};

struct kitsune__claims {
    struct kitsune__side side;
    struct kitsune__log log;   /* of struct kitsune__claim; number 0 is never used */
    struct kitsune__log nodes; /* of struct kitsune__node; number 0 is never used */
    struct kitsune__log types; /* of struct kitsune__type_entry; number 0 is never used */
    uint32_t round;            /* from 1 */
    uint16_t recent[256];      /* types by a hash of their address */
};

/* 0, or -1 if there is no memory. `claims` must be all zeros. */
int kitsune__claims_start(struct kitsune__claims *claims);

static inline struct kitsune__claim *kitsune__claim_at(const struct kitsune__claims *claims,
                                                       uint32_t number) {
    return KITSUNE__LOG_AT(&claims->log, struct kitsune__claim, number);
}
static inline struct kitsune__node *kitsune__node_at(const struct kitsune__claims *claims,
                                                     uint32_t number) {
    return KITSUNE__LOG_AT(&claims->nodes, struct kitsune__node, number);
}
/* All types fit into one segment. */
static inline struct kitsune__type_entry *kitsune__type_at(const struct kitsune__claims *claims,
                                                           uint16_t number) {
    return (struct kitsune__type_entry *)claims->types.segments[0] + number;
}
static inline const struct kitsune_type *kitsune__claim_type(const struct kitsune__claims *claims,
                                                             const struct kitsune__claim *claim) {
    return kitsune__type_at(claims, claim->type)->type;
}
/* Elements of an array; 1 for an object with a tail. */
static inline uint64_t kitsune__claim_count(const struct kitsune__claim *claim,
                                            const struct kitsune_type *type) {
    return type->old_tail || claim->bytes <= type->old_size ? 1 : claim->bytes / type->old_size;
}

/* The number of a type, 0 if there is no memory or there are too many. */
uint16_t kitsune__claims_find_type(struct kitsune__claims *claims, const struct kitsune_type *type);
static inline uint16_t kitsune__claims_type(struct kitsune__claims *claims,
                                            const struct kitsune_type *type) {
    uint16_t *recent = &claims->recent[((uintptr_t)type >> 4) & 255];
    if (__builtin_expect(kitsune__type_at(claims, *recent)->type != type, 0))
        *recent = kitsune__claims_find_type(claims, type);
    return *recent;
}

/* The live claim that contains the address, or 0. */
uint32_t kitsune__claims_find(const struct kitsune__claims *claims, uintptr_t address);

/* Why a new claim cannot be entered. */
enum kitsune__conflict {
    KITSUNE__NO_CONFLICT = 0,
    KITSUNE__CONFLICT_MEMORY,
    KITSUNE__CONFLICT_CLAIM, /* overlaps `other` in a way that its type does not explain, or too late */
    KITSUNE__CONFLICT_MARK /* `other` is the node of a mark in it */
};
/*
 * Enters the claim `number` (last of the log, filled) into the side table. It may absorb smaller
 * claims whose types its own explains, but not those that have been moved or written.
 */
enum kitsune__conflict kitsune__claims_enter(struct kitsune__claims *claims, uint32_t number,
                                             uint32_t *other);
/* The same where `cell` is the address's, and all cells that the object takes are free and in one leaf:
 * nearly always. Returns zero, with nothing done, if that is not so. */
static inline int kitsune__claims_enter_free(uint32_t *cell, uintptr_t address, uint64_t bytes,
                                             uint32_t number) {
    uint64_t first = address >> KITSUNE__GRANULE_BITS;
    uint64_t cells = ((address + bytes - 1) >> KITSUNE__GRANULE_BITS) - first + 1;
    if ((first & (KITSUNE__LEAF_CELLS - 1)) + cells > KITSUNE__LEAF_CELLS)
        return 0;
    for (uint64_t i = 0; i < cells; i++)
        if (cell[i])
            return 0;
    for (uint64_t i = 0; i < cells; i++)
        cell[i] = number;
    return 1;
}
/* Notes that something points to an address that no claim contains. -1 if there is no memory. */
int kitsune__claims_mark_slowly(struct kitsune__claims *claims, uintptr_t address, uint32_t from);
/* The cell holds one claim and nothing else. */
static inline int kitsune__cell_is_claim(uint32_t cell) {
    return cell - 1 < KITSUNE__CELL_MARK - 1;
}
static inline uint32_t kitsune__cell_of_mark(uintptr_t address, uint32_t from) {
    uint32_t offset = address & ((1u << KITSUNE__GRANULE_BITS) - 1);
    return KITSUNE__CELL_MARK | offset << KITSUNE__MARK_FROM_BITS | from;
}
/* `cell` is the address's, NULL if there is none yet. Nearly all marks are alone in their cells. */
static inline int kitsune__claims_mark(struct kitsune__claims *claims, uint32_t *cell,
                                       uintptr_t address, uint32_t from) {
    if (!cell || *cell || from >> KITSUNE__MARK_FROM_BITS)
        return kitsune__claims_mark_slowly(claims, address, from);
    *cell = kitsune__cell_of_mark(address, from);
    return 0;
}

/*
 * Where an address inside an object goes. `offset` is from the start of `count` objects of `type`;
 * with `want`, `want_count` objects of that type must lie there, else anything that the type knows: the
 * innermost, or with a count of KITSUNE__OUTERMOST the outermost record that starts there. Returns zero
 * if the type does not explain it.
 */
#define KITSUNE__OUTERMOST UINT64_MAX
int kitsune__type_locate(const struct kitsune_type *type, uint64_t count, uint64_t offset,
                         const struct kitsune_type *want, uint64_t want_count,
                         uint64_t *new_offset);
/* Both transform equally. */
static inline int kitsune__type_same(const struct kitsune_type *one,
                                     const struct kitsune_type *other) {
    return one == other ||
           (one->transform == other->transform && one->transform && one->how == other->how &&
            one->old_size == other->old_size && one->new_size == other->new_size);
}

#endif
