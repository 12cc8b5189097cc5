#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

static void *checked(void *block, size_t size)
{
    if (block == NULL) {
        fprintf(stderr, "kvd: no memory for %zu bytes\n", size);
        exit(1);
    }
    return block;
}

void *memory_new(size_t size)
{
    return checked(calloc(1, size), size);
}

void *memory_resize(void *block, size_t size)
{
    return checked(realloc(block, size), size);
}
