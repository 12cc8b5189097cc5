/*
 * Work that the calling thread shares with tasks of the kernel beside it, as many as there are processors.
 * They have the memory in common with it and nothing else: they are no threads of the process, and the
 * program, its debugger and its children's parent see none of them.
 *
 * Invariants:
 *  - What is shared reads and writes memory only. A task calls nothing of libc's and makes no system call but
 *    its end.
 *  - No task is left when kitsune__share has returned, or kitsune__share_end, by which a rollback begins.
 *  - Where no task can be made, or one ends before its time, the calling thread does the work itself.
 *
 * Context: the program's thread inside a transaction, all other threads stopped.
 */
#ifndef KITSUNE_BESIDE_H
#define KITSUNE_BESIDE_H

#include <stdint.h>

/* Calls `work` for each part in [0, parts) once, in any order and from several tasks at a time. One that a
 * task did not end is done again. */
void kitsune__share(void (*work)(void *context, uint64_t part), void *context, uint64_t parts);
/* From here on all work is done by the thread itself: in a copy whose calls are filtered. */
void kitsune__share_alone(void);
/* Ends what there is. */
void kitsune__share_end(void);

/* A task that has memory and nothing else in common with the caller (platform_*.S). It runs entry(argument) on
 * its stack, all signals blocked as they are, and ends. Its id, or a negative errno. */
long kitsune__start_beside(void *stack_top, void (*entry)(void *), void *argument);

#endif
