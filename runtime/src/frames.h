/*
 * The locals of noted functions: where they are while the program runs, and those of the old version
 * while the new one is on its way to its update point.
 *
 * Invariants:
 *  - Each thread has two lists of its own: `running` of the version that runs, `suspended` of the old
 *    version during an update (its stack is suspended, so its frames stay as they are). They are
 *    ordinary memory of the thread: a rollback makes them what they were.
 *  - A symbol belongs to one release, so it is in frames of one of the two lists only.
 *  - Of a recursive function the innermost frame in which a variable is alive counts.
 *
 * Context: the thread whose frames they are, not signal handlers, except kitsune__frames_enter.
 */
#ifndef KITSUNE_FRAMES_H
#define KITSUNE_FRAMES_H

#include <setjmp.h>

#include "kitsune_abi.h"

/* Puts a frame in front of the calling thread's list. */
void kitsune__frames_enter(struct kitsune_frame *frame);
/* Before a jump: frames that are jumped over are still whole now; afterwards anything may be written
 * there. A jump to a lower address leads to another stack, of which nothing is known. */
void kitsune__frames_jump(const struct __jmp_buf_tag *environment);
/* The frames so far are the old version's, on the suspended stack [stack_pointer, stack_end). */
void kitsune__frames_suspend(const void *stack_pointer, const void *stack_end);
/* The old version's frames are no more. */
void kitsune__frames_commit(void);
/* Where the variable of a symbol is; NULL if it is not alive. */
void *kitsune__frames_address(const struct kitsune_symbol *symbol);
/* The variable of the running version that is at the address; NULL if none is. */
const struct kitsune_symbol *kitsune__frames_symbol_at(const void *address);
/* The innermost variable of this key, whatever its ordinal, in the suspended frames or the running
 * ones; NULL if none is alive. */
void *kitsune__frames_find(const char *key, int suspended);

#endif
