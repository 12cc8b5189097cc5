/*
 * A process that has forbidden itself to open files, or to fork, cannot be updated: it gets the release as
 * a descriptor, and a rollback needs a copy of it. Where only the soft limit says so, it is lifted to the
 * hard one for the time of an update, the look for what points into the old version included.
 *
 * Invariants:
 *  - Only limits that are next to nothing are lifted: others say how much a program may use, and it may
 *    look at them.
 *  - A limit that is not the lifted one any more when it would be lowered is the program's.
 *
 * Context: one thread at a time, at an update point.
 */
#ifndef KITSUNE_OWN_LIMITS_H
#define KITSUNE_OWN_LIMITS_H

void kitsune__own_limits_lift(void);
/* Lowers what is lifted. */
void kitsune__own_limits_lower(void);

#endif
