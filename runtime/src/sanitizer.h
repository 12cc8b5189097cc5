/*
 * Sanitizers, in a program whose releases are compiled for one and whose launcher runs with its library
 * loaded. The launcher itself need not be compiled for it. See docs/testing.md.
 *
 * ThreadSanitizer sees neither that a thread parks nor that another one sends it on: so both are told.
 * Its own thread is none of the program's. AddressSanitizer is told on which stack a thread goes on; a
 * rollback restores what it knew before.
 */
#ifndef KITSUNE_SANITIZER_H
#define KITSUNE_SANITIZER_H

#include <stddef.h>

#include "switch.h"

void __tsan_acquire(void *address) __attribute__((weak));
void __tsan_release(void *address) __attribute__((weak));

/* Non-zero if its library is loaded. */
static inline int kitsune__under_tsan(void) {
    return __tsan_acquire != NULL;
}

/* What the calling thread did until now is before what others do after kitsune__tsan_after. */
static inline void kitsune__tsan_before(void *meeting) {
    if (__tsan_release != NULL)
        __tsan_release(meeting);
}

static inline void kitsune__tsan_after(void *meeting) {
    if (__tsan_acquire != NULL)
        __tsan_acquire(meeting);
}

void __sanitizer_start_switch_fiber(void **kept, const void *bottom, size_t size)
    __attribute__((weak));
void __sanitizer_finish_switch_fiber(void *kept, const void **bottom, size_t *size)
    __attribute__((weak));

/* The calling thread runs on this stack now. */
static inline void kitsune__asan_stack(const struct kitsune__stack *stack) {
    void *kept = NULL;
    if (__sanitizer_start_switch_fiber == NULL || __sanitizer_finish_switch_fiber == NULL ||
        kitsune__under_tsan())
        return;
    __sanitizer_start_switch_fiber(&kept, stack->start, (size_t)(stack->end - stack->start));
    __sanitizer_finish_switch_fiber(kept, NULL, NULL);
}

#endif
