/*
 * The program's handlers of fork (pthread_atfork), so that they can follow it into the next version: libc
 * has for each registration functions of ours, which call the program's. So their order among those of
 * libraries is what it would be.
 *
 * Invariants:
 *  - What one thread's fork has prepared, and only that, is ended in parent and child, also if another
 *    thread registers something meanwhile.
 *  - libc cannot be told to forget a registration: its place is used again. All is ordinary memory: a
 *    rollback restores it, and with it libc's own.
 */
#ifndef KITSUNE_WRAP_FORK_H
#define KITSUNE_WRAP_FORK_H

#include "load.h"

/*
 * Just before the commit: handlers of the old image become their namesakes (`successor`) in the new one,
 * unless the new version registered the same itself; those without a namesake are dropped.
 */
void kitsune__atfork_carry_over(const struct kitsune__image *old,
                                const void *(*successor)(const void *function));

#endif
