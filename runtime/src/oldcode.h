/*
 * Calls into the code of versions that ran before and are still mapped, because something points into
 * them: by $KITSUNE_OLD_CODE they run (`keep`), are led to what the function became (`redirect`), or get
 * a SIGSEGV as if the code were gone (`refuse`).
 *
 * Invariants:
 *  - Such an image stays readable: only its code cannot be executed. What traps there is a call if the
 *    program counter is where a registered function starts. Everything else (a function that was being
 *    executed, one that is not registered or has no successor) makes the image executable again, by
 *    either policy, so that nothing that would have run is worse off; only a known function is refused.
 *  - SIGSEGV is ours only while an image is closed. What the program said of it is kept, told to the
 *    program, and done with every fault that is none of ours.
 *  - In a transaction everything is open, and SIGSEGV the program's: the journal deals with faults.
 *  - Addresses in old images are kept in disguise, so that no scan finds them.
 *
 * Context: one thread at a time (retire.h), outside transactions, where nothing else is said.
 */
#ifndef KITSUNE_OLDCODE_H
#define KITSUNE_OLDCODE_H

#include <signal.h>

#include "load.h"

/* Reads the policy. At the launcher's start. */
void kitsune__oldcode_start(void);

/* A scan has found that the image stays: its code is closed, unless the policy is to keep it. */
void kitsune__oldcode_close(struct kitsune__image *image);
/* Opens the code of an image that will be unloaded, and forgets it. */
void kitsune__oldcode_forget(const struct kitsune__image *image);

/* Before a transaction: opens all. */
void kitsune__oldcode_suspend(void);
/* After one that was undone: closes again what was closed. */
void kitsune__oldcode_resume(void);
/* After a commit: what was closed has other successors now, and waits for the next scan. */
void kitsune__oldcode_drop(void);

/* Non-zero if what the program says of the signal is kept here. Any thread. */
int kitsune__oldcode_owns(int number);
/* sigaction for SIGSEGV while it is ours; returns as it does. Any thread. */
int kitsune__oldcode_sigaction(const struct sigaction *action, struct sigaction *previous);
/* Takes SIGSEGV out of what a thread is about to block, if calls are to be caught. Any thread. */
void kitsune__oldcode_filter(sigset_t *blocked);

#endif
