/*
 * The processes of one tree: the program that was started and all that it forked. One mapping, MAP_SHARED
 * and anonymous, inherited by each, holds a place for every process (its gate and its struct
 * kitsune__control) and what belongs to the tree as a whole (struct kitsune__tree, control.h).
 *
 * Invariants:
 *  - A place belongs to the process whose id is in `owner`; one that is being filled has its negative.
 *    A place is taken by one compare-and-swap; that of a process that is gone is taken the same way.
 *    Nothing runs when a process ends, and nobody watches for it: places of the dead are found when a
 *    place is wanted, or when the helper looks.
 *  - Processes of fewer rights than the helper and their parents write to the mapping: nobody indexes memory
 *    by what stands there without a bound of his own, or loads what it names without asking the kernel
 *    whose it is.
 *  - Taking a place costs a few system calls at most, as long as there are free ones, however many
 *    processes live: each fork of a server pays it.
 *
 * Context: any, also between fork and exec, and in the helper.
 */
#ifndef KITSUNE_TREE_H
#define KITSUNE_TREE_H

#include "control.h"

/* Makes the mapping; NULL if there is no memory. */
struct kitsune__tree *kitsune__tree_map(void);
/* How many places it has. */
uint32_t kitsune__tree_capacity(void);
/* Where the mapping ends. */
const void *kitsune__tree_end(const struct kitsune__tree *tree);

struct kitsune__control *kitsune__tree_place(struct kitsune__tree *tree, uint32_t index);
/* Places that were ever taken are below this. */
uint32_t kitsune__tree_used(struct kitsune__tree *tree);
struct kitsune_gate *kitsune__tree_gate(struct kitsune__control *control);

/* What a child goes on from: what its parent was when it forked. It may be another version already when
 * the child begins to run. */
struct kitsune__lineage {
    int32_t parent;
    uint64_t serial;
    struct kitsune__running running;
    int64_t running_since;
};

/* Takes a place for the calling process, which has this number for the helper, a child that came from there
 * (NULL: the first process); NULL if there is none. */
struct kitsune__control *kitsune__tree_enter(struct kitsune__tree *tree, int32_t pid,
                                             const struct kitsune__lineage *origin);
/* From now on this process, and what it forks, has numbers of its own: those that stand in the tree are looked
 * up in /proc. */
void kitsune__tree_renumber(const struct kitsune__tree *tree);
/* A process has no place: it is remembered by its number only. */
void kitsune__tree_note_left_out(struct kitsune__tree *tree, int32_t pid, int is_elsewhere);

/* Whether a process that existed at the time `since` (CLOCK_BOOTTIME, ns) under this number lives and still
 * runs the launcher. What may not be known is taken for true. Only where /proc can be read. */
int kitsune__tree_is_alive(int32_t pid, uint64_t since);
/* The place's process, if it lives; else 0. */
int32_t kitsune__tree_owner(const struct kitsune__control *control);
/* How many processes live that have no place; `some` gets the note of one. */
uint32_t kitsune__tree_left_out(struct kitsune__tree *tree, struct kitsune__left_out *some);

#endif
