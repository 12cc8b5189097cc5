/*
 * A rehearsal: the update is carried out in a copy of the process, on the state as it is, up to where it
 * would be committed; the copy tells what became of it and ends. The program makes the copy and goes on.
 *
 * Invariants:
 *  - The copy is a clone of the process with no exit signal, so that no wait of the program sees it, and
 *    with a descriptor table of its own. It dies with the program.
 *  - Before anything of the new version runs in it, it is cut off from the world (isolate.h).
 *  - It never becomes a program that serves: whatever happens, it ends.
 *  - Time is counted as in an update: of the pages that the new version writes, the program holds the
 *    other copy, as the snapshot does there.
 */
#ifndef KITSUNE_REHEARSAL_H
#define KITSUNE_REHEARSAL_H

#include "outcome.h"
#include "request.h"

/* What the copy opens for itself gets at least this number, out of the way of the new version. */
#define KITSUNE__REHEARSAL_DESCRIPTOR 512

/*
 * At the update point of the main thread, all others parked: makes the copy, which calls `run` (that must
 * not return). Returns in the program: 0, or a code with the reason in `verdict`.
 */
uint32_t kitsune__rehearsal_start(void (*run)(struct kitsune__verdict *verdict),
                                  struct kitsune__verdict *verdict);
/* Then, when the program goes on: how long it stood. */
void kitsune__rehearsal_told(uint64_t stopped_ns);
/* Reaps a copy that has ended; does not wait. Zero if one is about to end. */
int kitsune__rehearsal_reap(void);

/* In the copy: a descriptor of its own under such a number, if the limit of files allows that; the one given
 * is closed then. */
int kitsune__rehearsal_move_high(int descriptor);
/* In the copy, at its end: what it needed, and what it was kept from. No libc. */
void kitsune__rehearsal_weigh(struct kitsune__outcome *outcome);
/* Tells the outcome and ends the copy. */
void kitsune__rehearsal_end(void) __attribute__((noreturn));
/* In a child that the new version forks in the copy: it ends before it does anything. */
void kitsune__rehearsal_end_child(void);

#endif
