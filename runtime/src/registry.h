/*
 * Keys and addresses of one loaded release: its registered variables and functions.
 *
 * Invariants:
 *  - A registry is built from the release's constant table when an update needs it and closed after
 *    it: between updates it costs nothing. Its memory is mapped, never malloc'ed, so that it may be
 *    opened and used inside a transaction (a rollback unmaps it) and while malloc is broken.
 *  - Symbols belong to the release; they stay valid as long as its image is mapped.
 *  - A thread-local symbol is resolved for the thread that opened the registry, and so is a local of
 *    that thread's frames: one that is alive then can be found by its address.
 *
 * Context: the program's thread, not signal handlers. A registry is constant after it was opened, but
 * a search by key also finds what the program has registered by hand since.
 */
#ifndef KITSUNE_REGISTRY_H
#define KITSUNE_REGISTRY_H

#include <stddef.h>
#include <stdint.h>

#include "kitsune_abi.h"

struct kitsune__registry;

/* Opens the registry of a release. Returns 0, or -1 if there is no memory. */
int kitsune__registry_open(struct kitsune__registry **registry,
                           const struct kitsune_release *release);
/* The same for the calling thread, of a release whose registry another thread has opened, which must stay open
 * longer: nothing is sorted anew. */
int kitsune__registry_open_again(struct kitsune__registry **registry,
                                 const struct kitsune__registry *of);
/* Releases it; NULL is allowed. */
void kitsune__registry_close(struct kitsune__registry *registry);

/* What became of a search by key. */
enum kitsune__match {
    KITSUNE__MATCH_NONE = 0,
    KITSUNE__MATCH_EXACT,
    KITSUNE__MATCH_SUFFIX,   /* the key's file is the end of exactly one registered file */
    KITSUNE__MATCH_AMBIGUOUS /* it is the end of several */
};

/*
 * Finds the symbol of a key: exactly, or else with its file matched by suffix at path-component
 * boundaries ("main.c/x" finds "src/or/main.c/x"; a key without a file is only matched exactly).
 * Returns NULL for NONE and AMBIGUOUS; `match` may be NULL.
 */
const struct kitsune_symbol *kitsune__registry_find(const struct kitsune__registry *registry,
                                                    const char *key, enum kitsune__match *match);
/* Writes up to `capacity` symbols that the key's file is a suffix of; returns how many there are. */
size_t kitsune__registry_candidates(const struct kitsune__registry *registry, const char *key,
                                    const struct kitsune_symbol **out, size_t capacity);

/* The variable that contains the address, with the offset in it; NULL if there is none. */
const struct kitsune_symbol *kitsune__registry_variable_at(const struct kitsune__registry *registry,
                                                           const void *address, uint64_t *offset);
/* The variable whose last byte is the one before the address; NULL if there is none. */
const struct kitsune_symbol *
kitsune__registry_variable_before(const struct kitsune__registry *registry, const void *address);
/* The function that starts at the address; NULL if none that is registered does. */
const struct kitsune_symbol *kitsune__registry_function_at(const struct kitsune__registry *registry,
                                                           const void *address);

/* Where the symbol is, for the thread that opened the registry if it is thread-local; that of a local
 * is where the calling thread has it now, NULL if it is not alive. */
void *kitsune__registry_address(const struct kitsune__registry *registry,
                                const struct kitsune_symbol *symbol);

/* Parts of the image in which an address lies. */
enum kitsune__place {
    KITSUNE__PLACE_OUTSIDE = 0,
    KITSUNE__PLACE_CODE,
    KITSUNE__PLACE_CONSTANT, /* not writable when the program runs */
    KITSUNE__PLACE_WRITABLE
};
enum kitsune__place kitsune__registry_place(const struct kitsune__registry *registry,
                                            const void *address);

/* The release that the registry was opened for. */
const struct kitsune_release *kitsune__registry_release(const struct kitsune__registry *registry);

#endif
