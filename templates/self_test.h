/*
 * The self-test of a release's transformers: what its generated part (tables of the two versions'
 * types, made from their programs and the rules) says to its fixed part (self_test.c). Neither is in
 * the launcher or in a release: `kitsune self-test` builds both to a program of their own, which loads
 * the old and the new release side by side, fills old objects with random values, has the release's
 * own transformers run over them, and compares.
 *
 * Invariants:
 *  - What a member must be afterwards follows from these tables and from the old object alone, never
 *    from what the transformer did.
 *  - All tables are constant. Everything runs in one thread, each case in a process of its own.
 */
#ifndef KITSUNE_SELF_TEST_H
#define KITSUNE_SELF_TEST_H

#include <stdint.h>

#define KITSUNE__MOST_DIMENSIONS 4
#define KITSUNE__MOST_CONDITIONS 3

/* What a value is. */
enum kitsune__kind {
    KITSUNE__NONE,  /* there is none on this side */
    KITSUNE__BYTES, /* kept bit by bit, never an address */
    KITSUNE__SIGNED,
    KITSUNE__UNSIGNED,
    KITSUNE__BOOL,
    KITSUNE__FLOAT,
    KITSUNE__TEXT,       /* points to bytes */
    KITSUNE__OBJECT,     /* points to one object, or to the first of `length` */
    KITSUNE__TERMINATED, /* points to objects, the last of which is all zero */
    KITSUNE__FUNCTION,
    KITSUNE__WORD /* a `void *` that nothing explains, or a library's own pointer */
};

/* In `flags` of a member. */
#define KITSUNE__VISITED 0x1u /* a pointer that the transformer must ask the engine about */
#define KITSUNE__INITIAL 0x2u /* of the new object only: stays as it was before */

/* The old and the new value of an enumerator. */
struct kitsune__enumerator {
    int64_t old_value, new_value;
};

/*
 * One array around a member: `count` elements, or as many as `length` says. That is over the old record
 * which has the array: it is at `owner`, and within the first `owner_dimensions` arrays.
 */
struct kitsune__dimension {
    uint64_t count, old_stride, new_stride;
    uint64_t (*length)(const void *owner);
    uint64_t owner;
    uint32_t owner_dimensions;
};

/* What must hold for a member to be in use: it is one of a union, told by a tag. As a length's. */
struct kitsune__condition {
    uint64_t (*holds)(const void *owner);
    uint64_t owner;
    uint32_t owner_dimensions;
};

/*
 * A value somewhere in an object that is no record or array itself. Offsets are from the start of the
 * object, with all indices 0. A bit-field has accessors, which take its owner. It is compared if both
 * kinds are given, else only filled (what rules read, what is dropped) or, with KITSUNE__INITIAL,
 * expected to be untouched.
 */
struct kitsune__member {
    const char *path;
    uint32_t old_kind, new_kind, flags;
    uint32_t dimension_count;
    uint32_t owner_dimensions; /* so many of them, from the first, are around the owner too */
    uint32_t condition_count;
    uint64_t most; /* non-zero: counts something, so it is filled with at most that */
    uint64_t old_owner, new_owner;
    uint64_t old_offset, new_offset, old_size, new_size; /* sizes 0 for a bit-field */
    struct kitsune__dimension dimensions[KITSUNE__MOST_DIMENSIONS];
    struct kitsune__condition conditions[KITSUNE__MOST_CONDITIONS];
    const struct kitsune__enumerator *enumerators; /* the only values that it may have */
    uint64_t enumerator_count;
    int64_t (*get_old)(const void *owner);
    int64_t (*get_new)(const void *owner);
    void (*set_old)(void *owner, int64_t value);
    uint64_t (*length)(const void *owner);
    const struct kitsune__shape *target;
};

/* A pair of types of objects. */
struct kitsune__shape {
    const char *name; /* as the user writes it */
    uint64_t old_size, new_size;
    const struct kitsune__member *members;
    uint64_t member_count;
    uint32_t moved;    /* objects get new blocks */
    uint32_t flexible; /* an old object may go on behind its size */
};

enum kitsune__mode {
    KITSUNE__MOVE,    /* void f(xf, old, new): writes a new object */
    KITSUNE__PATCH,   /* the same with old == new: gives each pointer to `store` */
    KITSUNE__VARIABLE /* int f(xf, old, new): writes a new variable */
};

/* A transformer of the release; `offset` is the value of its symbol. */
struct kitsune__case {
    const char *name;
    uint64_t offset;
    enum kitsune__mode mode;
    /* What it does depends on rules' code or on tags, so that some random values do not suit it. */
    uint32_t is_choosy;
    const struct kitsune__shape *shape;
};

/* What the generated part defines. `kitsune__release_offset` is the value of `kitsune_release`. */
extern const struct kitsune__case kitsune__cases[];
extern const uint64_t kitsune__case_count;
extern const uint64_t kitsune__release_offset;
/* What it calls: the launcher's table, as in a release. */
extern const struct kitsune_launcher *const kitsune__launcher;

#endif
