/*
 * Signals of the program. Outside a transaction the calls are libc's (those on SIGURG go to
 * the request channel). Inside one, nothing reaches the kernel: what the new version asks for is
 * kept here, shown when it is read back, and installed after the commit.
 *
 * Invariants:
 *  - The state here is ordinary memory: a rollback restores it.
 *  - kitsune__signals_apply cannot fail: what it needs was found by kitsune__signals_carry_over.
 */
#ifndef KITSUNE_WRAP_SIGNAL_H
#define KITSUNE_WRAP_SIGNAL_H

#include "load.h"

/* At the start of a transaction, before the new version is loaded; and in each further thread, before it
 * runs anything of the new version. Mask and alternate stack are each thread's own. */
void kitsune__signals_begin(void);
/*
 * Just before the commit: a disposition that points into the old image goes to the handler's namesake
 * (`successor`), unless the new version set one. Where there is no namesake it stays, is noted in the
 * outcome, and keeps the old image mapped.
 */
void kitsune__signals_carry_over(const struct kitsune__image *old,
                                 const void *(*successor)(const void *function));
/* After the commit store: dispositions and alternate stack become what was asked for. */
void kitsune__signals_apply(void);
/* The same in another thread, for its alternate stack. */
void kitsune__signals_apply_thread(void);
/* The mask that the calling thread asked for, as the kernel has it. */
void kitsune__signals_wished(uint64_t *set);
/* The mask becomes what the new version asked for: signals that waited are delivered from here. */
void kitsune__signals_unblock(void);
/* Non-zero if the program ever had a handler that is not SA_RESTART, so that it must know EINTR. */
int kitsune__signals_may_interrupt(void);
/* In a child that the new version forked before the commit: all of the above at once. */
void kitsune__signals_leave_in_child(void);
/* After a rollback without a snapshot: forgets what was asked for. */
void kitsune__signals_forget(void);

#endif
