/*
 * Timers of the program. In a transaction the kernel's timers are set at once, and the journal notes how
 * they were; only what could not be taken back waits for the commit.
 *
 * Invariant: the state here is ordinary memory: a rollback restores it.
 */
#ifndef KITSUNE_WRAP_TIMER_H
#define KITSUNE_WRAP_TIMER_H

/* After the commit store: timers of the old version that the new one has deleted are. */
void kitsune__timers_apply(void);

#endif
