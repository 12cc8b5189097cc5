#ifndef VECTOR_H
#define VECTOR_H

#include <stddef.h>

/* What it is made of is known by whoever uses it. */
typedef struct {
    char *mem;
    size_t allocated, used; /* bytes */
} vector;

void *vector_add(vector *vector, size_t size);

#endif
