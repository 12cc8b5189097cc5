/*
 * Which pages of a range of memory the process has: those that were never touched need no look, and to read
 * one costs a fault.
 *
 * Context: any; no allocation, no libc state. A copy of the process may use it too.
 */
#ifndef KITSUNE_PAGES_H
#define KITSUNE_PAGES_H

#include <stdint.h>

/* A descriptor for what follows, negative if the kernel does not give it: then all pages count as there. */
int kitsune__pages_open(void);
void kitsune__pages_close(int pages);
/* Calls `visit` for each run of pages that are there, as far as it lies in [start, end). One run may come in
 * several parts. */
void kitsune__pages_each(int pages, uintptr_t start, uintptr_t end,
                         void (*visit)(void *context, uintptr_t start, uintptr_t end),
                         void *context);

#endif
