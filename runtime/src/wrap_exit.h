/*
 * The end of the process: exit and its kin, and what the program wants done then.
 *
 * Invariants:
 *  - What the program registers is kept in a list of the launcher's, so that it can follow the
 *    program into the next version; libc knows one function, ours, which works the list off in
 *    reverse order. The list is ordinary memory: a rollback restores it.
 *  - In a transaction nothing ends the process: the update is given up instead.
 */
#ifndef KITSUNE_WRAP_EXIT_H
#define KITSUNE_WRAP_EXIT_H

#include "load.h"

/* Registers with libc. Once, before the first release is loaded. */
void kitsune__exit_start(void);

/*
 * Just before the commit: each entry of the old image whose function has a namesake (`successor`) in
 * the new one becomes an entry for that, unless the new version registered it itself; the others are
 * dropped.
 */
void kitsune__exit_carry_over(const struct kitsune__image *old,
                              const void *(*successor)(const void *function));

#endif
