/*
 * Allocation that does not fail: a server without memory for its bookkeeping ends with a message.
 * What it returns is freed with free().
 */
#ifndef KVD_MEMORY_H
#define KVD_MEMORY_H

#include <stddef.h>

void *memory_new(size_t size);                /* zeroed */
void *memory_resize(void *block, size_t size); /* as realloc */

#endif
