/*
 * Stacks and contexts: one version is suspended on its stack while another runs on a fresh one of
 * the same thread.
 *
 * Invariants:
 *  - A context is what the ABI lets a called function expect back: callee-saved registers, stack
 *    pointer and floating-point control words. It says nothing of memory, signals or errno.
 *  - A suspended context is resumed at most once.
 *  - The first version runs on the thread's own stack, each later one on a stack made here.
 */
#ifndef KITSUNE_SWITCH_H
#define KITSUNE_SWITCH_H

#include <stddef.h>
#include <stdint.h>

struct kitsune__context {
    void *stack_pointer; /* the rest lies on the suspended stack */
};

/* Saves the caller's context and calls entry(argument) on another stack; entry must not return.
 * Returns, once, with the value given to kitsune__resume. */
uint64_t kitsune__suspend(struct kitsune__context *context, void *stack_top, void (*entry)(void *),
                          void *argument);
/* Goes on in a suspended context. Any context, signal handlers included. */
void kitsune__resume(const struct kitsune__context *context, uint64_t value)
    __attribute__((noreturn));
/* Calls entry(argument) on another stack and gives the present one up. */
void kitsune__leave_for(void *stack_top, void (*entry)(void *), void *argument)
    __attribute__((noreturn));

struct kitsune__stack {
    uint8_t *start; /* lowest address; the guard lies right below it */
    uint8_t *end;
    uint8_t *guard;
};

/* Maps a stack as large as RLIMIT_STACK says (between 256 KiB and 64 MiB), but no smaller than `size_min`,
 * with a guard below that no frame of ordinary size jumps over. Returns 0 or -1. */
int kitsune__stack_map(struct kitsune__stack *stack, size_t size_min);
/* Makes a stack that nobody runs on as it was when it was mapped. */
void kitsune__stack_renew(const struct kitsune__stack *stack);
/* What is not mapped (an empty one) is left alone. */
void kitsune__stack_unmap(const struct kitsune__stack *stack);
/* Non-zero if the address lies in the guard. Any context. */
int kitsune__stack_in_guard(const struct kitsune__stack *stack, const void *address);

#endif
